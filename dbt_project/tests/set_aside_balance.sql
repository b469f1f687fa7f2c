{#- Per export: rows of all sources = staging + duplicates + what was set aside. -#}

with counts as (

    select 'touchpoints' as export, count(*) as entered from {{ ref('all_touchpoints') }}
    union all
    select 'conversions', count(*) from {{ ref('all_conversions') }}
    union all
    select 'steps', count(*) from {{ source('exports', 'steps') }}

),

staged as (

    select 'touchpoints' as export, count(*) as remained from {{ ref('stg_touchpoints') }}
    union all
    select 'conversions', count(*) + count(cancelled_at) from {{ ref('stg_conversions') }}
    union all
    select 'steps', count(*) from {{ ref('stg_steps') }}
    union all
    select 'touchpoints', count(*) from {{ ref('duplicate_touchpoints') }}
    union all
    select 'conversions', count(*) from {{ ref('duplicate_conversions') }}
    union all
    select 'steps', count(*) from {{ ref('duplicate_steps') }}
    union all
    select export, set_aside_rows from {{ ref('load_set_aside') }}

)

select counts.export, counts.entered, sum(staged.remained) as remained
from counts
inner join staged on counts.export = staged.export
group by counts.export, counts.entered
having counts.entered <> sum(staged.remained)

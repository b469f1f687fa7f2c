{#- Per export: rows of all sources = staging + duplicates + what was set aside. Stands on models of
    staging alone, so that it runs with them. -#}
{{ config(meta={"why": "rows of all sources are not staging + duplicates + set aside: does a source's model make two rows of one row of a file (same _file_id and _row)?"}) }}

with counts as (

    select 'touchpoints' as export, count(*) as entered from {{ ref('all_touchpoints') }}
    union all
    select 'conversions', count(*) from {{ ref('all_conversions') }}
    union all
    select 'steps', count(*) from {{ source('exports', 'steps') }}

),

parts as (

    select 'touchpoints' as export, count(*) as remained from {{ ref('stg_touchpoints') }}
    union all
    select 'conversions', count(*) + count(cancelled_at) from {{ ref('stg_conversions') }}
    union all
    select 'steps', count(*) from {{ ref('stg_steps') }}
    {%- for export in ['touchpoints', 'conversions', 'steps'] %}
    union all
    select '{{ export }}', count(*) from {{ ref('duplicate_' ~ export) }}
    union all
    select '{{ export }}', count(*) from {{ ref('set_aside_' ~ export) }}
    {%- endfor %}

)

select counts.export, counts.entered, sum(parts.remained) as remained
from counts
inner join parts on counts.export = parts.export
group by counts.export, counts.entered
having counts.entered <> sum(parts.remained)

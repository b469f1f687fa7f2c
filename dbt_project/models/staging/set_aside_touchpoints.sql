{#- Touchpoints that were loaded and yet do not count. -#}
{{ config(materialized='table') }}

with untimely as (

    {{ untimely(ref('all_touchpoints'), 'occurred_at', ref('duplicate_touchpoints')) }}

),

-- so few that the window below has next to nothing to sort
touches_of_crowded as (

    select *
    from {{ ref('all_touchpoints') }}
    where customer_id in (select customer_id from {{ ref('crowded_customers') }})

),

ranked as (

    select
        t._file_id,
        t._row,
        row_number() over (
            partition by t.customer_id
            order by t.occurred_at desc, t.touchpoint_id desc
        ) as place
    from touches_of_crowded as t
    cross join {{ source('ledger', '_run') }} as run
    where
        t.occurred_at < run.as_of
        and t.occurred_at >= run.oldest
        and not exists (
            select 1
            from {{ ref('duplicate_touchpoints') }} as d
            where d._file_id = t._file_id and d._row = t._row
        )

)

select reason, _file_id, _row
from untimely
union all
select 'bot_suspect' as reason, _file_id, _row
from ranked
where place > {{ var('max_touchpoints_per_customer') }}

{#- Touchpoints beyond max_touchpoints_per_customer: the latest so many of a customer are kept.
    By the id as delivered: a link between ids is no more than a few. -#}
{{ config(materialized='table') }}

with crowded as (

    select customer_id
    from {{ ref('all_touchpoints') }}
    group by customer_id
    having count(*) > {{ var('max_touchpoints_per_customer') }}

),

ranked as (

    select
        t.touchpoint_id,
        t._file_id,
        t._row,
        row_number() over (
            partition by t.customer_id
            order by t.occurred_at desc, t.touchpoint_id desc
        ) as place
    from {{ ref('all_touchpoints') }} as t
    inner join crowded on t.customer_id = crowded.customer_id
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

select touchpoint_id, _file_id, _row
from ranked
where place > {{ var('max_touchpoints_per_customer') }}

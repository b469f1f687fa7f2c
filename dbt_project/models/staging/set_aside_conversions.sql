{#- Conversions and cancellations that were loaded and yet do not count. -#}
{{ config(materialized='table') }}

with untimely as (

    {{ untimely(ref('all_conversions'), 'converted_at', ref('duplicate_conversions')) }}

),

timely as (

    select c.conversion_id, c.status, c._file_id, c._row
    from {{ ref('all_conversions') }} as c
    cross join {{ source('ledger', '_run') }} as run
    where
        c.converted_at < run.as_of
        and c.converted_at >= run.oldest
        and not exists (
            select 1
            from {{ ref('duplicate_conversions') }} as d
            where d._file_id = c._file_id and d._row = c._row
        )

)

select reason, _file_id, _row
from untimely
union all
select 'orphan_cancellation' as reason, _file_id, _row
from timely as cancelled
where
    cancelled.status = 'cancelled'
    and not exists (
        select 1
        from timely as booked
        where booked.status <> 'cancelled' and booked.conversion_id = cancelled.conversion_id
    )

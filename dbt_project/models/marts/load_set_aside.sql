{#- Rows that were loaded and yet do not count, by reason: with the duplicates, all that lies between
    the raw tables and staging. -#}

with set_aside as (

    {{ untimely(
        'touchpoints', ref('all_touchpoints'), 'occurred_at', ref('duplicate_touchpoints')
    ) }}

    union all

    {{ untimely(
        'conversions', ref('all_conversions'), 'converted_at', ref('duplicate_conversions')
    ) }}

    union all

    {{ untimely('steps', source('exports', 'steps'), 'occurred_at', ref('duplicate_steps')) }}

    union all

    select 'touchpoints' as export, 'bot_suspect' as reason
    from {{ ref('bot_suspects') }}

    union all

    select 'conversions' as export, 'orphan_cancellation' as reason
    from {{ ref('all_conversions') }} as c
    cross join {{ source('ledger', '_run') }} as run
    where
        c.status = 'cancelled'
        and c.converted_at < run.as_of
        and c.converted_at >= run.oldest
        and not exists (
            select 1
            from {{ ref('duplicate_conversions') }} as d
            where d._file_id = c._file_id and d._row = c._row
        )
        and not exists (
            select 1
            from {{ ref('stg_conversions') }} as s
            where s.conversion_id = c.conversion_id
        )

)

select
    export,
    reason,
    count(*) as set_aside_rows
from set_aside
group by export, reason

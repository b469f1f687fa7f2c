select
    s.step_id,
    coalesce(i.customer_id, s.customer_id) as customer_id,
    s.step,
    s.goal,
    s.occurred_at
from {{ source('exports', 'steps') }} as s
cross join {{ source('ledger', '_run') }} as run
left join {{ ref('stg_identities') }} as i
    on
        s.customer_id = i.anonymous_id
        and s.occurred_at > i.valid_after
        and s.occurred_at <= i.valid_until
where
    s.occurred_at < run.as_of
    and s.occurred_at >= run.oldest
    and not exists (
        select 1
        from {{ ref('duplicate_steps') }} as d
        where d._file_id = s._file_id and d._row = s._row
    )

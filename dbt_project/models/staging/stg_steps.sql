select
    s.step_id,
    coalesce(i.customer_id, s.customer_id) as customer_id,
    s.step,
    s.goal,
    s.occurred_at
from {{ source('exports', 'steps') }} as s
left join {{ ref('stg_identities') }} as i
    on
        s.customer_id = i.anonymous_id
        and s.occurred_at > i.valid_after
        and s.occurred_at <= i.valid_until
where {{ is_staged('s', 'steps') }}

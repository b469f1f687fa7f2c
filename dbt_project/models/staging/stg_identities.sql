{#- Which customer an anonymous visitor is, and for which of the visitor's times: the earliest link
    at or after a time decides, else the latest before it. Links do not chain. -#}
{{ config(materialized='table') }}

with links as (

    select
        anonymous_id,
        linked_at,
        min(customer_id) as customer_id
    from {{ source('exports', 'identities') }}
    cross join {{ source('ledger', '_run') }} as run
    where linked_at < run.as_of
    group by anonymous_id, linked_at

),

ordered as (

    select
        anonymous_id,
        customer_id,
        linked_at,
        lag(linked_at) over (partition by anonymous_id order by linked_at) as previous_linked_at,
        lead(linked_at) over (partition by anonymous_id order by linked_at) as next_linked_at
    from links

)

select
    anonymous_id,
    customer_id,
    coalesce(previous_linked_at, timestamp '0001-01-01') as valid_after,
    case when next_linked_at is null then timestamp '9999-12-31' else linked_at end as valid_until
from ordered

{#- The rungs of the ladder: how many customers reach each, and how they leave it. -#}
select
    goal,
    stage,
    rung,
    customers,
    recorded_share,
    days_per_customer,
    moves_per_day,
    organic_moves_per_day
from {{ source('ledger', '_ladder_stages') }}

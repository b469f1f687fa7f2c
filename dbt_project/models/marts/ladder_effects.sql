{#- Which channel moves customers from which rung to the next. -#}
select
    goal,
    stage,
    rung,
    next_rung,
    channel,
    chance_per_contact,
    chance_low,
    chance_high,
    contacts_per_day,
    same_day_share,
    mean_days_to_effect
from {{ source('ledger', '_ladder_effects') }}

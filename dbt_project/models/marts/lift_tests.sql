{#- What a holdout test measured, beside what the ladder says of the same channel. -#}
select
    goal,
    channel,
    lift,
    standard_error,
    ladder_lift,
    calibrated_lift,
    z_before,
    z_after
from {{ source('ledger', '_lift_tests') }}

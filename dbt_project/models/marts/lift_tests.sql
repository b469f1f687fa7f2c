{#- What a holdout test measured, beside what the ladder says of the same channel; two that measured the
    same say the same. -#}
select distinct
    goal,
    channel,
    lift,
    standard_error,
    ladder_lift,
    calibrated_lift,
    z_before,
    z_after
from {{ source('ledger', '_lift_tests') }}

select distinct
    channel,
    coalesce(goal, 'conversion') as goal,
    started_on,
    ended_on,
    cast(lift as double) as lift,
    cast(standard_error as double) as standard_error
from {{ source('exports', 'lift_tests') }}

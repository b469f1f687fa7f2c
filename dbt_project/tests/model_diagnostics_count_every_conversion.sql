{#- Gross and cancelled conversions of the window, as booked. -#}

with booked as (

    select
        conversions.goal,
        count(*) as gross,
        sum(case when conversions.is_cancelled then 1 else 0 end) as cancelled
    from {{ ref('stg_conversions') }} as conversions
    cross join {{ source('ledger', '_run') }} as run
    where conversions.converted_at >= run.window_from
    group by conversions.goal

),

told as (

    select
        goal,
        max(case when name = 'gross_conversions' then value end) as gross,
        max(case when name = 'cancelled_conversions' then value end) as cancelled
    from {{ ref('model_diagnostics') }}
    where model = '(journeys)' and name in ('gross_conversions', 'cancelled_conversions')
    group by goal

)

select coalesce(booked.goal, told.goal) as goal
from booked
full outer join told on booked.goal = told.goal
where
    booked.goal is null
    or told.goal is null
    or booked.gross <> told.gross
    or booked.cancelled <> told.cancelled

{#- Every conversion of the window, and its revenue, is given away exactly once by each model. Counted
    from stg_conversions, not from the journeys. -#}

with conversions as (

    select conversions.conversion_id, conversions.goal, conversions.revenue
    from {{ ref('stg_conversions') }} as conversions
    cross join {{ source('ledger', '_run') }} as run
    where conversions.converted_at >= run.window_from and not conversions.is_cancelled

),

credited as (

    select
        model,
        conversion_id,
        sum(credit) as credit,
        sum(revenue_credit) as revenue
    from {{ ref('conversion_credit') }}
    group by model, conversion_id

),

expected as (

    select models.model, conversions.conversion_id, conversions.revenue
    from {{ ref('credited_models') }} as models
    inner join conversions on models.goal = conversions.goal

)

select
    coalesce(expected.model, credited.model) as model,
    coalesce(expected.conversion_id, credited.conversion_id) as conversion_id,
    credited.credit,
    expected.revenue,
    credited.revenue as revenue_credit
from expected
full outer join credited
    on expected.model = credited.model and expected.conversion_id = credited.conversion_id
where
    expected.conversion_id is null
    or credited.conversion_id is null
    or abs(credited.credit - 1) > 1e-9
    or abs(credited.revenue - expected.revenue) > 1e-9 * greatest(abs(expected.revenue), 1)

{#- Credit of all touches, of no channel, and what is unattributed are all conversions and all revenue of the window,
    per model and goal. Counted from stg_conversions, not from the journeys. -#}

with expected as (

    select
        models.model,
        conversions.goal,
        count(*) as conversions,
        sum(conversions.revenue) as revenue
    from {{ ref('stg_conversions') }} as conversions
    cross join {{ source('ledger', '_run') }} as run
    inner join {{ ref('credited_models') }} as models on conversions.goal = models.goal
    where conversions.converted_at >= run.window_from and not conversions.is_cancelled
    group by models.model, conversions.goal

),

credited as (

    select model, goal, sum(credit) as conversions, sum(revenue_credit) as revenue
    from (
        select model, goal, credit, revenue_credit from {{ ref('touchpoint_credit') }}
        union all
        select model, goal, credit, revenue_credit
        from {{ ref('conversion_credit') }}
        where channel in ('(unattributed)', '(baseline)', '(organic)')
    ) as rows_of_credit
    group by model, goal

)

select
    coalesce(expected.model, credited.model) as model,
    coalesce(expected.goal, credited.goal) as goal,
    expected.conversions,
    credited.conversions as conversions_credited,
    expected.revenue,
    credited.revenue as revenue_credited
from expected
full outer join credited on expected.model = credited.model and expected.goal = credited.goal
where
    expected.model is null
    or credited.model is null
    or abs(credited.conversions - expected.conversions) > 1e-9 * expected.conversions
    or abs(credited.revenue - expected.revenue) > 1e-9 * greatest(abs(expected.revenue), 1)

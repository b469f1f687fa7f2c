{#- The days of the window add up to the window: credit per model, goal and channel to channel_credit
    without its reconciliation gap, cost per model and channel to stg_spend. -#}

with days as (

    select
        model,
        goal,
        channel,
        sum(conversions) as conversions,
        sum(revenue) as revenue,
        coalesce(sum(cost), 0) as cost
    from {{ ref('channel_credit_daily') }}
    group by model, goal, channel

),

models as (

    select distinct model from {{ ref('channel_performance') }}

),

expected as (

    select
        model,
        goal,
        channel,
        conversions - coalesce(reconciliation_gap, 0) as conversions,
        revenue - coalesce(revenue_reconciliation_gap, 0) as revenue,
        0 as cost,
        -- shares are rounded at the twelfth digit, of each conversion and so of the goal's total
        sum(conversions) over (partition by model, goal) as all_conversions,
        sum(abs(revenue)) over (partition by model, goal) as all_revenue
    from {{ ref('channel_credit') }}
    where segment = 'all'

    union all

    select
        models.model,
        '(all goals)' as goal,
        spend.channel,
        0 as conversions,
        0 as revenue,
        sum(spend.cost) as cost,
        0 as all_conversions,
        0 as all_revenue
    from {{ ref('stg_spend') }} as spend
    cross join {{ source('ledger', '_run') }} as run
    cross join models
    where spend.date >= {{ local_date('run.window_from') }}
    group by models.model, spend.channel

)

select
    coalesce(expected.model, days.model) as model,
    coalesce(expected.goal, days.goal) as goal,
    coalesce(expected.channel, days.channel) as channel
from expected
full outer join days
    on
        expected.model = days.model
        and expected.goal = days.goal
        and expected.channel = days.channel
where
    expected.model is null
    or abs(coalesce(days.conversions, 0) - expected.conversions)
    > 1e-9 * greatest(expected.all_conversions, 1)
    or abs(coalesce(days.revenue, 0) - expected.revenue)
    > 1e-9 * greatest(expected.all_revenue, 1)
    or coalesce(days.cost, 0) <> expected.cost

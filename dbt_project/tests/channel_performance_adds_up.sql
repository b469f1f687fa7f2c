{#- Every model stands beside all cost of the window, as exported, and beside all of its credit. -#}

with performance as (

    select
        model,
        sum(conversions) as conversions,
        sum(revenue) as revenue,
        coalesce(sum(cost), 0) as cost
    from {{ ref('channel_performance') }}
    group by model

),

credit as (

    select
        model,
        sum(conversions) as conversions,
        sum(revenue) as revenue,
        count(distinct goal) as goals
    from {{ ref('channel_credit') }}
    where segment = 'all'
    group by model

),

costs as (

    select coalesce(sum(spend.cost), 0) as cost
    from {{ ref('stg_spend') }} as spend
    cross join {{ source('ledger', '_run') }} as run
    where spend.date >= {{ local_date('run.window_from') }}

)

select
    coalesce(credit.model, performance.model) as model,
    credit.conversions,
    performance.conversions as conversions_beside_cost,
    costs.cost,
    performance.cost as cost_beside_conversions
from credit
cross join costs
full outer join performance on credit.model = performance.model
where
    (performance.model is null and credit.goals = (select count(distinct goal) from {{ ref('credited_models') }}))
    or performance.conversions <> coalesce(credit.conversions, 0)
    or performance.revenue <> coalesce(credit.revenue, 0)
    or (credit.model is not null and performance.cost <> costs.cost)

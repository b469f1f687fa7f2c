{#- The time series for BI tools: each day of the window, restated every night. Cost knows no goal:
    it stands in rows of its own with the goal (all goals), so that sums stay right. -#}

with credit as (

    select
        {{ local_date('converted_at') }} as date,
        model,
        goal,
        channel,
        sum(credit) as conversions,
        sum(revenue_credit) as revenue
    from {{ ref('conversion_credit') }}
    group by {{ local_date('converted_at') }}, model, goal, channel

),

models as (

    select distinct model from credit

),

costs as (

    select spend.date, spend.channel, sum(spend.cost) as cost
    from {{ ref('stg_spend') }} as spend
    cross join {{ source('ledger', '_run') }} as run
    where spend.date >= {{ local_date('run.window_from') }}
    group by spend.date, spend.channel

)

select
    date,
    model,
    goal,
    channel,
    cast(conversions as decimal(38, 12)) as conversions,
    cast(revenue as decimal(38, 12)) as revenue,
    cast(null as decimal(38, 12)) as cost
from credit

union all

select
    costs.date,
    models.model,
    '(all goals)' as goal,
    costs.channel,
    cast(0 as decimal(38, 12)) as conversions,
    cast(0 as decimal(38, 12)) as revenue,
    cast(costs.cost as decimal(38, 12)) as cost
from models
cross join costs

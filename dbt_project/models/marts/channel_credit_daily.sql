{#- The time series for BI tools: each day of the window, restated every night. Cost knows no goal:
    it stands in rows of its own with the goal (all goals), so that sums stay right. -#}

-- instants are fewer than credits, and to find the day of one takes longest of all
with days as (

    select converted_at, {{ local_date('converted_at') }} as date
    from (select distinct converted_at from {{ ref('conversion_credit') }}) as instants

),

credit as (

    select
        days.date,
        credit.model,
        credit.goal,
        credit.channel,
        sum(credit.credit) as conversions,
        sum(credit.revenue_credit) as revenue
    from {{ ref('conversion_credit') }} as credit
    inner join days on credit.converted_at = days.converted_at
    group by days.date, credit.model, credit.goal, credit.channel

),

-- as in channel_performance: cost of all goals stands beside the credit of all goals
models as (

    select distinct model from {{ ref('channel_performance') }}

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

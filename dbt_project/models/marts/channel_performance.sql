{#- Credit beside cost. Spend knows no goal, so this stands over all goals. -#}

with credit as (

    select model, channel, sum(conversions) as conversions, sum(revenue) as revenue
    from {{ ref('channel_credit') }}
    where segment = 'all'
    group by model, channel

),

-- a model that some goal refused would stand here beside others that count all goals
models as (

    select model
    from {{ ref('credited_models') }}
    group by model
    having count(*) = (select count(distinct goal) from {{ ref('credited_models') }})

),

costs as (

    select spend.channel, sum(spend.cost) as cost
    from {{ ref('stg_spend') }} as spend
    cross join {{ source('ledger', '_run') }} as run
    where spend.date >= {{ local_date('run.window_from') }}
    group by spend.channel

),

-- a channel with spend and no touch keeps its row
channels as (

    select channel from credit
    union
    select channel from costs

),

complete as (

    select
        models.model,
        channels.channel,
        coalesce(credit.conversions, 0) as conversions,
        coalesce(credit.revenue, 0) as revenue,
        costs.cost
    from models
    cross join channels
    left join credit on models.model = credit.model and channels.channel = credit.channel
    left join costs on channels.channel = costs.channel
    -- only some models say what came without any channel
    where channels.channel not in ('(baseline)', '(organic)') or credit.model is not null

)

select
    complete.model,
    complete.channel,
    cast(complete.conversions as decimal(38, 12)) as conversions,
    cast(complete.revenue as decimal(38, 12)) as revenue,
    cast(complete.cost as decimal(38, 12)) as cost,
    -- a channel that a model holds for harmful has no price, least of all the lowest
    case
        when complete.conversions > 0
            then cast(complete.cost as double) / cast(complete.conversions as double)
    end as cost_per_conversion,
    cast(complete.revenue as double) / nullif(cast(complete.cost as double), 0)
        as return_on_spend,
    cast(complete.conversions as double) / nullif(cast(last_touch.conversions as double), 0) - 1
        as change_vs_last_touch
from complete
left join complete as last_touch
    on complete.channel = last_touch.channel and last_touch.model = 'last_touch'

{#- Channels and conversions tell the same: per model, goal and channel, to 1e-9 of the goal's total,
    apart from the gap that the channel's row reports: what a model credits to it and no division of
    single conversions can give. -#}

with from_conversions as (

    select model, goal, channel, sum(credit) as conversions, sum(revenue_credit) as revenue
    from {{ ref('conversion_credit') }}
    group by model, goal, channel

),

from_channels as (

    select
        model,
        goal,
        channel,
        conversions - coalesce(reconciliation_gap, 0) as conversions,
        revenue - coalesce(revenue_reconciliation_gap, 0) as revenue,
        sum(conversions) over (partition by model, goal) as all_conversions,
        sum(abs(revenue)) over (partition by model, goal) as all_revenue
    from {{ ref('channel_credit') }}
    where segment = 'all'

)

select
    coalesce(from_channels.model, from_conversions.model) as model,
    coalesce(from_channels.goal, from_conversions.goal) as goal,
    coalesce(from_channels.channel, from_conversions.channel) as channel,
    from_channels.conversions,
    from_conversions.conversions as conversions_of_conversion_credit,
    from_channels.revenue,
    from_conversions.revenue as revenue_of_conversion_credit
from from_channels
full outer join from_conversions
    on
        from_channels.model = from_conversions.model
        and from_channels.goal = from_conversions.goal
        and from_channels.channel = from_conversions.channel
where
    from_channels.model is null
    or abs(from_channels.conversions - coalesce(from_conversions.conversions, 0))
    > 1e-9 * greatest(from_channels.all_conversions, 1)
    or abs(from_channels.revenue - coalesce(from_conversions.revenue, 0))
    > 1e-9 * greatest(from_channels.all_revenue, 1)

{#- Credit per channel, complete: every model has a row for every channel and goal, and one for what
    no channel can claim, so that each model adds up to all conversions and all revenue. -#}

with totals as (

    select
        goal,
        count(*) as conversions,
        sum(case when journey_start is null then 1 else 0 end) as unattributed_conversions,
        sum(case when journey_start is null then revenue else 0 end) as unattributed_revenue
    from {{ ref('journey_conversions') }}
    where is_in_window and not is_cancelled
    group by goal

),

models as (

    {%- for model in var('models') %}
    select '{{ model }}' as model
    {{ 'union all' if not loop.last }}
    {%- endfor %}

),

credit as (

    select
        counts.model,
        counts.goal,
        'all' as segment,
        'all' as segment_value,
        channels.channel,
        sum(counts.conversions) as conversions,
        sum(counts.revenue) as revenue,
        cast(null as double) as share_low,
        cast(null as double) as share_high,
        cast(null as double) as standard_error,
        cast(null as double) as removal_effect
    from {{ ref('heuristic_counts') }} as counts
    inner join {{ ref('stg_channels') }} as channels
        on counts.channel_index = channels.channel_index
    group by counts.model, counts.goal, channels.channel

    union all

    select
        model,
        goal,
        segment,
        segment_value,
        channel,
        conversions,
        revenue,
        share_low,
        share_high,
        standard_error,
        removal_effect
    from {{ source('ledger', '_credit_channels') }}

    union all

    select
        models.model,
        totals.goal,
        'all' as segment,
        'all' as segment_value,
        '(unattributed)' as channel,
        totals.unattributed_conversions as conversions,
        totals.unattributed_revenue as revenue,
        null as share_low,
        null as share_high,
        null as standard_error,
        null as removal_effect
    from models
    cross join totals

),

spine as (

    select models.model, totals.goal, channels.channel, totals.conversions as all_conversions
    from models
    cross join totals
    cross join (
        select channel from {{ ref('stg_channels') }}
        union all
        select '(unattributed)' as channel
    ) as channels

),

influenced as (

    select
        shares.goal,
        shares.channel,
        count(*) as journeys,
        cast(sum(shares.conversions) as bigint) as conversions
    from (
        select distinct
            shares.customer_key, shares.goal, shares.journey_start, shares.channel,
            journeys.conversions
        from {{ ref('heuristic_shares') }} as shares
        inner join {{ ref('journeys') }} as journeys
            on
                shares.customer_key = journeys.customer_key
                and shares.goal = journeys.goal
                and shares.journey_start = journeys.journey_start
    ) as shares
    group by shares.goal, shares.channel

)

select
    spine.model,
    spine.goal,
    coalesce(credit.segment, 'all') as segment,
    coalesce(credit.segment_value, 'all') as segment_value,
    spine.channel,
    cast(coalesce(credit.conversions, 0) as decimal(38, 12)) as conversions,
    cast(coalesce(credit.revenue, 0) as decimal(38, 12)) as revenue,
    cast(coalesce(credit.conversions, 0) as double) / spine.all_conversions as share,
    credit.share_low,
    credit.share_high,
    credit.standard_error,
    case
        when spine.channel <> '(unattributed)'
            then coalesce(influenced.journeys, 0) < {{ var('few_conversions') }}
    end as few_conversions,
    case
        when spine.channel <> '(unattributed)' then coalesce(influenced.conversions, 0)
    end as influenced_conversions,
    credit.removal_effect
from spine
left join credit
    on
        spine.model = credit.model
        and spine.goal = credit.goal
        and spine.channel = credit.channel
left join influenced
    on spine.goal = influenced.goal and spine.channel = influenced.channel

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

-- what SQL counts itself is exact; Python adds the interval
counted as (

    select
        counts.model,
        counts.goal,
        counts.segment,
        counts.segment_value,
        channels.channel,
        sum(counts.conversions) as conversions,
        sum(counts.revenue) as revenue
    from {{ ref('heuristic_counts') }} as counts
    inner join {{ ref('stg_channels') }} as channels
        on counts.channel_index = channels.channel_index
    group by counts.model, counts.goal, counts.segment, counts.segment_value, channels.channel

),

credit as (

    select
        fitted.model,
        fitted.goal,
        fitted.segment,
        fitted.segment_value,
        fitted.channel,
        coalesce(counted.conversions, fitted.conversions) as conversions,
        coalesce(counted.revenue, fitted.revenue) as revenue,
        fitted.share_low,
        fitted.share_high,
        fitted.standard_error,
        fitted.removal_effect,
        fitted.incremental,
        fitted.reconciliation_gap,
        fitted.revenue_reconciliation_gap
    from {{ source('ledger', '_credit_channels') }} as fitted
    left join counted
        on
            fitted.model = counted.model
            and fitted.goal = counted.goal
            and fitted.segment = counted.segment
            and fitted.segment_value = counted.segment_value
            and fitted.channel = counted.channel

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
        null as removal_effect,
        null as incremental,
        null as reconciliation_gap,
        null as revenue_reconciliation_gap
    from {{ ref('credited_models') }} as models
    inner join totals on models.goal = totals.goal

),

spine as (

    select
        models.model,
        totals.goal,
        'all' as segment,
        'all' as segment_value,
        channels.channel,
        totals.conversions as all_conversions
    from {{ ref('credited_models') }} as models
    inner join totals on models.goal = totals.goal
    cross join (
        select channel from {{ ref('stg_channels') }}
        union all
        select '(unattributed)' as channel
    ) as channels

    union all

    -- what a model says would have come without any channel
    select fitted.model, fitted.goal, 'all', 'all', fitted.channel, totals.conversions
    from {{ source('ledger', '_credit_channels') }} as fitted
    inner join totals on fitted.goal = totals.goal
    where fitted.segment = 'all' and fitted.channel in ('(baseline)', '(organic)')
    {%- if var('segments') %}

    union all

    -- a conversion without a touch belongs to no segment: shares are of the segment's others
    select
        fitted.model,
        fitted.goal,
        fitted.segment,
        fitted.segment_value,
        fitted.channel,
        segments.conversions
    from {{ source('ledger', '_credit_channels') }} as fitted
    inner join (
        select goal, segment, segment_value, sum(conversions) as conversions
        from {{ ref('coalition_counts') }}
        group by goal, segment, segment_value
    ) as segments
        on
            fitted.goal = segments.goal
            and fitted.segment = segments.segment
            and fitted.segment_value = segments.segment_value
    where fitted.segment <> 'all'
    {%- endif %}

),

present as (

    select distinct
        shares.customer_key,
        shares.goal,
        shares.journey_start,
        shares.channel,
        journeys.conversions
    from {{ ref('heuristic_shares') }} as shares
    inner join {{ ref('journeys') }} as journeys
        on
            shares.customer_key = journeys.customer_key
            and shares.goal = journeys.goal
            and shares.journey_start = journeys.journey_start
    where journeys.conversions > 0

),

segmented as (

    {{ by_segment('present') }}

),

influenced as (

    select
        goal,
        segment,
        segment_value,
        channel,
        count(*) as journeys,
        cast(sum(conversions) as bigint) as conversions
    from segmented
    group by goal, segment, segment_value, channel

)

select
    spine.model,
    spine.goal,
    spine.segment,
    spine.segment_value,
    spine.channel,
    cast(coalesce(credit.conversions, 0) as decimal(38, 12)) as conversions,
    cast(coalesce(credit.revenue, 0) as decimal(38, 12)) as revenue,
    cast(coalesce(credit.conversions, 0) as double) / spine.all_conversions as share,
    credit.share_low,
    credit.share_high,
    credit.standard_error,
    case
        when spine.channel not in ('(unattributed)', '(baseline)', '(organic)')
            then coalesce(influenced.journeys, 0) < {{ var('few_conversions') }}
    end as few_conversions,
    case
        when spine.channel not in ('(unattributed)', '(baseline)', '(organic)')
            then coalesce(influenced.conversions, 0)
    end as influenced_conversions,
    credit.removal_effect,
    cast(credit.incremental as decimal(38, 12)) as incremental,
    credit.reconciliation_gap,
    credit.revenue_reconciliation_gap
from spine
left join credit
    on
        spine.model = credit.model
        and spine.goal = credit.goal
        and spine.segment = credit.segment
        and spine.segment_value = credit.segment_value
        and spine.channel = credit.channel
left join influenced
    on
        spine.goal = influenced.goal
        and spine.segment = influenced.segment
        and spine.segment_value = influenced.segment_value
        and spine.channel = influenced.channel

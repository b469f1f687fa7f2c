{#- Credit of the window's conversions, touch by touch and conversion by conversion. `which` tells the
    conversions: those that stand, which are published, or the cancelled ones, which count in gross. -#}

{#- Credit of every touch of every converting journey. Heuristics share by position and time; fitted
    models share by one weight per channel (the channels of the highest level present divide the
    conversion by their weights), several touches of a channel evenly. -#}
{% macro credit_of_touches(which) -%}
    with conversions as (

        select *
        from {{ ref('journey_conversions') }}
        where is_in_window and {{ which }} and journey_start is not null

    ),

    touches as (

        select shares.*
        from {{ ref('heuristic_shares') }} as shares
        where exists (
            select 1
            from conversions
            where
                conversions.customer_key = shares.customer_key
                and conversions.goal = shares.goal
                and conversions.journey_start = shares.journey_start
        )

    ),

    channels_of_journeys as (

        select customer_key, goal, journey_start, channel, count(*) as touches
        from touches
        group by customer_key, goal, journey_start, channel

    ),

    -- some models leave a part of each conversion to no channel: it weighs like a channel of its own
    with_baseline as (

        select * from channels_of_journeys
        union all
        select distinct
            channels.customer_key,
            channels.goal,
            channels.journey_start,
            baseline.channel,
            1 as touches
        from channels_of_journeys as channels
        inner join {{ source('ledger', '_credit_weights') }} as baseline
            on channels.goal = baseline.goal and baseline.channel in ('(baseline)', '(organic)')

    ),

    weighted as (

        select
            channels.*,
            weights.model,
            weights.measure,
            weights.weight,
            weights.level,
            max(weights.level) over (
                partition by
                    weights.model, weights.measure,
                    channels.customer_key, channels.goal, channels.journey_start
            ) as highest_level
        from with_baseline as channels
        inner join {{ source('ledger', '_credit_weights') }} as weights
            on channels.goal = weights.goal and channels.channel = weights.channel

    ),

    ranked as (

        select *, case when level = highest_level then weight else 0 end as ranked_weight
        from weighted

    ),

    divided as (

        select
            *,
            -- the sum is one of decimals: one of doubles would waver with the order of its parts
            cast(ranked_weight as double) / touches / cast(sum(ranked_weight) over (
                partition by model, measure, customer_key, goal, journey_start
            ) as double) as share
        from ranked

    ),

    -- a channel may earn revenue and no conversion, or the reverse: the measures have their own levels
    fitted_shares as (

        select
            model,
            customer_key,
            goal,
            journey_start,
            channel,
            sum(case when measure = 'conversions' then share else 0 end) as share,
            sum(case when measure = 'revenue' then share else 0 end) as revenue_share
        from divided
        group by model, customer_key, goal, journey_start, channel

    ),

    fitted_touches as (

        select
            fitted.model,
            touches.customer_key,
            touches.goal,
            touches.journey_start,
            touches.touchpoint_id,
            touches.channel,
            touches.position,
            touches.is_last,
            touches.occurred_at,
            cast(fitted.share as decimal(38, 12)) as share,
            cast(fitted.revenue_share as decimal(38, 12)) as revenue_share
        from touches
        inner join fitted_shares as fitted
            on
                touches.customer_key = fitted.customer_key
                and touches.goal = fitted.goal
                and touches.journey_start = fitted.journey_start
                and touches.channel = fitted.channel

    ),

    shares as (

        {%- for heuristic in ['first_touch', 'last_touch', 'last_non_direct', 'linear', 'position_based', 'time_decay']
            if heuristic in var('models') %}

        select
            '{{ heuristic }}' as model,
            customer_key,
            goal,
            journey_start,
            touchpoint_id,
            channel,
            position,
            occurred_at,
            {{ heuristic }} as share,
            {{ heuristic }} as revenue_share
        from touches

        union all
        {%- endfor %}

        -- what rounding left over goes to the last touch, as in heuristic_shares
        select
            model,
            customer_key,
            goal,
            journey_start,
            touchpoint_id,
            channel,
            position,
            occurred_at,
            share
            + case
                when is_last and abs(1 - sum(share) over journey) < 0.000001
                    then 1 - sum(share) over journey
                else 0
            end as share,
            revenue_share
            + case
                when is_last and abs(1 - sum(revenue_share) over journey) < 0.000001
                    then 1 - sum(revenue_share) over journey
                else 0
            end as revenue_share
        from fitted_touches
        window journey as (partition by model, customer_key, goal, journey_start)

    )

    select
        shares.model,
        conversions.conversion_id,
        shares.touchpoint_id,
        shares.goal,
        shares.channel,
        shares.position,
        {{ seconds_between('shares.occurred_at', 'conversions.converted_at') }} / 3600e0
            as hours_to_conversion,
        cast(shares.share as decimal(38, 12)) as credit,
        cast(
            cast(shares.revenue_share as double) * cast(conversions.revenue as double)
            as decimal(38, 12)
        ) as revenue_credit
    from shares
    inner join conversions
        on
            shares.customer_key = conversions.customer_key
            and shares.goal = conversions.goal
            and shares.journey_start = conversions.journey_start
{%- endmacro %}


{#- Credit of touches, added up by channel, and what no touch can claim. -#}
{% macro credit_of_conversions(which, touches) -%}
    with attributed as (

        select
            model,
            conversion_id,
            goal,
            channel,
            sum(credit) as credit,
            sum(revenue_credit) as revenue_credit
        from {{ touches }}
        group by model, conversion_id, goal, channel

    ),

    conversions as (

        select *
        from {{ ref('journey_conversions') }}
        where is_in_window and {{ which }}

    ),

    -- what a model credits to no channel is what its touches leave of a conversion
    baselines as (

        select distinct model, goal, channel
        from {{ source('ledger', '_credit_weights') }}
        where channel in ('(baseline)', '(organic)')

    ),

    left_over as (

        select
            attributed.model,
            attributed.conversion_id,
            attributed.goal,
            baselines.channel,
            1 - sum(attributed.credit) as credit,
            max(conversions.revenue) - sum(attributed.revenue_credit) as revenue_credit
        from attributed
        inner join baselines
            on attributed.model = baselines.model and attributed.goal = baselines.goal
        inner join conversions on attributed.conversion_id = conversions.conversion_id
        group by attributed.model, attributed.conversion_id, attributed.goal, baselines.channel

    ),

    every_row as (

        select
            attributed.model,
            attributed.conversion_id,
            attributed.goal,
            attributed.channel,
            cast(null as string) as unattributed_reason,
            attributed.credit,
            attributed.revenue_credit
        from attributed

        union all

        select
            model,
            conversion_id,
            goal,
            channel,
            cast(null as string) as unattributed_reason,
            credit,
            revenue_credit
        from left_over

        union all

        select
            models.model,
            conversions.conversion_id,
            conversions.goal,
            '(unattributed)' as channel,
            conversions.unattributed_reason,
            1 as credit,
            conversions.revenue as revenue_credit
        from {{ ref('credited_models') }} as models
        inner join conversions on models.goal = conversions.goal
        where conversions.journey_start is null

    )

    select
        every_row.model,
        every_row.conversion_id,
        every_row.goal,
        every_row.channel,
        every_row.unattributed_reason,
        cast(every_row.credit as decimal(38, 12)) as credit,
        cast(every_row.revenue_credit as decimal(38, 12)) as revenue_credit,
        conversions.converted_at
    from every_row
    inner join conversions on every_row.conversion_id = conversions.conversion_id
{%- endmacro %}

{#- Every touchpoint with its journey: one row a touchpoint, repeated for every goal for the few
    customers who convert at all (on another goal their journey is null); those who never do have the
    goal NULL and count for every goal.

    Two passes of one window each, no lists: the first sees each touch beside its neighbours and so
    where a journey begins and ends, the second spreads the ends over the journey. -#}

with converter_goals as (

    select converters.customer_key, goals.goal
    from (select distinct customer_key from {{ ref('conversion_instants') }}) as converters
    cross join (select distinct goal from {{ ref('conversion_instants') }}) as goals

),

touches_by_goal as (

    select
        touches.touchpoint_id,
        customers.customer_key,
        customers.replicate_group,
        channels.channel_index,
        touches.occurred_at,
        converter_goals.goal
    from {{ ref('stg_touchpoints') }} as touches
    inner join {{ ref('stg_customers') }} as customers
        on touches.customer_id = customers.customer_id
    inner join {{ ref('stg_channels') }} as channels
        on touches.channel = channels.channel
    left join converter_goals
        on customers.customer_key = converter_goals.customer_key

),

-- segment: what a journey cannot reach beyond. Touches inside the lookback of their next conversion
-- share its time, touches before that lookback share the lookback's begin, all others NULL.
in_segments as (

    select
        touches.touchpoint_id,
        touches.customer_key,
        touches.replicate_group,
        touches.channel_index,
        touches.occurred_at,
        touches.goal,
        case
            when touches.occurred_at >= instants.lookback_from then instants.converted_at
            else instants.lookback_from
        end as segment,
        case when touches.occurred_at >= instants.lookback_from then instants.converted_at end
            as converted_at,
        case when touches.occurred_at >= instants.lookback_from then instants.conversions else 0 end
            as conversions
    from touches_by_goal as touches
    left join {{ ref('conversion_instants') }} as instants
        on
            touches.customer_key = instants.customer_key
            and touches.goal = instants.goal
            and touches.occurred_at > coalesce(
                instants.previous_converted_at, timestamp '0001-01-01'
            )
            and touches.occurred_at <= instants.converted_at

),

beside_neighbours as (

    select
        *,
        row_number() over touches_in_order as place,
        lag(channel_index) over touches_in_order as previous_channel_index,
        lag(occurred_at) over touches_in_order as previous_occurred_at,
        lag(segment) over touches_in_order as previous_segment,
        lead(occurred_at) over touches_in_order as following_occurred_at,
        lead(segment) over touches_in_order as following_segment
    from in_segments
    window touches_in_order as (
        partition by customer_key, goal order by occurred_at, touchpoint_id
    )

),

bounded as (

    select
        touchpoint_id,
        customer_key,
        replicate_group,
        goal,
        channel_index,
        previous_channel_index,
        occurred_at,
        place,
        converted_at,
        conversions,
        (
            previous_occurred_at is null
            or previous_segment is distinct from segment
            or previous_occurred_at < {{ days_before(lookback_days('goal'), 'occurred_at') }}
        ) as is_first,
        (
            following_occurred_at is null
            or following_segment is distinct from segment
            or occurred_at < {{ days_before(lookback_days('goal'), 'following_occurred_at') }}
        ) as is_last
    from beside_neighbours

),

in_journeys as (

    select
        *,
        {{ last_known('case when is_first then place end') }} over so_far as journey_start,
        {{ last_known('case when is_first then occurred_at end') }} over so_far as started_at,
        {{ first_known('case when is_last then occurred_at end') }} over from_here as ended_at
    from bounded
    window
        so_far as (
            partition by customer_key, goal order by place
            rows between unbounded preceding and current row
        ),
        from_here as (
            partition by customer_key, goal order by place
            rows between current row and unbounded following
        )

),

with_outcome as (

    select
        in_journeys.*,
        run.as_of,
        case
            when in_journeys.conversions > 0 then 'converted'
            when in_journeys.converted_at is not null then 'cancelled'
            when in_journeys.ended_at > {{ days_before(lookback_days('in_journeys.goal'), 'run.as_of') }}
                then 'open'
            else 'null'
        end as outcome,
        coalesce(in_journeys.converted_at, in_journeys.ended_at) >= run.window_from as is_in_window
    from in_journeys
    cross join {{ source('ledger', '_run') }} as run

)

select
    touchpoint_id,
    customer_key,
    replicate_group,
    goal,
    journey_start,
    cast(place - journey_start + 1 as integer) as position,
    channel_index,
    case when not is_first then previous_channel_index end as previous_channel_index,
    is_last,
    outcome,
    conversions,
    -- the journey's weight in a fit: its conversions, else one journey without
    {% if var('fit_journeys') == 'matured' -%}
    case
        when not is_in_window then 0
        when started_at > {{ days_before(lookback_days('goal'), 'as_of') }} then 0
        when conversions > 0 then conversions
        else 1
    end as fit_weight,
    {%- else -%}
    case when not is_in_window then 0 when conversions > 0 then conversions else 1 end as fit_weight,
    {%- endif %}
    is_in_window,
    occurred_at,
    started_at,
    ended_at,
    converted_at
from with_outcome

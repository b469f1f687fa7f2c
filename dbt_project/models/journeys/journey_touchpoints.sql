{#- Every touchpoint with its journey: one row a touchpoint, repeated for every goal for the few
    customers who convert at all (on another goal their journey is null); those who never do have the
    goal NULL and count for every goal.

    Two passes of one window each, no lists: the first sees each touch beside its neighbours and so
    where a journey begins and ends, the second spreads the ends over the journey. -#}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook="{{ forget_changed_customers() }}",
) }}

{%- set touchpoints = touchpoints_to_build() %}
with converter_goals as (

    select converters.customer_key, goals.goal
    from (
        select distinct customer_key
        from {{ ref('conversion_instants') }}
        where {{ is_to_build('customer_key') }}
    ) as converters
    cross join (select distinct goal from {{ ref('conversion_instants') }}) as goals

),

-- the few goals meet the customers, which are fewer than the touches
customers as (

    select
        customers.customer_id,
        customers.customer_key,
        customers.replicate_group,
        converter_goals.goal
    from {{ ref('stg_customers') }} as customers
    left join converter_goals
        on customers.customer_key = converter_goals.customer_key
    where {{ is_to_build('customers.customer_key') }}

),

touches_by_goal as (

    select
        touches.touchpoint_id,
        customers.customer_key,
        customers.replicate_group,
        channels.channel_index,
        touches.occurred_at,
        customers.goal
    from {{ touchpoints }} as touches
    inner join customers
        on touches.customer_id = customers.customer_id
    inner join {{ ref('stg_channels') }} as channels
        on touches.channel = channels.channel

),

-- touches inside the lookback of their next conversion have its time, all others NULL
before_conversions as (

    select
        touches.*,
        instants.converted_at,
        coalesce(instants.conversions, 0) as conversions
    from touches_by_goal as touches
    left join {{ ref('conversion_instants') }} as instants
        on
            touches.customer_key = instants.customer_key
            and touches.goal = instants.goal
            and touches.occurred_at > coalesce(
                instants.previous_converted_at, timestamp '0001-01-01'
            )
            and touches.occurred_at >= instants.lookback_from
            and touches.occurred_at <= instants.converted_at

),

beside_neighbours as (

    select
        *,
        row_number() over touches_in_order as place,
        {% for back in range(1, (markov_order() | int) + 1) -%}
        lag(channel_index, {{ back }}) over touches_in_order as channel_index_{{ back }},
        {% endfor -%}
        lag(occurred_at) over touches_in_order as previous_occurred_at,
        lag(converted_at) over touches_in_order as previous_converted_at,
        lead(occurred_at) over touches_in_order as following_occurred_at,
        lead(converted_at) over touches_in_order as following_converted_at
    from before_conversions
    window touches_in_order as (
        partition by customer_key, goal order by occurred_at, touchpoint_id
    )

),

-- touches of one next conversion lie together; touches outside every lookback do where no gap is
-- longer than it, and a conversion between two of them makes one that is
bounded as (

    select
        touchpoint_id,
        customer_key,
        replicate_group,
        goal,
        channel_index,
        {% for back in range(1, (markov_order() | int) + 1) -%}
        channel_index_{{ back }},
        {% endfor -%}
        occurred_at,
        cast(place as integer) as place,
        converted_at,
        conversions,
        (
            previous_occurred_at is null
            or previous_converted_at is distinct from converted_at
            or previous_occurred_at < {{ days_before(lookback_days('goal'), 'occurred_at') }}
        ) as is_first,
        (
            following_occurred_at is null
            or following_converted_at is distinct from converted_at
            or occurred_at < {{ days_before(lookback_days('goal'), 'following_occurred_at') }}
        ) as is_last
    from beside_neighbours

),

in_journeys as (

    select
        *,
        {{ last_known('case when is_first then place end') }} over so_far as journey_start,
        {% if var('fit_journeys') == 'matured' -%}
        {{ last_known('case when is_first then occurred_at end') }} over so_far as started_at,
        {% endif -%}
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

beside_run as (

    select
        in_journeys.*,
        run.as_of,
        run.build,
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
    place - journey_start + 1 as position,
    channel_index,
    {% for back in range(1, (markov_order() | int) + 1) -%}
    case when place - journey_start >= {{ back }} then channel_index_{{ back }} end
        as previous_channel_index{{ '_' ~ back if back > 1 }},
    {% endfor -%}
    is_last,
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
    converted_at,
    build
from beside_run

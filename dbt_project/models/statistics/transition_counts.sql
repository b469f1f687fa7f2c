{#- Moves from touch to touch, counted: what a Markov chain needs. A state is the last touches of a
    journey as one number, the channel indices plus one as digits to the base 256, the last touch in
    the lowest, minus one: so (start) is -1 and in a chain of order 1 a state is a channel index.
    -2 is (conversion), -3 (null). -#}

{%- set order = markov_order() | int %}
{%- set by_difference = is_by_difference() and not var('segments') %}
{%- set columns %}
        customer_key,
        goal,
        journey_start,
        replicate_group,
        channel_index,
        {% for back in range(1, order + 1) -%}
        previous_channel_index{{ '_' ~ back if back > 1 }},
        {% endfor -%}
        is_last,
        conversions,
        fit_weight,
        converted_at,
{%- endset %}
with touches as (

    select
        {{- columns }}
        1 as sign
    from {{ ref('journey_touchpoints') }}
    {%- if by_difference %}
    where {{ is_built_now('journey_touchpoints') }}

    union all

    select
        {{- columns }}
        -1 as sign
    from {{ source('former', 'journey_touchpoints') }}
    {%- endif %}

),

instants as (

    select customer_key, goal, converted_at, revenue, 1 as sign
    from {{ ref('conversion_instants') }}
    {%- if by_difference %}

    union all

    select customer_key, goal, converted_at, revenue, -1 as sign
    from {{ source('former', 'conversion_instants') }}
    {%- endif %}

),

moves as (

    select
        customer_key,
        goal,
        journey_start,
        replicate_group,
        {% for back in range(1, order + 1) -%}
        cast(coalesce(previous_channel_index{{ '_' ~ back if back > 1 }}, -1) + 1 as bigint)
        * {{ 256 ** (back - 1) }} +
        {%- endfor %} -1 as from_state,
        {% for back in range(1, order) -%}
        cast(coalesce(previous_channel_index{{ '_' ~ back if back > 1 }}, -1) + 1 as bigint)
        * {{ 256 ** back }} +
        {%- endfor %} cast(channel_index as bigint) as to_state,
        is_last,
        conversions,
        fit_weight,
        converted_at,
        sign
    from touches
    where fit_weight > 0{{ ' and conversions > 0' if var('markov_nulls') == 'ignore' }}

),

segmented as (

    {{ by_segment('moves') }}

),

endings as (

    select
        moves.segment,
        moves.segment_value,
        moves.goal,
        moves.replicate_group,
        moves.to_state as from_state,
        case when moves.conversions > 0 then -2 else -3 end as to_state,
        moves.sign,
        moves.fit_weight,
        case when moves.conversions > 0 then coalesce(instants.revenue, 0) else 0 end as revenue
    from segmented as moves
    left join instants
        on
            moves.customer_key = instants.customer_key
            and moves.goal = instants.goal
            and moves.converted_at = instants.converted_at
            and moves.sign = instants.sign
    where moves.is_last

),

counted as (

    select
        segment,
        segment_value,
        goal,
        replicate_group,
        from_state,
        to_state,
        sum(sign * fit_weight) as journeys,
        cast(0 as decimal(38, 12)) as revenue
    from segmented
    group by segment, segment_value, goal, replicate_group, from_state, to_state

    union all

    select
        segment,
        segment_value,
        goal,
        replicate_group,
        from_state,
        to_state,
        sum(sign * fit_weight) as journeys,
        cast(sum(sign * revenue) as decimal(38, 12)) as revenue
    from endings
    group by segment, segment_value, goal, replicate_group, from_state, to_state
    {%- if by_difference %}

    union all

    select segment, segment_value, goal, replicate_group, from_state, to_state, journeys, revenue
    from {{ this }}
    {%- endif %}

)

select
    segment,
    segment_value,
    goal,
    replicate_group,
    from_state,
    to_state,
    cast(sum(journeys) as bigint) as journeys,
    cast(sum(revenue) as decimal(38, 12)) as revenue
from counted
group by segment, segment_value, goal, replicate_group, from_state, to_state
having sum(journeys) > 0

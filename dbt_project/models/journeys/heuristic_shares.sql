{#- What each touch of a journey that ends in a conversion, cancelled or not, gets of it by each
    heuristic. -#}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook="{{ forget_changed_customers() }}",
) }}

with touches as (

    select
        touches.*,
        journeys.touchpoints,
        journeys.replicate_group as journey_replicate_group,
        channels.channel,
        max(
            case when channels.channel <> {{ quoted(var('direct_channel')) }} then touches.position end
        ) over (partition by touches.customer_key, touches.goal, touches.journey_start)
            as last_non_direct_position,
        -- measured from the last touch: a weight of one at least, so that none underflows
        cast(
            pow(
                2e0,
                -{{ seconds_between('touches.occurred_at', 'journeys.ended_at') }}
                / 86400e0 / {{ var('time_decay_half_life_days') }}
            ) as decimal(38, 12)
        ) as decay
    from {{ ref('journey_touchpoints') }} as touches
    inner join {{ ref('journeys') }} as journeys
        on
            touches.customer_key = journeys.customer_key
            and touches.goal = journeys.goal
            and touches.journey_start = journeys.journey_start
    inner join {{ ref('stg_channels') }} as channels
        on touches.channel_index = channels.channel_index
    where
        touches.converted_at is not null and touches.is_in_window
        {%- if is_incremental() %}
        and {{ is_built_now('touches') }}
        {%- endif %}

),

with_total as (

    select
        *,
        sum(decay) over (partition by customer_key, goal, journey_start) as total_decay
    from touches

),

{% set first = var('position_based_first') -%}
{% set last = var('position_based_last') -%}
shares as (

    select
        *,
        case when position = 1 then 1 else 0 end as first_touch,
        case when is_last then 1 else 0 end as last_touch,
        case when position = coalesce(last_non_direct_position, touchpoints) then 1 else 0 end
            as last_non_direct,
        cast(1e0 / touchpoints as decimal(38, 12)) as linear,
        cast(
            case
                when touchpoints = 1 then 1e0
                when touchpoints = 2 and position = 1 then {{ first }} / ({{ first }} + {{ last }})
                when touchpoints = 2 then {{ last }} / ({{ first }} + {{ last }})
                when position = 1 then {{ first }}
                when is_last then {{ last }}
                else (1e0 - {{ first }} - {{ last }}) / (touchpoints - 2)
            end as decimal(38, 12)
        ) as position_based,
        cast(cast(decay as double) / cast(total_decay as double) as decimal(38, 12)) as time_decay
    from with_total

)

select
    customer_key,
    replicate_group,
    goal,
    journey_start,
    touchpoint_id,
    channel,
    channel_index,
    position,
    is_last,
    cast(first_touch as decimal(38, 12)) as first_touch,
    cast(last_touch as decimal(38, 12)) as last_touch,
    cast(last_non_direct as decimal(38, 12)) as last_non_direct,
    -- what rounding left over goes to the last touch, so that shares sum to exactly one; a larger
    -- gap is no rounding and stays for the tests and the gate to find
    {% for heuristic in ['linear', 'position_based', 'time_decay'] -%}
    cast(
        {{ heuristic }}
        + case
            when is_last and abs(1 - sum({{ heuristic }}) over journey) < 0.000001
                then 1 - sum({{ heuristic }}) over journey
            else 0
        end
        as decimal(38, 12)
    ) as {{ heuristic }},
    {% endfor -%}
    occurred_at,
    converted_at
from shares
window journey as (partition by customer_key, goal, journey_start)

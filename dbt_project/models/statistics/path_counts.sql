{#- Exact paths and what became of the journeys that took them, channel indices joined by blanks. Only
    paths that converted, and those that a converting path becomes without one of its touches: there
    the model compares. -#}
{{ config(enabled='path_counterfactual' in var('models')) }}

with journey_paths as (

    select
        customer_key,
        goal,
        journey_start,
        max(conversions) as conversions,
        max(case when conversions = 0 then fit_weight else 0 end) as nulls,
        max(converted_at) as converted_at,
        count(*) as touches,
        {{ joined_in_order("cast(channel_index as string)", " ", "position") }} as path
    from {{ ref('journey_touchpoints') }}
    where fit_weight > 0
    group by customer_key, goal, journey_start

),

segmented as (

    {{ by_segment('journey_paths') }}

),

counted as (

    select
        journey_paths.segment,
        journey_paths.segment_value,
        journey_paths.goal,
        journey_paths.path,
        sum(journey_paths.conversions) as conversions,
        sum(journey_paths.nulls) as nulls,
        sum(case when journey_paths.conversions > 0 then instants.revenue end) as revenue,
        min(
            case when journey_paths.conversions > 0 then journey_paths.customer_key end
        ) as customer_key
    from segmented as journey_paths
    left join {{ ref('conversion_instants') }} as instants
        on
            journey_paths.customer_key = instants.customer_key
            and journey_paths.goal = instants.goal
            and journey_paths.converted_at = instants.converted_at
    group by
        journey_paths.segment, journey_paths.segment_value, journey_paths.goal, journey_paths.path

),

-- the touches of each converting path, told by one journey that took it
examples as (

    select
        journey_paths.path,
        journey_paths.customer_key,
        journey_paths.goal,
        max(journey_paths.touches) as touches,
        min(journey_paths.journey_start) as journey_start
    from journey_paths
    inner join counted
        on
            journey_paths.goal = counted.goal
            and journey_paths.path = counted.path
            and journey_paths.customer_key = counted.customer_key
    where journey_paths.conversions > 0 and counted.segment = 'all'
    group by journey_paths.path, journey_paths.customer_key, journey_paths.goal

),

-- the paths are long, and here they are repeated by the square of their touches: by number, and without
-- those so long that nobody else took them but for one touch
numbered as (

    select *, row_number() over (order by path) as path_number
    from examples
    where touches <= 200

),

touches as (

    select numbered.path_number, touches.position, touches.channel_index
    from numbered
    inner join {{ ref('journey_touchpoints') }} as touches
        on
            numbered.customer_key = touches.customer_key
            and numbered.goal = touches.goal
            and numbered.journey_start = touches.journey_start

),

shortened as (

    select
        touches.path_number,
        left_out.position,
        {{ joined_in_order("cast(touches.channel_index as string)", " ", "touches.position") }} as rest
    from touches
    inner join touches as left_out
        on touches.path_number = left_out.path_number and touches.position <> left_out.position
    group by touches.path_number, left_out.position

),

compared as (

    select path from examples
    union
    select rest as path from shortened

)

select
    counted.segment,
    counted.segment_value,
    counted.goal,
    counted.path,
    cast(counted.conversions as bigint) as conversions,
    cast(counted.nulls as bigint) as nulls,
    cast(coalesce(counted.revenue, 0) as decimal(38, 12)) as revenue
from counted
inner join compared on counted.path = compared.path

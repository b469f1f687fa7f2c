{#- Moves from touch to touch, counted: what a Markov chain of order 1 needs. States are channel
    indices, -1 (start), -2 (conversion), -3 (null). -#}

with moves as (

    select
        goal,
        replicate_group,
        cast(coalesce(previous_channel_index, -1) as integer) as from_state,
        cast(channel_index as integer) as to_state,
        sum(fit_weight) as journeys,
        cast(0 as decimal(38, 12)) as revenue
    from {{ ref('journey_touchpoints') }}
    where fit_weight > 0
    group by goal, replicate_group, coalesce(previous_channel_index, -1), channel_index

),

endings as (

    select
        journeys.goal,
        journeys.replicate_group,
        cast(journeys.last_channel_index as integer) as from_state,
        case when journeys.conversions > 0 then -2 else -3 end as to_state,
        sum(journeys.fit_weight) as journeys,
        sum(case when journeys.conversions > 0 then coalesce(instants.revenue, 0) else 0 end)
            as revenue
    from {{ ref('journeys') }} as journeys
    left join {{ ref('conversion_instants') }} as instants
        on
            journeys.customer_key = instants.customer_key
            and journeys.goal = instants.goal
            and journeys.converted_at = instants.converted_at
    where journeys.fit_weight > 0
    group by
        journeys.goal,
        journeys.replicate_group,
        journeys.last_channel_index,
        case when journeys.conversions > 0 then -2 else -3 end

)

select goal, replicate_group, from_state, to_state, cast(journeys as bigint) as journeys, revenue
from moves
union all
select
    goal,
    replicate_group,
    from_state,
    to_state,
    cast(journeys as bigint) as journeys,
    cast(revenue as decimal(38, 12)) as revenue
from endings

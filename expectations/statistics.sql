-- One row per balance that must hold: what enters a channel leaves it, and what the models are fitted
-- on is what was converted. One more for each figure of the whole: how many channels there are, which
-- share of the touches no channel rule knows, how many duplicates differ from the row that won.
with goals as (

    select distinct goal from journeys.conversion_instants

),

moves as (

    -- a state by its last touch; the ends and (start) are negative
    select
        goals.goal,
        case when t.from_state < 0 then t.from_state else (t.from_state + 1) % 256 - 1 end
            as from_state,
        case when t.to_state < 0 then t.to_state else (t.to_state + 1) % 256 - 1 end as to_state,
        sum(t.journeys) as journeys
    from statistics.transition_counts as t
    inner join goals on coalesce(t.goal, goals.goal) = goals.goal
    where t.segment = 'all'
    group by all

),

flows as (

    select goal, state, sum(entered) as entered, sum(left_again) as left_again
    from (
        select goal, to_state as state, journeys as entered, 0 as left_again from moves
        union all
        select goal, from_state, 0, journeys from moves
    )
    group by goal, state

),

converting as (

    select goal, sum(conversions) as conversions
    from statistics.coalition_counts
    where conversions > 0 and segment = 'all'
    group by goal

),

converted as (

    select goal, count(*) as conversions
    from journeys.journey_conversions
    where is_in_window and not is_cancelled and journey_start is not null
    group by goal

),

heuristics as (

    select model, goal, sum(conversions) as conversions
    from statistics.heuristic_counts
    where segment = 'all'
    group by model, goal

),

balances as (

    select
        goal || ': ' || channel as subject,
        cast(entered as double) as entered,
        cast(left_again as double) as left_again
    from flows
    left join staging.stg_channels on state = channel_index
    where state >= 0

    union all

    -- of a goal whose conversions touched nothing, too
    select
        goals.goal || ': (start) against the ends',
        cast(coalesce(sum(case when state < -1 then entered end), 0) as double),
        cast(coalesce(sum(case when state = -1 then left_again end), 0) as double)
    from goals
    left join flows using (goal)
    group by goals.goal

    union all

    select
        goal || ': converting sets against conversions',
        cast(coalesce(converting.conversions, 0) as double),
        cast(coalesce(converted.conversions, 0) as double)
    from converting
    full join converted using (goal)

    union all

    select
        goal || ': ' || model || ' per conversion',
        round(cast(heuristics.conversions as double) / converted.conversions, 9),
        1
    from heuristics
    inner join converted using (goal)

)

select
    subject,
    entered,
    left_again,
    null as channels,
    null as share_unmapped,
    null as rows_conflicting
from balances

union all

select 'all channels', null, null, count(*), null, null
from staging.stg_channels

union all

select
    'all touches',
    null,
    null,
    null,
    coalesce(avg(case when channel = '(other)' then 1 else 0 end), 0),
    null
from journeys.journey_touchpoints
inner join staging.stg_channels using (channel_index)

union all

select 'touchpoints', null, null, null, null, count(*) filter (where is_conflict)
from staging.duplicate_touchpoints

union all

select 'conversions', null, null, null, null, count(*) filter (where is_conflict)
from staging.duplicate_conversions

union all

select 'steps', null, null, null, null, count(*) filter (where is_conflict)
from staging.duplicate_steps
order by subject

{#- No touchpoint is lost or counted twice on its way from the exports, through stitching, channel
    rules and duplicates, into journeys. Customers who convert on no goal stand once, goal NULL. -#}

with exported as (

    select count(*) as touchpoints
    from {{ ref('all_touchpoints') }} as t
    where {{ is_staged('t', 'touchpoints') }}

),

of_every_goal as (

    select coalesce(sum(touchpoints), 0) as touchpoints
    from {{ ref('journeys') }}
    where goal is null

),

of_one_goal as (

    select goal, sum(touchpoints) as touchpoints
    from {{ ref('journeys') }}
    where goal is not null
    group by goal

)

select
    of_one_goal.goal,
    exported.touchpoints as exported,
    of_every_goal.touchpoints + coalesce(of_one_goal.touchpoints, 0) as in_journeys
from exported
cross join of_every_goal
left join of_one_goal on true
where exported.touchpoints <> of_every_goal.touchpoints + coalesce(of_one_goal.touchpoints, 0)

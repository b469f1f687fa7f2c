{#- Grouping touchpoints into journeys loses none and counts none twice. -#}

select journeys.touchpoints as in_journeys, touches.touchpoints as in_journey_touchpoints
from (select coalesce(sum(touchpoints), 0) as touchpoints from {{ ref('journeys') }}) as journeys
cross join (select count(*) as touchpoints from {{ ref('journey_touchpoints') }}) as touches
where journeys.touchpoints <> touches.touchpoints

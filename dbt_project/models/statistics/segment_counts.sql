{#- How many journeys each segment holds, and how many of them convert: whether a fit is worth having. -#}

select
    segments.segment,
    segments.segment_value,
    journeys.goal,
    count(*) as journeys,
    sum(case when journeys.conversions > 0 then 1 else 0 end) as converted_journeys
from {{ ref('journeys') }} as journeys
inner join {{ ref('journey_segments') }} as segments
    on
        journeys.customer_key = segments.customer_key
        and coalesce(journeys.goal, '') = coalesce(segments.goal, '')
        and journeys.journey_start = segments.journey_start
where journeys.is_in_window
group by segments.segment, segments.segment_value, journeys.goal

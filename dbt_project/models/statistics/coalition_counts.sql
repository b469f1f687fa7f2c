{#- Conversions and revenue of each set of channels. Journeys without a conversion are many more and
    feed none of the models in use, so they are not counted here. -#}

select
    journeys.goal,
    journeys.replicate_group,
    coalitions.coalition_id,
    cast(sum(journeys.conversions) as bigint) as conversions,
    cast(sum(instants.revenue) as decimal(38, 12)) as revenue
from {{ ref('journeys') }} as journeys
inner join {{ ref('coalitions') }} as coalitions
    on {% for word in range(4) -%}
        journeys.coalition_{{ word }} = coalitions.coalition_{{ word }}{{ ' and ' if not loop.last }}
    {%- endfor %}
inner join {{ ref('conversion_instants') }} as instants
    on
        journeys.customer_key = instants.customer_key
        and journeys.goal = instants.goal
        and journeys.converted_at = instants.converted_at
where journeys.conversions > 0 and journeys.is_in_window
group by journeys.goal, journeys.replicate_group, coalitions.coalition_id

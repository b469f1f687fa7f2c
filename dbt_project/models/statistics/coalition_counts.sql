{#- Conversions and revenue of each set of channels: of all journeys of the window, and of those that
    models are fitted to. Journeys without a conversion are many more: they are counted only where a
    model in use asks for them. -#}

with journeys as (

    select
        journeys.customer_key,
        journeys.goal,
        journeys.journey_start,
        journeys.replicate_group,
        coalitions.coalition_id,
        case when journeys.is_in_window then journeys.conversions else 0 end as conversions,
        case when journeys.conversions = 0 then journeys.fit_weight else 0 end as nulls,
        case when journeys.conversions > 0 then journeys.fit_weight else 0 end as fit_conversions,
        case when journeys.conversions > 0 and journeys.is_in_window then instants.revenue end
            as revenue,
        case when journeys.conversions > 0 and journeys.fit_weight > 0 then instants.revenue end
            as fit_revenue
    from {{ ref('journeys') }} as journeys
    inner join {{ ref('coalitions') }} as coalitions
        on {% for word in range(4) -%}
            journeys.coalition_{{ word }} = coalitions.coalition_{{ word }}{{ ' and ' if not loop.last }}
        {%- endfor %}
    left join {{ ref('conversion_instants') }} as instants
        on
            journeys.customer_key = instants.customer_key
            and journeys.goal = instants.goal
            and journeys.converted_at = instants.converted_at
    where
        (journeys.conversions > 0 and journeys.is_in_window)
        {{ 'or (journeys.conversions = 0 and journeys.fit_weight > 0)' if needs_null_coalitions() }}

),

segmented as (

    {{ by_segment('journeys') }}

)

select
    segment,
    segment_value,
    goal,
    replicate_group,
    coalition_id,
    cast(sum(conversions) as bigint) as conversions,
    cast(sum(nulls) as bigint) as nulls,
    cast(coalesce(sum(revenue), 0) as decimal(38, 12)) as revenue,
    cast(sum(fit_conversions) as bigint) as fit_conversions,
    cast(coalesce(sum(fit_revenue), 0) as decimal(38, 12)) as fit_revenue
from segmented
group by segment, segment_value, goal, replicate_group, coalition_id

{#- Which ways lead to conversions. Paths of few customers are known by their last three touches, or two, or
    one, as soon as enough customers share these, and else are (rare paths). In the names of channels
    `>` becomes `›`, for ` > ` stands between them. -#}
{%- set ends = ['path', 'last_3', 'last_2', 'last_1'] -%}

with touches as (

    select
        customer_key,
        goal,
        journey_start,
        position,
        channel,
        row_number() over (
            partition by customer_key, goal, journey_start order by position desc
        ) as from_end
    from {{ ref('heuristic_shares') }}

),

paths as (

    select
        customer_key,
        goal,
        journey_start,
        {{ joined_in_order("replace(channel, '>', '›')", ' > ', 'position') }} as path,
        {%- for n in [3, 2, 1] %}
        {{ joined_in_order(
            "case when from_end <= " ~ n ~ " then replace(channel, '>', '›') end", ' > ', 'position'
        ) }}
            as last_{{ n }}{{ ',' if not loop.last }}
        {%- endfor %}
    from touches
    group by customer_key, goal, journey_start

),

journeys as (

    select
        paths.goal,
        paths.path,
        paths.last_3,
        paths.last_2,
        paths.last_1,
        paths.customer_key,
        journeys.conversions,
        instants.revenue,
        {{ seconds_between('journeys.started_at', 'journeys.converted_at') }} / 86400e0
            as days_to_conversion
    from paths
    inner join {{ ref('journeys') }} as journeys
        on
            paths.customer_key = journeys.customer_key
            and paths.goal = journeys.goal
            and paths.journey_start = journeys.journey_start
            and journeys.conversions > 0
    inner join {{ ref('conversion_instants') }} as instants
        on
            journeys.customer_key = instants.customer_key
            and journeys.goal = instants.goal
            and journeys.converted_at = instants.converted_at

),

named as (

    select journeys.*, nullif(journeys.path, journeys.path) as shown_path
    from journeys

),

{% for end in ends -%}
cells_of_{{ end }} as (

    select goal, {{ end }}
    from {{ 'named' if loop.first else 'by_' ~ loop.previtem }}
    where shown_path is null
    group by goal, {{ end }}
    having count(distinct customer_key) >= {{ var('small_cell') }}

),

by_{{ end }} as (

    select
        named.goal,
        named.path,
        named.last_3,
        named.last_2,
        named.last_1,
        named.customer_key,
        named.conversions,
        named.revenue,
        named.days_to_conversion,
        coalesce(
            named.shown_path,
            {{ "cells.path" if loop.first else "'… > ' || cells." ~ end }}
        ) as shown_path
    from {{ 'named' if loop.first else 'by_' ~ loop.previtem ~ ' as named' }}
    left join cells_of_{{ end }} as cells
        on named.goal = cells.goal and named.{{ end }} = cells.{{ end }}

){{ ',' if not loop.last }}

{% endfor -%}
select
    goal,
    coalesce(shown_path, '(rare paths)') as path,
    count(*) as journeys,
    cast(sum(conversions) as bigint) as conversions,
    cast(sum(revenue) as decimal(38, 12)) as revenue,
    {{ median('days_to_conversion') }} as median_days_to_conversion
from by_last_1
group by goal, shown_path

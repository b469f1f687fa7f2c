{#- Which ways lead to conversions. Paths of few customers become (rare paths). In the
    names of channels `>` becomes `›`, for ` > ` stands between them. -#}

with paths as (

    select
        shares.customer_key,
        shares.goal,
        shares.journey_start,
        {{ joined_in_order("replace(shares.channel, '>', '›')", ' > ', 'shares.position') }} as path
    from {{ ref('heuristic_shares') }} as shares
    group by shares.customer_key, shares.goal, shares.journey_start

),

journeys as (

    select
        paths.goal,
        paths.path,
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

cells as (

    select goal, path, count(distinct customer_key) as customers
    from journeys
    group by goal, path

),

shown as (

    select
        journeys.*,
        case when cells.customers >= {{ var('small_cell') }} then journeys.path else '(rare paths)' end
            as shown_path
    from journeys
    inner join cells on journeys.goal = cells.goal and journeys.path = cells.path

)

select
    goal,
    shown_path as path,
    count(*) as journeys,
    cast(sum(conversions) as bigint) as conversions,
    cast(sum(revenue) as decimal(38, 12)) as revenue,
    {{ median('days_to_conversion') }} as median_days_to_conversion
from shown
group by goal, shown_path

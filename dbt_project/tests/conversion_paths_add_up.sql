{#- Paths, those added up as (rare paths) included, are all conversions that have a journey. -#}

with paths as (

    select goal, sum(conversions) as conversions, sum(revenue) as revenue
    from {{ ref('conversion_paths') }}
    group by goal

),

credited as (

    select
        goal,
        count(distinct conversion_id) as conversions,
        sum(revenue_credit) as revenue
    from {{ ref('conversion_credit') }}
    where model = 'last_touch' and channel <> '(unattributed)'
    group by goal

)

select
    coalesce(credited.goal, paths.goal) as goal,
    credited.conversions,
    paths.conversions as conversions_of_paths,
    credited.revenue,
    paths.revenue as revenue_of_paths
from credited
full outer join paths on credited.goal = paths.goal
where
    credited.goal is null
    or paths.goal is null
    or paths.conversions <> credited.conversions
    or abs(paths.revenue - credited.revenue) > 1e-9 * greatest(abs(credited.revenue), 1)

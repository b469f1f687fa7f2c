{#- What the models, and the journeys under them, say about themselves. -#}

with journeys as (

    select
        goals.goal,
        sum(case when journeys.outcome = 'open' then 1e0 else 0e0 end) as open_journeys,
        sum(case when journeys.outcome = 'cancelled' then 1e0 else 0e0 end) as cancelled_journeys,
        sum(case when journeys.outcome = 'converted' then 1e0 else 0e0 end) as converted_journeys,
        count(*) as journeys
    from {{ ref('journeys') }} as journeys
    inner join (select distinct goal from {{ ref('conversion_instants') }}) as goals
        on coalesce(journeys.goal, goals.goal) = goals.goal
    where journeys.is_in_window
    group by goals.goal

),

conversions as (

    select
        goal,
        count(*) as gross_conversions,
        sum(case when is_cancelled then 1e0 else 0e0 end) as cancelled_conversions,
        sum(case when not is_cancelled and journey_start is null then 1e0 else 0e0 end)
            as unattributed_conversions
    from {{ ref('journey_conversions') }}
    where is_in_window
    group by goal

)

select model, goal, segment, segment_value, name, value
from {{ source('ledger', '_credit_diagnostics') }}
{%- for name in ['open_journeys', 'cancelled_journeys', 'converted_journeys', 'journeys'] %}
union all
select
    '(journeys)' as model,
    goal,
    'all' as segment,
    'all' as segment_value,
    '{{ name }}' as name,
    cast({{ name }} as double) as value
from journeys
{%- endfor %}
union all
select '(journeys)', goal, 'all', 'all', 'share_open', open_journeys / journeys from journeys
{%- for name in ['gross_conversions', 'cancelled_conversions', 'unattributed_conversions'] %}
union all
select '(journeys)', goal, 'all', 'all', '{{ name }}', cast({{ name }} as double)
from conversions
{%- endfor %}

{#- A bounded sample of journeys with the ages of their touches. Customers are drawn by a hash, with
    another salt than the replicate groups, at one rate for those whose journey converted and at
    another for the rest; `weight` is what a drawn journey stands for. -#}
{{ config(enabled='additive_hazard' in var('models')) }}

with fitted as (

    select
        customer_key,
        goal,
        journey_start,
        conversions,
        converted_at,
        ended_at,
        case when conversions > 0 then 1 else 0 end as is_converted
    from {{ ref('journeys') }}
    where fit_weight > 0

),

rates as (

    select
        is_converted,
        {{ var('sample_customers') }} / 2e0 / count(distinct customer_key) as rate
    from fitted
    group by is_converted

),

drawn as (

    select
        fitted.*,
        case when rates.rate < 1 then rates.rate else 1e0 end as rate,
        row_number() over (
            order by customers.customer_id, fitted.goal, fitted.journey_start
        ) as journey
    from fitted
    inner join rates on fitted.is_converted = rates.is_converted
    inner join {{ ref('stg_customers') }} as customers
        on fitted.customer_key = customers.customer_key
    where customers.sample_place < 1000000 * rates.rate

),

segmented as (

    {{ by_segment('drawn') }}

)

select
    drawn.segment,
    drawn.segment_value,
    drawn.goal,
    drawn.journey,
    touches.replicate_group,
    touches.channel_index,
    {{ seconds_between(
        'touches.occurred_at',
        'coalesce(drawn.converted_at, least(run.as_of, '
        ~ days_before('-1 * (' ~ lookback_days('drawn.goal') ~ ')', 'drawn.ended_at') ~ '))'
    ) }} as age_seconds,
    drawn.is_converted = 1 as is_converted,
    case when drawn.conversions > 0 then drawn.conversions else 1 end / drawn.rate as weight,
    coalesce(cast(instants.revenue as double) / nullif(drawn.conversions, 0), 0) as revenue
from segmented as drawn
cross join {{ source('ledger', '_run') }} as run
inner join {{ ref('journey_touchpoints') }} as touches
    on
        drawn.customer_key = touches.customer_key
        and coalesce(drawn.goal, '') = coalesce(touches.goal, '')
        and drawn.journey_start = touches.journey_start
left join {{ ref('conversion_instants') }} as instants
    on
        drawn.is_converted = 1
        and drawn.customer_key = instants.customer_key
        and drawn.goal = instants.goal
        and drawn.converted_at = instants.converted_at

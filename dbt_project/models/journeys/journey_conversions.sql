{#- Every conversion with the journey that led to it, or with the reason why there is none. -#}

with journeys as (

    select customer_key, goal, converted_at, journey_start, touchpoints
    from {{ ref('journeys') }}
    where converted_at is not null

),

-- conversions whose customer had touches before them, all of them too early
too_early as (

    select distinct instants.customer_key, instants.goal, instants.converted_at
    from {{ ref('conversion_instants') }} as instants
    inner join {{ ref('journey_touchpoints') }} as touches
        on
            instants.customer_key = touches.customer_key
            and instants.goal = touches.goal
            and touches.occurred_at <= instants.converted_at
            and touches.occurred_at > coalesce(
                instants.previous_converted_at, timestamp '0001-01-01'
            )

)

select
    conversions.conversion_id,
    customers.customer_key,
    conversions.goal,
    journeys.journey_start,
    conversions.is_cancelled,
    cast(conversions.revenue as decimal(38, 12)) as revenue,
    case
        when journeys.journey_start is not null then null
        when too_early.customer_key is not null then 'outside_lookback'
        when instants.previous_converted_at is not null then 'no_touch_since_previous_conversion'
        else 'no_touchpoint'
    end as unattributed_reason,
    conversions.converted_at,
    conversions.converted_at >= run.window_from as is_in_window
from {{ ref('stg_conversions') }} as conversions
cross join {{ source('ledger', '_run') }} as run
inner join {{ ref('stg_customers') }} as customers
    on conversions.customer_id = customers.customer_id
inner join {{ ref('conversion_instants') }} as instants
    on
        customers.customer_key = instants.customer_key
        and conversions.goal = instants.goal
        and conversions.converted_at = instants.converted_at
left join journeys
    on
        customers.customer_key = journeys.customer_key
        and conversions.goal = journeys.goal
        and conversions.converted_at = journeys.converted_at
left join too_early
    on
        customers.customer_key = too_early.customer_key
        and conversions.goal = too_early.goal
        and conversions.converted_at = too_early.converted_at

{#- Several conversions of one customer and goal at one instant end one journey together. -#}

with instants as (

    select
        customers.customer_key,
        conversions.goal,
        conversions.converted_at,
        sum(case when conversions.is_cancelled then 0 else 1 end) as conversions,
        sum(case when conversions.is_cancelled then 0 else conversions.revenue end) as revenue
    from {{ ref('stg_conversions') }} as conversions
    inner join {{ ref('stg_customers') }} as customers
        on conversions.customer_id = customers.customer_id
    group by customers.customer_key, conversions.goal, conversions.converted_at

)

select
    customer_key,
    goal,
    cast(conversions as integer) as conversions,
    cast(revenue as decimal(38, 12)) as revenue,
    converted_at,
    {{ days_before(lookback_days('goal'), 'converted_at') }} as lookback_from,
    lag(converted_at) over (partition by customer_key, goal order by converted_at)
        as previous_converted_at
from instants

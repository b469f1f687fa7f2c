{#- One row per conversion that was booked before the run's day ended; its cancellation, under the
    same id, beside it. -#}
{{ config(materialized='table') }}

with conversions as (

    select *
    from {{ ref('all_conversions') }} as c
    where {{ is_staged('c', 'conversions') }}

),

booked as (

    select * from conversions where status <> 'cancelled'

),

cancelled as (

    select * from conversions where status = 'cancelled'

)

select
    booked.conversion_id,
    coalesce(i.customer_id, booked.customer_id) as customer_id,
    booked.goal,
    booked.status,
    booked.currency,
    {{ converted('booked.revenue', 'booked.currency') }} as revenue,
    cancelled.conversion_id is not null as is_cancelled,
    booked.converted_at,
    cancelled.converted_at as cancelled_at
from booked
left join cancelled on booked.conversion_id = cancelled.conversion_id
left join {{ ref('stg_rates') }} as rates
    on
        booked.currency = rates.currency
        and {{ local_date('booked.converted_at') }} = rates.date
left join {{ ref('stg_identities') }} as i
    on
        booked.customer_id = i.anonymous_id
        and booked.converted_at > i.valid_after
        and booked.converted_at <= i.valid_until

{#- When each customer was first touched within the window. -#}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook="{{ forget_changed_customers() }}",
) }}

select
    touches.customer_key,
    touches.goal,
    min(touches.occurred_at) as entered_at
from {{ ref('journey_touchpoints') }} as touches
cross join {{ source('ledger', '_run') }} as run
where touches.occurred_at >= run.window_from and {{ is_to_build('touches.customer_key') }}
group by touches.customer_key, touches.goal

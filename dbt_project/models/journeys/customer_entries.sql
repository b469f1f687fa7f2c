{#- When each customer was first touched within the window. Every touch that the window leaves behind
    was some customer's first: these enter later, and nothing else of them changes. -#}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook="{{ forget_changed_customers() }}",
    post_hook="{{ forget_entries_before_the_window() }}",
) }}

select
    touches.customer_key,
    touches.goal,
    min(touches.occurred_at) as entered_at
from {{ ref('journey_touchpoints') }} as touches
cross join {{ source('ledger', '_run') }} as run
where
    touches.occurred_at >= run.window_from
    {%- if is_incremental() %}
    and touches.customer_key in (
        select customer_key from {{ source('ledger', '_changed_customers') }}
        union all
        select customer_key from {{ this }}
        where entered_at < (select window_from from {{ source('ledger', '_run') }})
    )
    {%- endif %}
group by touches.customer_key, touches.goal

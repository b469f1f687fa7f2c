{#- When each customer was first touched within the window. Every touch that the window leaves behind
    was some customer's first: these enter later, and nothing else of them changes. -#}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook="{{ forget_changed_customers() }}",
    post_hook="{{ forget_entries_before_the_window() }}",
) }}

with touches as (

    select customer_key, goal, occurred_at
    from {{ ref('journey_touchpoints') }} as touches
    {%- if is_incremental() %}
    where {{ is_built_now('touches') }}

    union all

    select touches.customer_key, touches.goal, touches.occurred_at
    from (
        select distinct customer_key
        from {{ this }}
        where entered_at < (select window_from from {{ source('ledger', '_run') }})
    ) as left_behind
    inner join {{ ref('journey_touchpoints') }} as touches
        on left_behind.customer_key = touches.customer_key
    {%- endif %}

)

select
    touches.customer_key,
    touches.goal,
    min(touches.occurred_at) as entered_at
from touches
cross join {{ source('ledger', '_run') }} as run
where touches.occurred_at >= run.window_from
group by touches.customer_key, touches.goal

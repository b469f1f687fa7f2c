{#- What is known of every journey from its first touch on, whether it converts or not: the columns that
    the setting `segments` may name. A company adds its own here, a persona for example. -#}
{{ config(materialized='table' if var('segments') else 'view') }}

with first_bookings as (

    select customer_key, min(converted_at) as converted_at
    from {{ ref('conversion_instants') }}
    where conversions > 0
    group by customer_key

),

entries as (

    select customer_key, goal, journey_start, touchpoint_id, channel_index, occurred_at
    from {{ ref('journey_touchpoints') }}
    where position = 1

)

select
    entries.customer_key,
    entries.goal,
    entries.journey_start,
    case when first_bookings.converted_at < entries.occurred_at then 'existing' else 'new' end
        as customer_status,
    channels.channel as entry_channel,
    touchpoints.mode as entry_mode,
    touchpoints.campaign as entry_campaign
from entries
inner join {{ ref('stg_channels') }} as channels
    on entries.channel_index = channels.channel_index
inner join {{ ref('stg_touchpoints') }} as touchpoints
    on entries.touchpoint_id = touchpoints.touchpoint_id
left join first_bookings
    on entries.customer_key = first_bookings.customer_key

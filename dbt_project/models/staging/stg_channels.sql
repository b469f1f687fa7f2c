{#- Channels in sorted order; the index stands for the channel wherever rows are many. -#}
{{ config(materialized='table') }}

select
    channel,
    cast(row_number() over (order by channel) - 1 as smallint) as channel_index
from (
    select distinct {{ channel_of('t') }} as channel
    from {{ ref('all_touchpoints') }} as t
    {{ beside_channel_map('t') }}
    where {{ is_staged('t', 'touchpoints') }}
) as seen

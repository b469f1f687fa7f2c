{#- Channels in sorted order; the index stands for the channel wherever rows are many. -#}
{{ config(materialized='table') }}

select
    channel,
    cast(row_number() over (order by channel) - 1 as smallint) as channel_index
from (select distinct channel from {{ ref('stg_touchpoints') }}) as seen

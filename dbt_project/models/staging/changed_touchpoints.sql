{#- What journeys need of the touchpoints of stg_touchpoints that a night builds anew, found by the ids
    as delivered before anything is joined to them. -#}
{{ config(materialized='table') }}

select
    touchpoint_id,
    customer_id,
    occurred_at,
    channel
from (
    {{ staged_touchpoints(
        '(select * from ' ~ ref('all_touchpoints') ~ ' where customer_id in (select id from '
        ~ source('ledger', '_changed_ids') ~ '))'
    ) }}
) as touchpoints

{#- The touchpoints of stg_touchpoints that a night builds anew, found by the ids as delivered before
    anything is joined to them. -#}
{{ config(materialized='table') }}

{{ staged_touchpoints(
    '(select * from ' ~ ref('all_touchpoints') ~ ' where customer_id in (select id from '
    ~ source('ledger', '_changed_ids') ~ '))'
) }}

{{ config(materialized='table') }}

{{ losing_duplicates(
    source('exports', 'steps'),
    ['step_id'],
    ['step_id', 'customer_id', 'occurred_at', 'step', 'goal']
) }}

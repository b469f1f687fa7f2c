{{ config(materialized='table') }}

{{ losing_duplicates(
    ref('all_touchpoints'), ['touchpoint_id'], canonical_columns('touchpoints')
) }}

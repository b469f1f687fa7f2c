{{ config(materialized='table') }}

{{ losing_duplicates(
    ref('all_conversions'), ['conversion_id', 'status'], canonical_columns('conversions')
) }}

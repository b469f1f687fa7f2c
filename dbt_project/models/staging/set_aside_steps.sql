{#- Steps that were loaded and yet do not count. -#}
{{ config(materialized='table') }}

{{ untimely(source('exports', 'steps'), 'occurred_at', ref('duplicate_steps')) }}

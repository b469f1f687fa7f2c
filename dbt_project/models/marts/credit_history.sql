{#- What each night said. Append-only and never rebuilt: a re-run of a date replaces its own rows. -#}
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='run_date',
    full_refresh=false,
    on_schema_change='fail',
) }}

select
    run.run_date,
    credit.model,
    credit.goal,
    credit.channel,
    credit.conversions,
    credit.share
from {{ ref('channel_credit') }} as credit
cross join {{ source('ledger', '_run') }} as run
where credit.segment = 'all'

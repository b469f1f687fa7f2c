{#- Everyone with a touchpoint or a conversion, after stitching. The key is short for joins, and stays
    as long as the table is not built in full; the replicate group is by md5 of the id, so that it is
    the same on every engine and every night. -#}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook="{{ forget_changed_customers() }}",
) }}

{%- set touchpoints = touchpoints_to_build() %}
with seen as (

    select customer_id from {{ touchpoints }}
    union
    select customer_id from {{ ref('stg_conversions') }}

)

select
    seen.customer_id,
    {% if is_incremental() -%}
    changed.customer_key,
    {%- else -%}
    cast(row_number() over (order by seen.customer_id) as integer) as customer_key,
    {%- endif %}
    cast({{ replicate_group('seen.customer_id', var('replicate_groups')) }} as smallint)
        as replicate_group,
    -- with another salt, for it must not tell of the groups
    cast({{ replicate_group("seen.customer_id || '/sample'", 1000000) }} as integer) as sample_place
from seen
{%- if is_incremental() %}
inner join {{ source('ledger', '_changed_customers') }} as changed
    on seen.customer_id = changed.customer_id
{%- endif %}

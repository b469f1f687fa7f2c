{#- Everyone with a touchpoint or a conversion, after stitching. The key is short for joins; the
    replicate group is by md5 of the id, so that it is the same on every engine and every night. -#}
{{ config(materialized='table') }}

with seen as (

    select customer_id from {{ ref('stg_touchpoints') }}
    union
    select customer_id from {{ ref('stg_conversions') }}

)

select
    customer_id,
    cast(row_number() over (order by customer_id) as integer) as customer_key,
    cast({{ replicate_group('customer_id', var('replicate_groups')) }} as smallint) as replicate_group
from seen

{{ config(schema='statistics') }}

{{ credit_of_conversions('is_cancelled', ref('cancelled_touchpoint_credit')) }}

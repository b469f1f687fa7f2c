{{ config(schema='statistics') }}

{{ credit_of_touches('is_cancelled') }}

select
    txn_id as conversion_id,
    user_id as customer_id,
    time as converted_at,
    'course' as goal,
    paid_amount as revenue,
    'UAH' as currency,
    cast(null as varchar) as status,
    _file_id,
    _row
from {{ source('exports', 'payments') }}

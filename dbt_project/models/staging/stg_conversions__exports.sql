select
    conversion_id,
    customer_id,
    converted_at,
    goal,
    revenue,
    currency,
    status,
    _file_id,
    _row
from {{ source('exports', 'conversions') }}

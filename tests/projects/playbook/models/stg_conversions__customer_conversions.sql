select
    cast(_file_id as varchar) || '-' || cast(_row as varchar) as conversion_id,
    customer_id,
    converted_at,
    cast(null as varchar) as goal,
    revenue,
    cast(null as varchar) as currency,
    cast(null as varchar) as status,
    _file_id,
    _row
from {{ source('exports', 'customer_conversions') }}

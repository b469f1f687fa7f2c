select
    mql_id as conversion_id,
    mql_id as customer_id,
    won_date as converted_at,
    'deal' as goal,
    declared_monthly_revenue as revenue,
    cast(null as varchar) as currency,
    cast(null as varchar) as status,
    _file_id,
    _row
from {{ source('exports', 'deals') }}

select
    cast(_file_id as varchar) || '-' || cast(_row as varchar) as conversion_id,
    customer_id,
    time as converted_at,
    cast(null as varchar) as goal,
    conversion_value as revenue,
    cast(null as varchar) as currency,
    cast(null as varchar) as status,
    _file_id,
    _row
from {{ source('exports', 'campaign_events') }}
where conversion = 1

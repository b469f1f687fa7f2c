select
    touchpoint_id,
    customer_id,
    occurred_at,
    channel,
    source,
    medium,
    campaign,
    interaction,
    mode,
    cost,
    _file_id,
    _row
from {{ source('exports', 'touchpoints') }}

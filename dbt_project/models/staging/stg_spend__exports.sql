select
    date,
    channel,
    cost,
    campaign,
    currency,
    _file_id,
    _row
from {{ source('exports', 'spend') }}

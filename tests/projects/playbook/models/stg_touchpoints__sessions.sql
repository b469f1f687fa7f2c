select
    session_id as touchpoint_id,
    customer_id,
    started_at as occurred_at,
    cast(null as varchar) as channel,
    utm_source as source,
    utm_medium as medium,
    utm_campaign as campaign,
    'visit' as interaction,
    'digital' as mode,
    cast(null as decimal(18, 4)) as cost,
    _file_id,
    _row
from {{ source('exports', 'sessions') }}

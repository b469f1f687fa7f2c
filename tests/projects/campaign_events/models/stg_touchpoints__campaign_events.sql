-- The file has no ids: its own hash and the row make one that is the same on every machine.
select
    cast(_file_id as varchar) || '-' || cast(_row as varchar) as touchpoint_id,
    customer_id,
    time as occurred_at,
    channel,
    cast(null as varchar) as source,
    cast(null as varchar) as medium,
    cast(null as varchar) as campaign,
    interaction,
    'digital' as mode,
    cast(null as decimal(18, 4)) as cost,
    _file_id,
    _row
from {{ source('exports', 'campaign_events') }}

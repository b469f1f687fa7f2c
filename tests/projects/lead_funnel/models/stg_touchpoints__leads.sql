select
    mql_id as touchpoint_id,
    mql_id as customer_id,
    first_contact_date as occurred_at,
    coalesce(origin, 'unknown') as channel,
    cast(null as varchar) as source,
    cast(null as varchar) as medium,
    cast(null as varchar) as campaign,
    'visit' as interaction,
    'digital' as mode,
    cast(null as decimal(18, 4)) as cost,
    _file_id,
    _row
from {{ source('exports', 'leads') }}

select
    cast(_file_id as varchar) || '-' || cast(_row as varchar) as touchpoint_id,
    id as customer_id,
    join_ts as occurred_at,
    case
        when landing_page like '%utm_source=google%' or landing_page like '%gclid=%'
            or landing_page like '%gbraid=%' then 'paid_search'
        when landing_page like '%fbclid=%' or landing_page like '%utm_source=f%' then 'paid_social'
        when referer like '%google%' then 'organic_search'
        else 'direct'
    end as channel,
    cast(null as varchar) as source,
    cast(null as varchar) as medium,
    cast(null as varchar) as campaign,
    'visit' as interaction,
    'digital' as mode,
    cast(null as decimal(18, 4)) as cost,
    _file_id,
    _row
from {{ source('exports', 'users') }}

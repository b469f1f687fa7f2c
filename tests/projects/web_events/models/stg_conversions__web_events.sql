select
    event_id as conversion_id,
    domain_userid as customer_id,
    derived_tstamp as converted_at,
    'order' as goal,
    tr_total as revenue,
    cast(null as varchar) as currency,
    cast(null as varchar) as status,
    _file_id,
    _row
from {{ source('exports', 'web_events') }}
where tr_total is not null

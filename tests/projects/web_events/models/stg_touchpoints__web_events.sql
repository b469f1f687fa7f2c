select
    event_id as touchpoint_id,
    domain_userid as customer_id,
    derived_tstamp as occurred_at,
    cast(null as varchar) as channel,
    coalesce(mkt_source, '(direct)') as source,
    coalesce(mkt_medium, '(none)') as medium,
    mkt_campaign as campaign,
    event_name as interaction,
    'digital' as mode,
    cast(null as decimal(18, 4)) as cost,
    _file_id,
    _row
from {{ source('exports', 'web_events') }}
where tr_total is null

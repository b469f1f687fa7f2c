select
    date_day as date,
    case utm_medium when 'paid_social' then 'social' else utm_medium end as channel,
    spend as cost,
    utm_campaign as campaign,
    cast(null as varchar) as currency,
    _file_id,
    _row
from {{ source('exports', 'ad_spend') }}

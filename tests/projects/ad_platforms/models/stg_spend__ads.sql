select
    segment_date as date,
    'paid_search' as channel,
    cast(cost_micros / 1000000 as decimal(18, 4)) as cost,
    campaign_name as campaign,
    'UAH' as currency,
    _file_id,
    _row
from {{ source('exports', 'google_ads') }}

union all

select
    start_date,
    'paid_social',
    spend,
    campaign_name,
    'UAH',
    _file_id,
    _row
from {{ source('exports', 'facebook_ads') }}

{{ config(meta={"why": "this name stands for what is no channel in the marts: map the channel to another in channel_rules.csv or in the source's model"}) }}

select channel
from (
    select channel from {{ ref('stg_channels') }}
    union all
    select channel from {{ ref('stg_spend') }}
) as channels
where channel in ('(unattributed)', '(baseline)', '(organic)', '(start)', '(conversion)', '(null)')

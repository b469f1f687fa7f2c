{{ config(meta={"why": "a coalition has room for 240 channels: map campaigns to channels in channel_rules.csv"}) }}

select channel
from {{ ref('stg_channels') }}
where channel_index >= 240

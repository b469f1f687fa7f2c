{#- These names stand for what is no channel in the marts; a channel of that name would be mixed up
    with it: map it to another in channel_rules or in the source's model. -#}

select channel
from (
    select channel from {{ ref('stg_channels') }}
    union all
    select channel from {{ ref('stg_spend') }}
) as channels
where channel in ('(unattributed)', '(baseline)', '(organic)', '(start)', '(conversion)', '(null)')

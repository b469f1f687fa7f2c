{#- Channels of touchpoints that name none, by the first rule that matches. -#}
{{ config(materialized='table') }}

with combinations as (

    select distinct
        coalesce(source, '') as source,
        coalesce(medium, '') as medium,
        coalesce(campaign, '') as campaign
    from {{ ref('all_touchpoints') }}
    where channel is null

),

matches as (

    select
        combinations.source,
        combinations.medium,
        combinations.campaign,
        rules.channel,
        row_number() over (
            partition by combinations.source, combinations.medium, combinations.campaign
            order by rules.priority
        ) as place
    from combinations
    left join {{ ref('channel_rules') }} as rules
        on
            lower(combinations.source) like rules.source
            and lower(combinations.medium) like rules.medium
            and lower(combinations.campaign) like rules.campaign

)

select
    source,
    medium,
    campaign,
    coalesce(channel, '(other)') as channel
from matches
where place = 1

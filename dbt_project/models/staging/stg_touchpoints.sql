{#- Every touchpoint once, with its channel and the customer that the visitor turned out to be.
    A view: what it costs is paid by the journeys, which read it once. -#}

with touchpoints as (

    select *
    from {{ ref('all_touchpoints') }} as t
    where {{ is_staged('t', 'touchpoints') }}

)

select
    t.touchpoint_id,
    coalesce(i.customer_id, t.customer_id) as customer_id,
    t.occurred_at,
    coalesce(t.channel, m.channel) as channel,
    t.source,
    t.medium,
    t.campaign,
    t.interaction,
    t.mode,
    t.cost,
    i.customer_id is not null as was_anonymous
from touchpoints as t
left join {{ ref('stg_identities') }} as i
    on
        t.customer_id = i.anonymous_id
        and t.occurred_at > i.valid_after
        and t.occurred_at <= i.valid_until
left join {{ ref('stg_channel_map') }} as m
    on
        case when t.channel is null then coalesce(t.source, '') end = m.source
        and coalesce(t.medium, '') = m.medium
        and coalesce(t.campaign, '') = m.campaign

{#- Every touchpoint once, with its channel and the customer that the visitor turned out to be.
    A view: what it costs is paid by the journeys, which read it once. -#}

with touchpoints as (

    select *
    from {{ ref('all_touchpoints') }} as t
    where
        not exists (
            select 1
            from {{ ref('duplicate_touchpoints') }} as d
            where d._file_id = t._file_id and d._row = t._row
        )
        and not exists (
            select 1
            from {{ ref('bot_suspects') }} as b
            where b._file_id = t._file_id and b._row = t._row
        )

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
cross join {{ source('ledger', '_run') }} as run
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
where t.occurred_at < run.as_of and t.occurred_at >= run.oldest

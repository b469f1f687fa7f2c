{#- On either basis each model's channels, and their campaigns, add up to the conversions of the window,
    net and gross, as stg_conversions counts them, and to all spend. -#}

with campaigns as (

    select
        basis,
        model,
        campaign = '(all campaigns)' as is_channel,
        sum(conversions) as conversions,
        sum(revenue) as revenue,
        sum(gross_conversions) as gross_conversions,
        sum(gross_revenue) as gross_revenue,
        coalesce(sum(cost), 0) as cost
    from {{ ref('campaign_performance') }}
    group by basis, model, campaign = '(all campaigns)'

),

bookings as (

    select
        sum(case when conversions.is_cancelled then 0 else 1 end) as conversions,
        sum(case when conversions.is_cancelled then 0 else conversions.revenue end) as revenue,
        count(*) as gross_conversions,
        sum(conversions.revenue) as gross_revenue,
        sum(abs(conversions.revenue)) as all_revenue
    from {{ ref('stg_conversions') }} as conversions
    cross join {{ source('ledger', '_run') }} as run
    where
        conversions.converted_at >= run.window_from
        -- a goal of which every conversion was cancelled has no credit
        and conversions.goal in (select goal from {{ ref('credited_models') }})

),

costs as (

    select coalesce(sum(spend.cost), 0) as cost
    from {{ ref('stg_spend') }} as spend
    cross join {{ source('ledger', '_run') }} as run
    where spend.date >= {{ local_date('run.window_from') }}

),

expected as (

    select bases.basis, levels.is_channel, models.model
    from (select 'period' as basis union all select 'cohort' as basis) as bases
    cross join (select true as is_channel union all select false as is_channel) as levels
    cross join (select distinct model from {{ ref('channel_performance') }}) as models

)

select
    coalesce(expected.basis, campaigns.basis) as basis,
    coalesce(expected.model, campaigns.model) as model,
    bookings.gross_conversions,
    campaigns.gross_conversions as gross_conversions_credited
from expected
full outer join campaigns
    on
        expected.basis = campaigns.basis
        and expected.is_channel = campaigns.is_channel
        and expected.model = campaigns.model
cross join bookings
cross join costs
where
    expected.model is null
    or campaigns.model is null
    or abs(campaigns.conversions - bookings.conversions) > 1e-9 * bookings.conversions
    or abs(campaigns.revenue - bookings.revenue) > 1e-9 * greatest(bookings.all_revenue, 1)
    or abs(campaigns.gross_conversions - bookings.gross_conversions)
    > 1e-9 * bookings.gross_conversions
    or abs(campaigns.gross_revenue - bookings.gross_revenue)
    > 1e-9 * greatest(bookings.all_revenue, 1)
    or campaigns.cost <> costs.cost

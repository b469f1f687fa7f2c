{#- Credit beside cost, campaign by campaign and period by period, once by the day of the booking and
    once by the day on which the journey to it began; net of cancelled conversions, and gross. -#}

{%- set specials = "('(unattributed)', '(baseline)', '(organic)')" %}
{%- set by_touch = "coalesce(nullif(campaigns.campaign, '(all campaigns)'), '(no campaign)')" %}
{%- set by_spend = "coalesce(nullif(spend.campaign, '(all campaigns)'), '(no campaign)')" %}

with credit as (

    {%- for kind, is_cancelled in [('', 'false'), ('cancelled_', 'true')] %}
    select model, conversion_id, channel, touchpoint_id, credit, revenue_credit, {{ is_cancelled }} as is_cancelled
    from {{ ref(kind ~ 'touchpoint_credit') }}
    union all
    select model, conversion_id, channel, null as touchpoint_id, credit, revenue_credit, {{ is_cancelled }} as is_cancelled
    from {{ ref(kind ~ 'conversion_credit') }}
    where channel in {{ specials }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}

),

-- a model that some goal refused would stand here beside others that count all goals
models as (

    select distinct model from {{ ref('channel_performance') }}

),

-- a conversion without a journey is of the cohort of its own day; a goal of which every conversion was
-- cancelled has no credit, gross or net
conversions as (

    select
        conversions.conversion_id,
        {{ first_of_period(local_date('conversions.converted_at')) }} as booked_in,
        {{ first_of_period(local_date('coalesce(journeys.started_at, conversions.converted_at)')) }}
            as begun_in
    from {{ ref('journey_conversions') }} as conversions
    left join {{ ref('journeys') }} as journeys
        on
            conversions.customer_key = journeys.customer_key
            and conversions.goal = journeys.goal
            and conversions.journey_start = journeys.journey_start
    where
        conversions.is_in_window
        and conversions.goal in (select goal from {{ ref('credited_models') }})

),

-- the few touches that are credited, found before anything is joined to them
campaigns as (

    select
        credited.touchpoint_id,
        credited.campaign
    from (
        select *
        from {{ ref('all_touchpoints') }}
        where
            campaign is not null
            and touchpoint_id in (select touchpoint_id from {{ ref('heuristic_shares') }})
    ) as credited
    where {{ is_staged('credited', 'touchpoints') }}

),

credited as (

    select
        conversions.booked_in,
        conversions.begun_in,
        credit.model,
        credit.channel,
        {{ by_touch }} as campaign,
        sum(case when credit.is_cancelled then 0 else credit.credit end) as conversions,
        sum(case when credit.is_cancelled then 0 else credit.revenue_credit end) as revenue,
        sum(credit.credit) as gross_conversions,
        sum(credit.revenue_credit) as gross_revenue
    from credit
    inner join models on credit.model = models.model
    inner join conversions on credit.conversion_id = conversions.conversion_id
    left join campaigns on credit.touchpoint_id = campaigns.touchpoint_id
    group by
        conversions.booked_in,
        conversions.begun_in,
        credit.model,
        credit.channel,
        {{ by_touch }}

),

costs as (

    select
        {{ first_of_period('spend.date') }} as period_from,
        spend.channel,
        {{ by_spend }} as campaign,
        sum(spend.cost) as cost
    from {{ ref('stg_spend') }} as spend
    cross join {{ source('ledger', '_run') }} as run
    where spend.date >= {{ local_date('run.window_from') }}
    group by
        {{ first_of_period('spend.date') }},
        spend.channel,
        {{ by_spend }}

),

on_each_basis as (

    {%- for basis, period in [('period', 'booked_in'), ('cohort', 'begun_in')] %}
    select
        '{{ basis }}' as basis,
        {{ period }} as period_from,
        model,
        channel,
        campaign,
        conversions,
        revenue,
        gross_conversions,
        gross_revenue,
        null as cost
    from credited
    union all
    select '{{ basis }}', costs.period_from, models.model, costs.channel, costs.campaign, 0, 0, 0, 0, costs.cost
    from costs
    cross join models
    {{ 'union all' if not loop.last }}
    {%- endfor %}

),

-- the channel as a whole, too: much spend names no campaign
summed as (

    select
        basis,
        period_from,
        model,
        channel,
        coalesce(campaign, '(all campaigns)') as campaign,
        cast(sum(conversions) as decimal(38, 12)) as conversions,
        cast(sum(revenue) as decimal(38, 12)) as revenue,
        cast(sum(gross_conversions) as decimal(38, 12)) as gross_conversions,
        cast(sum(gross_revenue) as decimal(38, 12)) as gross_revenue,
        cast(sum(cost) as decimal(38, 12)) as cost
    from on_each_basis
    group by
        grouping sets (
            (basis, period_from, model, channel, campaign), (basis, period_from, model, channel)
        )

)

select
    summed.basis,
    summed.period_from,
    summed.model,
    summed.channel,
    summed.campaign,
    summed.conversions,
    summed.revenue,
    summed.gross_conversions,
    summed.gross_revenue,
    summed.cost,
    {%- for kind in ['', 'gross_'] %}
    case
        when summed.{{ kind }}conversions > 0
            then cast(summed.cost as double) / cast(summed.{{ kind }}conversions as double)
    end as {{ kind }}cost_per_conversion,
    cast(summed.{{ kind }}revenue as double) / nullif(cast(summed.cost as double), 0)
        as {{ kind }}return_on_spend,
    {%- endfor %}
    -- all of its days lie in the window and in the data, and no journey that began in it may still
    -- convert, not even one that a change of the clocks makes an hour longer
    summed.period_from >= {{ local_date('run.window_from') }}
    and summed.period_from >= {{ local_date('first_touch.occurred_at') }}
    and {{ days_between(following_period('summed.period_from'), 'run.run_date') }}
    >= {{ "case when summed.basis = 'cohort' then " ~ longest_lookback_days() ~ " else -1 end" }}
        as is_complete
from summed
cross join {{ source('ledger', '_run') }} as run
cross join (
    select min(occurred_at) as occurred_at from {{ ref('journey_touchpoints') }}
) as first_touch

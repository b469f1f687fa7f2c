with attributed as (

    select
        model,
        conversion_id,
        goal,
        channel,
        sum(credit) as credit,
        sum(revenue_credit) as revenue_credit
    from {{ ref('touchpoint_credit') }}
    group by model, conversion_id, goal, channel

),

conversions as (

    select *
    from {{ ref('journey_conversions') }}
    where is_in_window and not is_cancelled

),

-- what a model credits to no channel is what its touches leave of a conversion
baselines as (

    select distinct model, goal, channel
    from {{ source('ledger', '_credit_weights') }}
    where channel in ('(baseline)', '(organic)')

),

left_over as (

    select
        attributed.model,
        attributed.conversion_id,
        attributed.goal,
        baselines.channel,
        1 - sum(attributed.credit) as credit,
        max(conversions.revenue) - sum(attributed.revenue_credit) as revenue_credit
    from attributed
    inner join baselines
        on attributed.model = baselines.model and attributed.goal = baselines.goal
    inner join conversions on attributed.conversion_id = conversions.conversion_id
    group by attributed.model, attributed.conversion_id, attributed.goal, baselines.channel

),

every_row as (

    select
        attributed.model,
        attributed.conversion_id,
        attributed.goal,
        attributed.channel,
        cast(null as string) as unattributed_reason,
        attributed.credit,
        attributed.revenue_credit
    from attributed

    union all

    select
        model,
        conversion_id,
        goal,
        channel,
        cast(null as string) as unattributed_reason,
        credit,
        revenue_credit
    from left_over

    union all

    select
        models.model,
        conversions.conversion_id,
        conversions.goal,
        '(unattributed)' as channel,
        conversions.unattributed_reason,
        1 as credit,
        conversions.revenue as revenue_credit
    from {{ ref('credited_models') }} as models
    inner join conversions on models.goal = conversions.goal
    where conversions.journey_start is null

)

select
    every_row.model,
    every_row.conversion_id,
    every_row.goal,
    every_row.channel,
    every_row.unattributed_reason,
    cast(every_row.credit as decimal(38, 12)) as credit,
    cast(every_row.revenue_credit as decimal(38, 12)) as revenue_credit,
    conversions.converted_at
from every_row
inner join conversions on every_row.conversion_id = conversions.conversion_id

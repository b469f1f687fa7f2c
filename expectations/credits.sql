-- One row per published credit, on the candidate version, beside the totals that it must add up to.
with expected as (

    select
        goal,
        max(case when name = 'gross_conversions' then value end)
        - max(case when name = 'cancelled_conversions' then value end) as conversions
    from model_diagnostics
    where model = '(journeys)'
    group by goal

),

by_model as (

    select
        model,
        goal,
        sum(conversions) as conversions,
        sum(revenue) as revenue
    from channel_credit
    where segment = 'all'
    group by model, goal

),

by_conversion as (

    select model, goal, max(abs(credit - 1)) as worst_gap, sum(revenue) as revenue
    from (
        select model, goal, conversion_id, sum(credit) as credit, sum(revenue_credit) as revenue
        from conversion_credit
        group by model, goal, conversion_id
    )
    group by model, goal

),

-- heuristics need no fit: what last_touch credits is what the exports brought
revenues as (

    select goal, revenue from by_conversion where model = 'last_touch'

)

select
    credit.model || ', ' || credit.goal || ', ' || credit.channel as subject,
    -- six touches at 0.166666666667 are more than one; and some games may pay less than nothing
    round(
        case when negative.model is null then credit.share else least(greatest(credit.share, 0), 1) end,
        9
    ) as share,
    coalesce(credit.share_low <= credit.share and credit.share <= credit.share_high, true)
        as share_lies_in_interval,
    cast(abs(by_model.conversions - expected.conversions) as double)
        / greatest(cast(expected.conversions as double), 1) as conversions_gap,
    cast(abs(by_model.revenue - revenues.revenue) as double)
        / greatest(abs(cast(revenues.revenue as double)), 1) as revenue_gap,
    cast(by_conversion.worst_gap as double) as worst_conversion_gap
from channel_credit as credit
left join (
    select distinct model, goal from model_diagnostics where name = 'negative_channels'
) as negative
    on credit.model = negative.model and credit.goal = negative.goal
left join by_model on credit.model = by_model.model and credit.goal = by_model.goal
left join expected on credit.goal = expected.goal
left join revenues on credit.goal = revenues.goal
left join by_conversion on credit.model = by_conversion.model and credit.goal = by_conversion.goal
order by subject

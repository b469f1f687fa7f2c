-- One row per published credit, on the candidate version, beside the totals that it must add up to.
with booked as (

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
        segment,
        segment_value,
        sum(conversions) as conversions,
        sum(revenue) as revenue
    from channel_credit
    group by model, goal, segment, segment_value

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
expected as (

    select
        yardstick.goal,
        yardstick.segment,
        yardstick.segment_value,
        case when yardstick.segment = 'all' then booked.conversions else yardstick.conversions end
            as conversions,
        case when yardstick.segment = 'all' then by_conversion.revenue else yardstick.revenue end
            as revenue
    from by_model as yardstick
    left join booked on yardstick.goal = booked.goal
    left join by_conversion
        on yardstick.goal = by_conversion.goal and yardstick.model = by_conversion.model
    where yardstick.model = 'last_touch'

)

select
    credit.model || ', ' || credit.goal || ', ' || credit.channel
        || case
            when credit.segment = 'all' then ''
            else ', ' || credit.segment || ' ' || credit.segment_value
        end as subject,
    -- six touches at 0.166666666667 are more than one; and some games may pay less than nothing
    round(
        case when negative.model is null then credit.share else least(greatest(credit.share, 0), 1) end,
        9
    ) as share,
    -- where all journeys are alike the interval is the share, and the share has twelve decimals
    coalesce(
        credit.share_low <= credit.share + 1e-9 and credit.share <= credit.share_high + 1e-9, true
    ) as share_lies_in_interval,
    cast(abs(by_model.conversions - expected.conversions) as double)
        / greatest(cast(expected.conversions as double), 1) as conversions_gap,
    cast(abs(by_model.revenue - expected.revenue) as double)
        / greatest(abs(cast(expected.revenue as double)), 1) as revenue_gap,
    cast(by_conversion.worst_gap as double) as worst_conversion_gap
from channel_credit as credit
left join (
    select distinct model, goal, segment, segment_value
    from model_diagnostics
    where name = 'negative_channels'
) as negative
    on
        credit.model = negative.model
        and credit.goal = negative.goal
        and credit.segment = negative.segment
        and credit.segment_value = negative.segment_value
left join by_model
    on
        credit.model = by_model.model
        and credit.goal = by_model.goal
        and credit.segment = by_model.segment
        and credit.segment_value = by_model.segment_value
left join expected
    on
        credit.goal = expected.goal
        and credit.segment = expected.segment
        and credit.segment_value = expected.segment_value
left join by_conversion on credit.model = by_conversion.model and credit.goal = by_conversion.goal
order by subject

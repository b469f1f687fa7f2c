{#- A bounded sample of customers for the ladder, goal by goal: followed from their first touch in the
    window to the conversion, or to the run's day. Drawn by a hash, with another salt than the
    replicate groups, at one rate for those who convert and at another for the rest; `weight` is how
    many customers a drawn one stands for. -#}
{{ config(enabled='ladder' in var('models') or 'ladder_calibrated' in var('models')) }}

with entries as (

    select customer_key, goal, entered_at from {{ ref('customer_entries') }}

),

instants as (

    select
        entries.customer_key,
        entries.goal,
        conversions.converted_at,
        conversions.converted_at < entries.entered_at as is_before,
        row_number() over (
            partition by entries.customer_key, entries.goal order by conversions.converted_at
        ) as place
    from entries
    inner join {{ ref('conversion_instants') }} as conversions
        on
            entries.customer_key = conversions.customer_key
            and entries.goal = conversions.goal
    where conversions.conversions > 0

),

goals as (

    select distinct goal from {{ ref('conversion_instants') }}

),

-- what customers were seen to want, and when; a step without a goal tells of all of them
signs as (

    select customer_key, goal, converted_at as seen_at, true as is_conversion
    from {{ ref('conversion_instants') }}
    union all
    select ids.customer_key, steps.goal, steps.occurred_at as seen_at, false as is_conversion
    from {{ ref('stg_steps') }} as steps
    inner join {{ ref('stg_customers') }} as ids on steps.customer_id = ids.customer_id
    where steps.goal is null or steps.goal in (select goal from goals)

),

-- who is seen on the way to other goals alone is met more and more, and never moves here; that
-- somebody has another product since before tells nothing
elsewhere as (

    select entries.customer_key, goals.goal
    from signs
    inner join entries on signs.customer_key = entries.customer_key
    inner join goals on entries.goal = goals.goal or entries.goal is null
    cross join {{ source('ledger', '_run') }} as run
    group by entries.customer_key, goals.goal
    having
        max(case when coalesce(signs.goal, goals.goal) = goals.goal then 1 else 0 end) = 0
        and (
            max(case when not signs.is_conversion then signs.seen_at end) >= max(run.window_from)
            or max(case when signs.is_conversion then signs.seen_at end) >= max(entries.entered_at)
        )

),

left_out as (

    select goal, count(*) as customers
    from elsewhere
    group by goal

),

-- who has the product already is no newcomer to its ladder
population as (

    select
        entries.customer_key,
        goals.goal,
        entries.entered_at,
        instants.converted_at,
        case when instants.converted_at is not null then 1 else 0 end as is_converted
    from entries
    inner join goals on entries.goal = goals.goal or entries.goal is null
    left join instants
        on
            entries.customer_key = instants.customer_key
            and entries.goal = instants.goal
            and instants.place = 1
    left join elsewhere
        on entries.customer_key = elsewhere.customer_key and goals.goal = elsewhere.goal
    where not coalesce(instants.is_before, false) and elsewhere.customer_key is null

),

-- beyond twenty for each who converts, others tell hardly anything more
rates as (

    select
        goal,
        is_converted,
        least(
            {{ var('sample_customers') }} / 2e0,
            case
                when is_converted = 1 then count(*)
                else greatest(10000, 20 * sum(is_converted * count(*)) over (partition by goal))
            end
        ) / count(*) as rate,
        sum(count(*)) over (partition by goal) as customers
    from population
    group by goal, is_converted

),

candidates as (

    select *
    from {{ ref('stg_customers') }}
    where
        sample_place < 1000000 * (select max(rate) from rates where is_converted = 0)
        or customer_key in (select customer_key from instants)

),

-- nobody else can be drawn: they are left out before anything is joined
eligible as (

    select *
    from population
    where customer_key in (select customer_key from candidates)

),

drawn as (

    select
        eligible.*,
        candidates.customer_id,
        candidates.replicate_group,
        1 / least(rates.rate, 1e0) as weight,
        coalesce(left_out.customers, 0) / (coalesce(left_out.customers, 0) + 1e0 * rates.customers)
            as share_elsewhere,
        {{ local_date('eligible.entered_at') }} as entered_on,
        run.run_date
    from eligible
    cross join {{ source('ledger', '_run') }} as run
    inner join rates
        on eligible.goal = rates.goal and eligible.is_converted = rates.is_converted
    inner join candidates on eligible.customer_key = candidates.customer_key
    left join left_out on eligible.goal = left_out.goal
    where candidates.sample_place < 1000000 * rates.rate

),

counted as (

    select
        *,
        {{ days_between('entered_on', 'run_date') }} as days_to_run,
        {{ days_between('entered_on', local_date('coalesce(converted_at, entered_at)')) }}
            as days_to_conversion
    from drawn

)

select
    goal,
    cast(row_number() over (order by goal, customer_id) as integer) as customer,
    customer_key,
    replicate_group,
    weight,
    entered_at,
    entered_on,
    -- without a conversion, or with one beyond the longest follow-up, nothing cuts the days short
    case when days_to_conversion <= {{ longest_days() }} then converted_at end as converted_at,
    case
        when converted_at is not null and days_to_conversion <= {{ longest_days() }}
            then days_to_conversion
        else least(days_to_run, {{ longest_days() }})
    end as last_day,
    least(days_to_run, {{ longest_days() }}) as horizon,
    is_converted = 1 and days_to_conversion <= {{ longest_days() }} as is_converted,
    share_elsewhere
from counted

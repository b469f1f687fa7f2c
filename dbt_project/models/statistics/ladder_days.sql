{#- What happened to the sampled customers, day by day after their first touch: the channels that
    touched them, and the rungs of the ladder that were recorded, each for the first time. -#}
{{ config(enabled='ladder' in var('models') or 'ladder_calibrated' in var('models')) }}

with rungs as (
    {%- for step in var('steps') %}

    select {{ quoted(step) }} as step, {{ loop.index }} as rung
    {{ 'union all' if not loop.last }}
    {%- else %}

    select cast(null as string) as step, cast(null as integer) as rung
    {%- endfor %}

),

records as (

    select
        customers.goal,
        customers.customer,
        customers.entered_at,
        customers.entered_on,
        rungs.rung,
        min(steps.occurred_at) as recorded_at
    from {{ ref('ladder_customers') }} as customers
    inner join {{ ref('stg_customers') }} as ids
        on customers.customer_key = ids.customer_key
    inner join {{ ref('stg_steps') }} as steps
        on
            ids.customer_id = steps.customer_id
            and coalesce(steps.goal, customers.goal) = customers.goal
    inner join rungs on steps.step = rungs.step
    where customers.converted_at is null or steps.occurred_at <= customers.converted_at
    group by
        customers.goal, customers.customer, customers.entered_at, customers.entered_on, rungs.rung

),

dated as (

    select
        *,
        case
            when recorded_at < entered_at then -1
            else {{ days_between('entered_on', local_date('recorded_at')) }}
        end as day,
        -- a rung that comes after a higher one tells nothing of where the customer stands
        rung > coalesce(max(rung) over (
            partition by customer, goal order by recorded_at, rung
            rows between unbounded preceding and 1 preceding
        ), 0) as is_in_order
    from records

),

-- a touch after the day's move meets the customer on the new rung: it counts for the next day
moments as (

    select customer, goal, day, max(recorded_at) as moved_at
    from dated
    where is_in_order and day >= 0
    group by customer, goal, day

),

touches as (

    select
        customers.goal,
        customers.customer,
        customers.last_day,
        customers.converted_at,
        touches.channel_index,
        touches.occurred_at,
        {{ days_between('customers.entered_on', local_date('touches.occurred_at')) }}
            as day
    from {{ ref('ladder_customers') }} as customers
    inner join {{ ref('journey_touchpoints') }} as touches
        on
            customers.customer_key = touches.customer_key
            and customers.goal = coalesce(touches.goal, customers.goal)
            and customers.entered_at <= touches.occurred_at
    where
        customers.converted_at is null or touches.occurred_at <= customers.converted_at

),

shifted as (

    select
        touches.goal,
        touches.customer,
        touches.last_day,
        touches.channel_index,
        case
            -- on its last day the conversion is the move, and it comes after every touch here
            when touches.converted_at is not null and touches.day = touches.last_day
                then touches.day
            when touches.occurred_at > moments.moved_at then touches.day + 1
            else touches.day
        end as day
    from touches
    left join moments
        on
            touches.customer = moments.customer
            and touches.goal = moments.goal
            and touches.day = moments.day

)

select distinct
    goal,
    customer,
    cast(day as integer) as day,
    channel_index,
    cast(null as integer) as rung,
    true as is_in_order
from shifted
where day <= last_day

union all

select
    dated.goal,
    dated.customer,
    cast(dated.day as integer) as day,
    cast(null as smallint) as channel_index,
    dated.rung,
    dated.is_in_order
from dated
inner join {{ ref('ladder_customers') }} as customers
    on dated.goal = customers.goal and dated.customer = customers.customer
where dated.day <= customers.last_day

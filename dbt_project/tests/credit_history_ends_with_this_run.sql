{#- The history's rows of the run's date are what channel_credit says, no more and no less. -#}

with remembered as (

    select history.model, history.goal, history.channel, history.conversions
    from {{ ref('credit_history') }} as history
    inner join {{ source('ledger', '_run') }} as run on history.run_date = run.run_date

),

credit as (

    select model, goal, channel, conversions
    from {{ ref('channel_credit') }}
    where segment = 'all'

)

select
    coalesce(credit.model, remembered.model) as model,
    coalesce(credit.goal, remembered.goal) as goal,
    coalesce(credit.channel, remembered.channel) as channel
from credit
full outer join remembered
    on
        credit.model = remembered.model
        and credit.goal = remembered.goal
        and credit.channel = remembered.channel
where
    credit.model is null
    or remembered.model is null
    or credit.conversions <> remembered.conversions

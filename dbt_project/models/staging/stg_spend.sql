select
    spend.date,
    spend.channel,
    spend.campaign,
    spend.currency,
    {{ converted('spend.cost', 'spend.currency') }} as cost
from {{ ref('all_spend') }} as spend
cross join {{ source('ledger', '_run') }} as run
left join {{ ref('stg_rates') }} as rates
    on spend.currency = rates.currency and spend.date = rates.date
-- spend without a date stays, for a test to refuse
where spend.date <= run.run_date or spend.date is null

select
    spend.date,
    spend.channel,
    spend.campaign,
    coalesce(spend.currency, '{{ var("reporting_currency") }}') as currency,
    spend.cost
from {{ ref('all_spend') }} as spend
cross join {{ source('ledger', '_run') }} as run
-- spend without a date stays, for a test to refuse
where spend.date <= run.run_date or spend.date is null

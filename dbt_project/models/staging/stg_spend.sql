with spend as (
{%- if var('spend_sources') %}
{{ union_of_sources('spend', var('spend_sources')) }}
{%- else %}
    select
        cast(null as date) as date,
        cast(null as string) as channel,
        cast(null as decimal(18, 4)) as cost,
        cast(null as string) as campaign,
        cast(null as string) as currency
    where false
{%- endif %}
)

select
    spend.date,
    spend.channel,
    spend.campaign,
    coalesce(spend.currency, '{{ var("reporting_currency") }}') as currency,
    spend.cost
from spend
cross join {{ source('ledger', '_run') }} as run
-- spend without a date stays, for a test to refuse
where spend.date <= run.run_date or spend.date is null

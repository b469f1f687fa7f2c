with spend as (
{%- if var('spend_sources') %}
{{ union_of_sources('spend', var('spend_sources')) }}
{%- else %}
    select
        cast(null as date) as date,
        cast(null as string) as channel,
        cast(null as decimal(18, 4)) as cost,
        cast(null as string) as campaign,
        cast(null as string) as currency,
        cast(null as bigint) as _file_id,
        cast(null as bigint) as _row
    where false
{%- endif %}
)

select
    date,
    channel,
    cost,
    campaign,
    coalesce(upper(currency), '{{ var("reporting_currency") }}') as currency,
    _file_id,
    _row
from spend

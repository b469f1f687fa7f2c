with conversions as (
{{ union_of_sources('conversions', var('conversion_sources')) }}
)

select
    conversion_id,
    customer_id,
    converted_at,
    coalesce(goal, 'conversion') as goal,
    coalesce(revenue, 0) as revenue,
    coalesce(upper(currency), '{{ var("reporting_currency") }}') as currency,
    lower(coalesce(status, 'booked')) as status,
    _file_id,
    _row
from conversions

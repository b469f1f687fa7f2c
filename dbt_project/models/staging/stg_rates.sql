{#- What one unit of a foreign currency is worth in the reporting currency, for every day on which an
    amount in it stands: the rate of that day, or the last one before it. A day without one stops the
    run here, before anything is added up. -#}
{{ config(materialized='table', post_hook="{{ refuse_missing_rates(this) }}") }}

with amounts as (

    select conversions.currency, {{ local_date('conversions.converted_at') }} as date
    from {{ ref('all_conversions') }} as conversions
    where {{ is_staged('conversions', 'conversions') }} and conversions.status <> 'cancelled'

    union

    select spend.currency, spend.date
    from {{ ref('all_spend') }} as spend
    cross join {{ source('ledger', '_run') }} as run
    where spend.date <= run.run_date

),

foreign_amounts as (

    select currency, date
    from amounts
    where currency <> '{{ var("reporting_currency") }}'

),

-- one rate a day: of two, that of the later file
rates as (

    select
        upper(rates.currency) as currency,
        rates.date,
        rates.rate,
        row_number() over (
            partition by upper(rates.currency), rates.date
            order by coalesce(files.file_date, date '0001-01-01') desc, rates.rate desc
        ) as place
    from {{ source('exports', 'rates') }} as rates
    left join {{ source('ledger', '_files') }} as files
        on rates._file_id = files.file_id and files.state = 'loaded'
    where rates.rate > 0

),

nearest as (

    select
        foreign_amounts.currency,
        foreign_amounts.date,
        rates.rate,
        row_number() over (
            partition by foreign_amounts.currency, foreign_amounts.date
            order by rates.date desc
        ) as place
    from foreign_amounts
    left join rates
        on
            foreign_amounts.currency = rates.currency
            and rates.place = 1
            and rates.date <= foreign_amounts.date
            and {{ days_between('rates.date', 'foreign_amounts.date') }} <= {{ var('rate_days') }}

)

select currency, date, rate
from nearest
where place = 1

{#- Currencies and days without a rate are named before anything stands on them. -#}
{% macro refuse_missing_rates(rates) -%}
    {%- if execute -%}
        {%- set missing = run_query(
            "select currency, date from " ~ rates ~ " where rate is null order by currency, date"
        ).rows -%}
        {%- if missing -%}
            {{ exceptions.raise_compiler_error(
                "no rate of " ~ missing[0][0] ~ " on " ~ missing[0][1]
                ~ " nor in the " ~ var("rate_days") ~ " days before it (rates missing in all: "
                ~ missing | length ~ "): land them in landing/rates/ (date, currency, rate in "
                ~ var("reporting_currency") ~ "), or correct the currency of the amounts"
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{#- An amount in the reporting currency, to the digits of the exports; `rates` is stg_rates, joined. -#}
{% macro converted(amount, currency) -%}
    case
        when {{ currency }} = '{{ var("reporting_currency") }}' then {{ amount }}
        -- the engine multiplies in the width of the wider factor
        else cast(cast({{ amount }} as decimal(20, 4)) * rates.rate as decimal(18, 4))
    end
{%- endmacro %}

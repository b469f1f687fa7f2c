{#- A setting's text as a SQL literal: names are data, whatever they hold. -#}
{% macro quoted(text) -%}
    {{ dbt.string_literal(dbt.escape_single_quotes(text)) }}
{%- endmacro %}


{#- The lookback of a goal in days; customers who convert on no goal have the common one. -#}
{% macro lookback_days(goal) -%}
    {%- set by_goal = var('lookback_days_by_goal') -%}
    {%- if by_goal -%}
        case {{ goal }}
        {%- for name, days in by_goal.items() %}
            when {{ quoted(name) }} then {{ days }}
        {%- endfor %}
            else {{ var('lookback_days') }}
        end
    {%- else -%}
        {{ var('lookback_days') }}
    {%- endif -%}
{%- endmacro %}

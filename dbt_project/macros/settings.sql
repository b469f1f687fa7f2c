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


{#- The longest lookback of all goals. -#}
{% macro longest_lookback_days() -%}
    {{ return(([var('lookback_days')] + (var('lookback_days_by_goal').values() | list)) | max) }}
{%- endmacro %}


{#- Touches that a state of the Markov chain remembers; `auto` needs the most that it may choose. -#}
{% macro markov_order() -%}
    {{ return(1 if 'markov' not in var('models') else 4 if var('markov_order') == 'auto' else var('markov_order')) }}
{%- endmacro %}


{#- Whether a model in use asks how many journeys did not convert, set by set. -#}
{% macro needs_null_coalitions() -%}
    {{ return(
        'shao_li' in var('models') or 'logistic' in var('models')
        or ('shapley' in var('models') and var('shapley_game') != 'conversions')
    ) }}
{%- endmacro %}


{#- How long the ladder follows a customer. -#}
{% macro longest_days() -%}
    {{ return(365 if var('window_days') == 'all' or var('window_days') > 365 else var('window_days')) }}
{%- endmacro %}


{#- The day on which the period of a day begins, and that of the period after one. -#}
{% macro first_of_period(day) -%}
    cast({{ dbt.date_trunc(var('performance_period'), day) }} as date)
{%- endmacro %}

{% macro following_period(first_day) -%}
    cast({{ dbt.dateadd(var('performance_period'), 1, first_day) }} as date)
{%- endmacro %}

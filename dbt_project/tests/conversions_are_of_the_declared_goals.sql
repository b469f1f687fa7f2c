{#- A goal that the setting `goals` does not list is most often a misspelt one: its conversions would
    drop out of the goal that was meant. -#}

select conversion_id
from {{ ref('stg_conversions') }}
{% if var('goals') == 'all' -%}
where false
{%- else -%}
where goal not in (
    {%- for goal in var('goals') %}
    {{ quoted(goal) }}{{ ',' if not loop.last }}
    {%- endfor %}
)
{%- endif %}

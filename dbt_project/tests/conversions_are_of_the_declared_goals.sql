{{ config(meta={"why": "the setting goals does not list their goal, most often a misspelt one: correct the export, or the setting"}) }}

select distinct goal
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

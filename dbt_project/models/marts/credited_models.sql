{#- Which model credits which goal: all in the settings, but where the data cannot carry a model. A
    table: DuckDB 1.5 finds no model that has all goals when it is asked of a view. -#}
{{ config(schema='statistics') }}


with models as (

    {%- for model in var('models') %}
    select '{{ model }}' as model
    {{ 'union all' if not loop.last }}
    {%- endfor %}

),

goals as (

    select distinct goal
    from {{ ref('journey_conversions') }}
    where is_in_window and not is_cancelled

),

refused as (

    select model, goal
    from {{ source('ledger', '_credit_diagnostics') }}
    where name = 'refused' and segment = 'all'

)

select models.model, goals.goal
from models
cross join goals
left join refused on models.model = refused.model and goals.goal = refused.goal
where refused.model is null

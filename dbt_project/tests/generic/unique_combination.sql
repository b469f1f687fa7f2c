{#- Columns that together name a row: no combination comes twice. NULL counts as a value. -#}
{% test unique_combination(model, columns) %}

select {{ columns | join(', ') }}, count(*) as times
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1

{% endtest %}

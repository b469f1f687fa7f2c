{#- The sets of channels that converted, or of all journeys where a model asks for them, each once. -#}

select
    cast(
        row_number() over (
            order by {% for word in range(4) %}coalition_{{ word }}{{ ', ' if not loop.last }}{% endfor %}
        ) - 1 as integer
    ) as coalition_id,
    {% for word in range(4) %}coalition_{{ word }}{{ ', ' if not loop.last }}{% endfor %}
from (
    select distinct {% for word in range(4) %}coalition_{{ word }}{{ ', ' if not loop.last }}{% endfor %}
    from {{ ref('journeys') }}
    where (conversions > 0 and is_in_window)
        {{ 'or (conversions = 0 and fit_weight > 0)' if needs_null_coalitions() }}
) as seen

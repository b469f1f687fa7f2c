{#- The sets of channels that converted, each once. -#}

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
    where conversions > 0 and is_in_window
) as converting

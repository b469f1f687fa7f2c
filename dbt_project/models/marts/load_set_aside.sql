{#- Rows that were loaded and yet do not count, by reason: with the duplicates, all that lies between
    the raw tables and staging. -#}

with set_aside as (

    {%- for export in ['touchpoints', 'conversions', 'steps'] %}
    select '{{ export }}' as export, reason
    from {{ ref('set_aside_' ~ export) }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}

)

select
    export,
    reason,
    count(*) as set_aside_rows
from set_aside
group by export, reason

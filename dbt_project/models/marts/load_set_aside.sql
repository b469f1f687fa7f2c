{#- Rows that were loaded and yet do not count, by reason: with the duplicates, all that lies between
    the raw tables and staging. -#}

with set_aside as (

    {%- for export in ['touchpoints', 'conversions', 'steps'] %}
    select '{{ export }}' as export, reason
    from {{ ref('set_aside_' ~ export) }}
    union all
    {%- endfor %}
    select 'spend' as export, 'after_run_date' as reason
    from {{ ref('all_spend') }} as spend
    cross join {{ source('ledger', '_run') }} as run
    where spend.date > run.run_date
    union all
    select 'identities' as export, 'after_run_date' as reason
    from {{ source('exports', 'identities') }} as identities
    cross join {{ source('ledger', '_run') }} as run
    where identities.linked_at >= run.as_of

)

select
    export,
    reason,
    count(*) as set_aside_rows
from set_aside
group by export, reason

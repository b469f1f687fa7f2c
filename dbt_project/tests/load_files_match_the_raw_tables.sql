{#- Rows that the ledger calls loaded are in the raw tables, those that lost to another included. -#}

with tables as (

    {%- for export in ['touchpoints', 'conversions', 'steps', 'spend', 'identities'] %}
    select '{{ export }}' as export, count(*) as in_table from {{ source('exports', export) }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}

),

files as (

    select export, sum(rows_loaded + rows_deduplicated) as in_files
    from {{ ref('load_files') }}
    where state = 'loaded'
    group by export

)

select tables.export, tables.in_table, coalesce(files.in_files, 0) as in_files
from tables
left join files on tables.export = files.export
where tables.in_table <> coalesce(files.in_files, 0)

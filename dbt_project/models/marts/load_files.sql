{#- What was read and what became of it, file by file:
    read = loaded + rejected + suppressed + deduplicated. -#}

-- a row may hold a touchpoint and a conversion: lost as both, it is one row
with lost as (

    {%- for export in ['touchpoints', 'conversions', 'steps'] %}
    select _file_id, _row, is_conflict
    from {{ ref('duplicate_' ~ export) }}
    {{ 'union' if not loop.last }}
    {%- endfor %}

),

by_file as (

    select
        _file_id,
        count(distinct _row) as rows_deduplicated,
        count(distinct case when is_conflict then _row end) as rows_conflicting
    from lost
    group by _file_id

)

select
    files.export,
    files.file,
    files.sha256,
    files.file_date,
    files.state,
    files.rows_read,
    files.rows_loaded - cast(coalesce(by_file.rows_deduplicated, 0) as bigint) as rows_loaded,
    files.rows_rejected,
    files.rows_suppressed,
    cast(coalesce(by_file.rows_deduplicated, 0) as bigint) as rows_deduplicated,
    cast(coalesce(by_file.rows_conflicting, 0) as bigint) as rows_conflicting,
    files.rows_dst_overlap,
    files.rows_dst_gap,
    files.extra_columns,
    files.reason,
    files.load_id,
    files.loaded_at
from {{ source('ledger', '_files') }} as files
left join by_file on files.file_id = by_file._file_id and files.state = 'loaded'

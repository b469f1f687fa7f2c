{#- Per file: rows read = loaded + rejected + suppressed + deduplicated. -#}

select export, file
from {{ ref('load_files') }}
where
    rows_read <> rows_loaded + rows_rejected + rows_suppressed + rows_deduplicated
    or rows_loaded < 0

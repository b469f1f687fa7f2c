-- One row per file that lies in landing/ or feeds the warehouse, and one per required export that
-- never came. Parameters: $required, the names of the exports that must be there.
select
    export || '/' || file as subject,
    state,
    rows_read,
    case
        when rows_read > 0 and verdict is distinct from 'dropped' then rows_rejected / rows_read
        else 0
    end as rejected_share,
    extra_columns,
    coalesce(reason, '') as reason
from raw._files
where
    state = 'loaded'
    or (state = 'quarantined' and is_landed and verdict is distinct from 'dropped')

union all

select
    export as subject,
    'absent' as state,
    0 as rows_read,
    0 as rejected_share,
    null as extra_columns,
    'no file was ever loaded' as reason
from (select unnest($required) as export) as required
where export not in (select export from raw._files where state = 'loaded')
order by subject

-- One row per file that lies in landing/ or feeds the warehouse, and one per required export that
-- never came. What an operator dropped is no finding any more. On the newest file of an export whose
-- files bear dates stand, once there are 7 earlier ones to judge by:
--   size_ratio    its rows beside the median of the 28 files before it, where one of them is 20 or
--                 more: fewer vary so much by chance
--   days_overdue  by how many days the newest file of any export is further ahead than this export's
--                 longest pause so far
-- Parameters: $required, the names of the exports that must be there.
with dated as (

    select
        export,
        sha256,
        file_date,
        rows_read,
        row_number() over newest_first as place,
        file_date - lead(file_date) over newest_first as pause
    from raw._files
    where state = 'loaded' and file_date is not null
    window newest_first as (partition by export order by file_date desc, sha256)

),

history as (

    select
        export,
        median(rows_read) as usual_rows,
        max(pause) as longest_pause
    from dated
    where place between 2 and 29
    group by export
    having count(*) >= 7

),

newest as (

    select
        dated.export,
        dated.sha256,
        case
            when greatest(dated.rows_read, history.usual_rows) >= 20
                then dated.rows_read / nullif(history.usual_rows, 0)
        end as size_ratio,
        greatest(
            (select max(file_date) from dated) - dated.file_date
            - greatest(history.longest_pause, coalesce(dated.pause, 0)),
            0
        ) as days_overdue
    from dated
    inner join history on dated.export = history.export
    where dated.place = 1

)

select
    files.export || '/' || files.file as subject,
    files.state,
    files.rows_read,
    case
        when files.rows_read > 0 and files.verdict is distinct from 'dropped'
            then files.rows_rejected / files.rows_read
        else 0
    end as rejected_share,
    files.extra_columns,
    coalesce(files.reason, '') as reason,
    coalesce(newest.size_ratio, 1) as size_ratio,
    coalesce(newest.days_overdue, 0) as days_overdue
from raw._files as files
left join newest on files.export = newest.export and files.sha256 = newest.sha256
where
    files.state = 'loaded'
    or (files.state = 'quarantined' and files.is_landed and files.verdict is distinct from 'dropped')

union all

select
    export as subject,
    'absent' as state,
    0 as rows_read,
    0 as rejected_share,
    null as extra_columns,
    'no file was ever loaded' as reason,
    1 as size_ratio,
    0 as days_overdue
from (select unnest($required) as export) as required
where export not in (select export from raw._files where state = 'loaded')
order by subject

"""The newest day that the exports speak of: a run depends on its inputs, not on the clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from statistics import median
from typing import NamedTuple

import duckdb

from attribution.contract import Export
from attribution.errors import AttributionError, NoConversions
from attribution.settings import Settings
from attribution.warehouse import quote, scalar

FIRST_DAY = datetime(1, 1, 1)
DAYS_AHEAD = 7  # of the newest time, by dates that have none
STRAY_SHARE = 0.001  # of all rows
FEW = 0.05  # of a file, or of an export's usual day


class Rows(NamedTuple):
    """Rows of one file on one day."""

    file_id: int
    file_date: date | None
    day: date
    rows: int
    export: str = ""

    @property
    def is_ahead(self) -> bool:
        """Later than a file of that date can know; a day more, for zones."""
        return self.file_date is not None and (self.day - self.file_date).days > 1


class Evidence(NamedTuple):
    """Rows of a file on a day, and whether they speak for it."""

    day: date
    export: str
    rows: int
    vouched: bool = False  # by the date in their file's name
    unknown: bool = False  # no date, or one that tells nothing


def newest_day(
    con: duckdb.DuckDBPyConnection, contract: Mapping[str, Export], settings: Settings
) -> tuple[date, int]:
    """The newest day of any export, stamps of the future aside, and how many rows lie after it.

    A row is vouched for by the date in its file's name, up to the day after. One further ahead is a
    stamp of the future where less than 5 % of the file is: a file named by the first of its days
    has far more there. Of all other rows, those beyond the last day of which more is vouched for,
    or which has more than 5 % of the rows that are usual in its export, are such stamps where they
    are less than 0.1 % of all. After a pause of `future_gap_days` in all exports together, the rows
    count where one of them is vouched for, or where they are 0.1 % of all; those ahead of their
    file's date, unlike most of the file, are no evidence then. Dates without a time, such as those
    of spend, may lead by a week, unless the date in their file's name says that they were planned.
    Exchange rates say nothing of what customers did.

    Raises
    ------
    NoConversions
        where no export holds a row with a time.
    """
    rows = [
        row
        for export in contract.values()
        for column in export.columns
        if column.required and column.type == "timestamp"
        for row in _rows_by_day(con, export.name, column.name, settings)
    ]
    newest = without_strays(rows, settings.future_gap_days)
    if newest is None:
        raise NoConversions(
            "build: no export holds a row with a time, so there is no newest day: land files in "
            "the landing folder, then run `load`"
        )
    dates = [
        scalar(
            con,
            f"select max({quote(column.name)}) from raw.{quote(export.name)} "
            "left join raw._files on file_id = _file_id and state = 'loaded' "
            f"where {quote(column.name)} <= ? "
            f"and coalesce({quote(column.name)} <= file_date + 1, true)",
            [newest + timedelta(days=DAYS_AHEAD)],
        )
        for export in contract.values()
        for column in export.columns
        if column.required and column.type == "date" and export.name != "rates"
    ]
    newest = max([newest, *(value for value in dates if isinstance(value, date))])
    return newest, sum(row.rows for row in rows if row.day > newest)


def file_of(
    con: duckdb.DuckDBPyConnection, contract: Mapping[str, Export], day: date, settings: Settings
) -> str:
    """A file with rows of a day, for messages."""
    days: list[object] = [day, day + timedelta(days=1)]
    times: list[object] = [start_of(day, settings), start_of(day + timedelta(days=1), settings)]
    for export in contract.values():
        for column in export.columns:
            if column.required and column.type in ("timestamp", "date"):
                file = scalar(
                    con,
                    f"select min(file) from raw.{quote(export.name)} inner join raw._files "
                    f"on file_id = _file_id and state = 'loaded' where {quote(column.name)} >= ? "
                    f"and {quote(column.name)} < ?",
                    days if column.type == "date" else times,
                )
                if file is not None:
                    return f"{export.name}/{file}"
    return "exports"


def bounds(run_date: date, settings: Settings) -> tuple[datetime, datetime, datetime]:
    """What `raw._run` says beside the run's date: where the day ends, where the window begins, and
    the oldest time that counts at all; UTC.
    """
    try:
        as_of = start_of(run_date + timedelta(days=1), settings)
        window_from = FIRST_DAY
        if settings.window_days != "all":
            window_from = start_of(run_date - timedelta(days=settings.window_days - 1), settings)
        return as_of, window_from, as_of - timedelta(days=settings.max_age_days)
    except OverflowError:
        raise AttributionError(
            f"build: {run_date} is too near an end of the calendar: choose another --date"
        ) from None


def start_of(day: date, settings: Settings) -> datetime:
    """The UTC time at which a day of the reporting time zone begins."""
    local = datetime.combine(day, time(), tzinfo=settings.zone)
    return local.astimezone(UTC).replace(tzinfo=None)


def without_strays(rows: Iterable[Rows], gap: int) -> date | None:
    """The newest day of some rows, stamps of the future aside; None where there are no rows."""
    rows = sorted(rows, key=lambda row: row.file_id)
    files = (list(of_file) for _, of_file in groupby(rows, key=lambda row: row.file_id))
    left = sorted(evidence for of_file in files for evidence in _evidence(of_file))
    enough = STRAY_SHARE * sum(row.rows for row in rows)
    last = _last_usual_day(left)
    if sum(evidence.rows for evidence in left if evidence.day > last) < enough:
        left = [evidence for evidence in left if evidence.day <= last]
    pauses = [i for i in range(1, len(left)) if (left[i].day - left[i - 1].day).days > gap]
    for begin in reversed(pauses):
        unknown = sum(evidence.rows for evidence in left[begin:] if evidence.unknown)
        if unknown >= enough or any(evidence.vouched for evidence in left[begin:]):
            break
        del left[begin:]
    return left[-1].day if left else None


def _evidence(rows: list[Rows]) -> Iterable[Evidence]:
    """What a file's rows say: those ahead of its date the less, the fewer they are."""
    share_ahead = sum(row.rows for row in rows if row.is_ahead) / sum(row.rows for row in rows)
    for row in rows:
        if row.file_date is None or (row.is_ahead and share_ahead >= 0.5):
            yield Evidence(row.day, row.export, row.rows, unknown=True)
        elif not row.is_ahead:
            yield Evidence(row.day, row.export, row.rows, vouched=True)
        elif share_ahead >= FEW:
            yield Evidence(row.day, row.export, row.rows)


def _last_usual_day(left: Iterable[Evidence]) -> date:
    """The last that a file's date vouches for, or that has more than few of an export's rows."""
    rows: Counter[tuple[str, date]] = Counter()
    for evidence in left:
        rows[evidence.export, evidence.day] += evidence.rows
    usual = {
        export: median(count for (name, _), count in rows.items() if name == export)
        for export in {export for export, _ in rows}
    }
    return max(
        (
            evidence.day
            for evidence in left
            if evidence.vouched
            or rows[evidence.export, evidence.day] > FEW * usual[evidence.export]
        ),
        default=date.min,
    )


def _rows_by_day(
    con: duckdb.DuckDBPyConnection, export: str, column: str, settings: Settings
) -> list[Rows]:
    # Grouped by quarters of an hour first, of which every zone's day is made: to ask for the day of
    # each row would take ten times as long.
    days = con.execute(
        "select _file_id, file_date, "
        "cast(timezone(?, timezone('UTC', quarter)) as date) as day, sum(times)::bigint, ? "
        "from ("
        f"select _file_id, time_bucket(interval '15 minutes', {quote(column)}) as quarter, "
        f"count(*) as times from raw.{quote(export)} group by _file_id, quarter"
        ") as quarters left join raw._files on file_id = _file_id and state = 'loaded' "
        "group by _file_id, file_date, day",
        [settings.reporting_timezone, export],
    ).fetchall()
    return [Rows(*day) for day in days]

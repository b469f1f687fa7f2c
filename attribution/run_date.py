"""The newest day that the exports speak of: a run depends on its inputs, not on the clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta

import duckdb

from attribution.contract import Export
from attribution.errors import NoConversions
from attribution.settings import Settings
from attribution.warehouse import quote, scalar

FIRST_DAY = datetime(1, 1, 1)
DAYS_AHEAD = 7  # of its file's date, or of the newest time: budgets are planned, contacts are not
STRAY_SHARE = 0.001
STRAY_SHARE_BY_FILE = 0.05  # where the names of files tell how far an export can reach


def newest_day(
    con: duckdb.DuckDBPyConnection, contract: Mapping[str, Export], settings: Settings
) -> date:
    """The newest day of any required time, stamps of the future aside.

    Such stamps are the rows of an export more than a week after the newest date in the names of its
    files, where they are less than 5 % of it, and those after a pause of `future_gap_days`, where
    they are less than 0.1 %. Dates without a time, such as those of spend, may lead by a week.

    Raises
    ------
    NoConversions
        where no export holds a row with a time.
    """
    times = [
        day
        for export in contract.values()
        for column in export.columns
        if column.required and column.type == "timestamp"
        if (day := _newest_time(con, export.name, column.name, settings)) is not None
    ]
    if not times:
        raise NoConversions(
            "build: no export holds a row with a time, so there is no newest day: land files in "
            "the landing folder, then run `load`"
        )
    newest = max(times)
    dates = [
        scalar(
            con,
            f"select max({quote(column.name)}) from raw.{quote(export.name)} "
            f"where {quote(column.name)} <= ?",
            [newest + timedelta(days=DAYS_AHEAD)],
        )
        for export in contract.values()
        for column in export.columns
        if column.required and column.type == "date"
    ]
    return max([newest, *(value for value in dates if isinstance(value, date))])


def start_of(day: date, settings: Settings) -> datetime:
    """The UTC time at which a day of the reporting time zone begins."""
    local = datetime.combine(day, time(), tzinfo=settings.zone)
    return local.astimezone(UTC).replace(tzinfo=None)


def without_strays(
    days: Sequence[tuple[date, int]], gap: int, newest_file: date | None = None
) -> date | None:
    """The newest of some days with their rows, in order, stamps of the future aside."""
    left, total = list(days), sum(rows for _, rows in days)
    if newest_file is not None:
        limit = newest_file + timedelta(days=DAYS_AHEAD)
        within = [(day, rows) for day, rows in left if day <= limit]
        if sum(rows for _, rows in within) > (1 - STRAY_SHARE_BY_FILE) * total:
            left = within
    while left:
        after_pause = next(
            (i for i in range(len(left) - 1, 0, -1) if (left[i][0] - left[i - 1][0]).days > gap), 0
        )
        if not after_pause or sum(rows for _, rows in left[after_pause:]) >= STRAY_SHARE * total:
            return left[-1][0]
        del left[after_pause:]
    return None


def _newest_time(
    con: duckdb.DuckDBPyConnection, export: str, column: str, settings: Settings
) -> date | None:
    days = con.execute(
        f"select cast(timezone(?, timezone('UTC', {quote(column)})) as date) as day, "
        f"count(*) from raw.{quote(export)} group by day order by day",
        [settings.reporting_timezone],
    ).fetchall()
    newest_file = scalar(
        con, "select max(file_date) from raw._files where export = ? and state = 'loaded'", [export]
    )
    assert newest_file is None or isinstance(newest_file, date)
    return without_strays(days, settings.future_gap_days, newest_file)

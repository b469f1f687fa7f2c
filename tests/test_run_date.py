"""The newest day of the exports: what moves a run and what does not."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import duckdb
import pytest
from conftest import ROOT, Home
from hypothesis import given
from hypothesis import strategies as st

from attribution.contract import read_contract
from attribution.errors import AttributionError, NoConversions
from attribution.run_date import FIRST_DAY, Rows, bounds, newest_day, without_strays
from attribution.settings import load_settings

GAP = 30
TODAY = date(2026, 1, 31)
FAR = date(2099, 1, 1)


def after(days: int) -> date:
    return TODAY + timedelta(days=days)


def daily(days: int, rows: int, *, dated: bool = True, first_id: int = 0) -> list[Rows]:
    """A file a day up to today."""
    return [Rows(first_id + n, after(-n) if dated else None, after(-n), rows) for n in range(days)]


def monthly(months: int, rows: int = 100) -> list[Rows]:
    """A file a month, named by its first day, up to today."""
    days = [date(2026 - n // 12, 12 - n % 12, 1) for n in range(months + 11)][11:]
    return [
        Rows(100 + number, first, first + timedelta(days=n), rows)
        for number, first in enumerate(days)
        for n in range(28 if first.month == 2 else 30 if first.month in (4, 6, 9, 11) else 31)
    ]


UNDATED = daily(20, 1000, dated=False)


@pytest.mark.parametrize(
    ("rows", "newest"),
    [
        (UNDATED, TODAY),
        ([*UNDATED, Rows(99, None, FAR, 1)], TODAY),
        ([*UNDATED, Rows(99, None, date(2030, 1, 1), 1), Rows(99, None, FAR, 1)], TODAY),
        ([*UNDATED, Rows(99, None, after(1), 19)], TODAY),
        ([*UNDATED, Rows(99, None, after(1), 21)], after(1)),
        ([*UNDATED, *(Rows(99, None, after(n), 1) for n in range(1, 20))], TODAY),
        ([*UNDATED, *(Rows(99, None, after(n), 1) for n in range(1, 22))], after(21)),
        ([*UNDATED, Rows(99, None, after(GAP), 1)], TODAY),
        ([*UNDATED, Rows(99, None, after(GAP + 1), 1)], TODAY),
        ([*UNDATED, Rows(99, None, after(120), 5000)], after(120)),  # they go on after a pause
        ([*UNDATED, Rows(99, None, after(120), 19)], TODAY),
        # of 20,000 rows 20 are 0.1 %
        ([*UNDATED[1:], Rows(98, None, TODAY, 980), Rows(99, None, after(120), 20)], after(120)),
    ],
)
def test_few_rows_after_the_last_usual_day_are_strays(rows: list[Rows], newest: date) -> None:
    assert without_strays(rows, GAP) == newest


@pytest.mark.parametrize(
    ("rows", "newest"),
    [
        # one row of a file of five, in an export of five
        ([Rows(1, TODAY, TODAY, 4), Rows(1, TODAY, FAR, 1)], TODAY),
        # day and month were swapped: no long pause, and few rows of their file
        ([*daily(90, 100), Rows(0, TODAY, after(20), 2)], TODAY),
        # a file says that the exports went on
        ([*UNDATED, Rows(99, after(120), after(120), 1)], after(120)),
        ([*UNDATED, Rows(99, after(119), after(120), 1)], after(120)),
        ([*UNDATED, Rows(99, after(118), after(120), 1)], TODAY),
        # one row of 70,001
        ([*daily(70, 1000), Rows(0, TODAY, after(7), 1)], TODAY),
        ([*daily(70, 1000), Rows(99, None, after(30), 1)], TODAY),
        # a file of a weekend, named by its first day
        ([*daily(70, 1000), *(Rows(99, after(1), after(n), 99) for n in (1, 2, 3))], after(3)),
        # named by the first of the month, also after a history loaded at once
        (monthly(1), TODAY),
        (monthly(25), TODAY),
        ([Rows(1, date(2025, 12, 31), date(2025, 12, 31), 10**7), *monthly(1)], TODAY),
        # named by the first of 14 days: 6 of 14 are more than a week ahead
        ([*daily(90, 100), *(Rows(99, after(5), after(5 + n), 9) for n in range(14))], after(18)),
        # a name that tells nothing: of the program, not of the rows
        ([Rows(n, date(2020, 5, 1), row.day, 100) for n, row in enumerate(UNDATED)], TODAY),
    ],
)
def test_the_date_in_a_files_name_is_evidence(rows: list[Rows], newest: date) -> None:
    assert without_strays(rows, GAP) == newest


def test_a_small_export_may_pause_where_others_went_on() -> None:
    small = [Rows(99, None, after(-400), 3, "small"), Rows(99, None, TODAY, 1, "small")]
    assert without_strays([*daily(20, 1000, dated=False)[1:], *small], GAP) == TODAY
    assert without_strays([*UNDATED, *small, Rows(99, None, FAR, 1)], GAP) == TODAY
    assert without_strays(small, GAP) == TODAY


def test_a_small_export_goes_on_where_a_large_one_stopped() -> None:
    small = [Rows(99, None, row.day + timedelta(days=2), 1, "small") for row in UNDATED]
    assert without_strays([*daily(100, 1000, dated=False), *small], GAP) == after(2)


@given(st.lists(st.integers(50, 1000), min_size=1, max_size=400), st.integers(1, 20))
def test_no_last_day_is_cut_for_having_fewer_rows_than_others(rows: list[int], small: int) -> None:
    """Weekends, the half of a day, and every bank of a few rows a day, in files without a date."""
    for counts in (rows, [min(count, small) for count in rows]):
        days = [Rows(n, None, after(n), count) for n, count in enumerate(counts)]
        assert without_strays(days, GAP) == days[-1].day


def test_no_day_at_all() -> None:
    assert without_strays([], GAP) is None


DATES = st.dates(date(2020, 1, 1), date(2030, 1, 1))


@given(
    st.lists(st.tuples(st.integers(1, 5), DATES, st.integers(1, 10**6)), min_size=1),
    st.dictionaries(st.integers(1, 5), st.none() | DATES),
    st.integers(1, 400),
)
def test_the_newest_day_is_there_and_no_older_than_what_files_vouch_for(
    drawn: list[tuple[int, date, int]], dates: dict[int, date | None], gap: int
) -> None:
    rows = [Rows(file, dates.get(file), day, count) for file, day, count in drawn]
    newest = without_strays(rows, gap)
    assert newest in {row.day for row in rows}
    assert all(row.day <= newest for row in rows if row.file_date and not row.is_ahead)
    assert without_strays(reversed(rows), gap) == newest


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("UTC", "2026-01-05 23:59:59.999999", date(2026, 1, 5)),
        ("Asia/Kathmandu", "2026-01-05 18:14:59", date(2026, 1, 5)),  # 5:45 ahead of UTC
        ("Asia/Kathmandu", "2026-01-05 18:15:00", date(2026, 1, 6)),
        ("America/St_Johns", "2026-07-06 02:29:59", date(2026, 7, 5)),  # 2:30 behind in summer
        ("America/St_Johns", "2026-07-06 02:30:00", date(2026, 7, 6)),
    ],
)
def test_days_are_those_of_the_reporting_time_zone(zone: str, moment: str, day: date) -> None:
    settings = load_settings(ROOT / "dbt_project", {"reporting_timezone": zone})
    contract = read_contract(ROOT / "dbt_project" / "models" / "staging" / "_exports.yml")
    with duckdb.connect() as con:
        con.execute("set TimeZone = 'UTC'; create schema raw")
        con.execute(
            "create table raw._files as "
            "select 1 as file_id, null::date as file_date, 'loaded' as state"
        )
        con.execute(
            "create table raw.touchpoints as select 1 as _file_id, ?::timestamp as occurred_at",
            [moment],
        )
        touchpoints = {"touchpoints": contract["touchpoints"]}
        assert newest_day(con, touchpoints, settings) == (day, 0)
        con.execute("delete from raw.touchpoints")
        with pytest.raises(NoConversions, match="land files"):
            newest_day(con, touchpoints, settings)


@pytest.mark.parametrize("file", ["s_2026-01-05.csv", "s.csv"])
def test_one_row_of_2099_does_not_move_the_run(after_run: Home, file: str) -> None:
    """In a dated file however small the world is; else where there are a thousand rows."""
    home = after_run
    head = "touchpoint_id,customer_id,occurred_at,channel\n"
    if file == "s.csv":
        rows = "".join(f"n{n},n{n},2026-01-03,branch\n" for n in range(1000))
        home.land("touchpoints", "many.csv", head + rows)
        rows = "s1,k1,2099-01-01,search\n"
    else:
        rows = "s0,k1,2026-01-05,search\ns1,k1,2026-01-04,search\ns2,k1,2099-01-01,search\n"
    home.land("touchpoints", file, head + rows)
    home.must("load")
    home.must("check", "exports")
    done = home.must("build")
    assert "run_date 2026-01-05" in done.stdout
    assert "1 rows are later than 2026-01-05 and do not count" in done.stderr


def test_the_bounds_of_a_run_are_days_of_the_reporting_time_zone() -> None:
    settings = load_settings(
        ROOT / "dbt_project",
        {"reporting_timezone": "Europe/Berlin", "window_days": 90, "max_age_days": 365},
    )
    assert bounds(date(2026, 5, 1), settings) == (
        datetime(2026, 5, 1, 22),
        datetime(2026, 1, 31, 23),
        datetime(2025, 5, 1, 22),
    )
    whole = load_settings(ROOT / "dbt_project", {"window_days": "all"})
    assert bounds(date(2026, 5, 1), whole)[1] == FIRST_DAY
    for end in (date.min, date.max):
        with pytest.raises(AttributionError, match="choose another --date"):
            bounds(end, settings)

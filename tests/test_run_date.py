"""The newest day of the exports: what moves a run and what does not."""

from datetime import date, timedelta

import pytest
from conftest import Home
from hypothesis import given
from hypothesis import strategies as st
from test_line import land_small_world

from attribution.run_date import without_strays

TODAY = date(2026, 1, 31)


def days(*back: int, rows: int = 1000) -> list[tuple[date, int]]:
    return [(TODAY - timedelta(days=n), rows) for n in sorted(back, reverse=True)]


@pytest.mark.parametrize(
    ("extra", "newest"),
    [
        ([], TODAY),
        ([(date(2099, 1, 1), 1)], TODAY),
        ([(date(2030, 1, 1), 1), (date(2099, 1, 1), 1)], TODAY),
        ([(TODAY + timedelta(days=30), 1)], TODAY + timedelta(days=30)),  # no long pause
        ([(date(2026, 6, 1), 5000)], date(2026, 6, 1)),  # they go on after a pause
    ],
)
def test_few_rows_after_a_long_pause_are_strays(extra: list, newest: date) -> None:
    assert without_strays(days(*range(20)) + extra, gap=30) == newest


def test_a_small_export_may_pause() -> None:
    assert without_strays([(date(2025, 1, 1), 3), (date(2026, 1, 1), 1)], gap=30) == date(
        2026, 1, 1
    )


def test_the_names_of_files_tell_how_far_an_export_can_reach() -> None:
    stray = [*days(*range(20), rows=3), (date(2026, 3, 1), 1)]
    assert without_strays(stray, 30, newest_file=TODAY) == TODAY
    monthly = days(*range(31))  # a file named by the first of its month
    assert without_strays(monthly, 30, newest_file=date(2026, 1, 1)) == TODAY


def test_no_day_at_all() -> None:
    assert without_strays([], gap=30) is None


@given(
    st.dictionaries(
        st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.integers(1, 10**6), min_size=1
    ),
    st.integers(1, 400),
)
def test_the_newest_day_is_a_day_that_is_there(rows: dict[date, int], gap: int) -> None:
    newest = without_strays(sorted(rows.items()), gap)
    assert newest in rows
    later = sum(count for day, count in rows.items() if day > newest)
    assert later < 0.001 * sum(rows.values()) * len(rows)


def test_stamps_of_2099_and_1970_are_set_aside_and_do_not_move_the_run(home: Home) -> None:
    land_small_world(home)
    home.must("run")
    credit = home.published("from channel_credit order by all")
    home.land(
        "touchpoints",
        "s_2026-01-05.csv",
        "touchpoint_id,customer_id,occurred_at,channel\n"
        "s0,k1,1970-01-01 00:00:00,search\ns1,k1,2099-01-01 00:00:00,search\n"
        + "".join(f"n{n},n{n},2026-01-0{n % 5 + 1} 10:00:00,branch\n" for n in range(30)),
    )
    home.land(
        "conversions",
        "s_2026-01-05.csv",
        "conversion_id,customer_id,converted_at,goal,revenue,status\n"
        "c9,k1,2026-01-04 10:00:00,account,100,cancelled\n",
    )
    home.must("run")
    assert home.manifest()["run_date"] == "2026-01-05"
    assert home.published("from load_set_aside order by all") == [
        ("conversions", "orphan_cancellation", 1),
        ("touchpoints", "after_run_date", 1),
        ("touchpoints", "too_old", 1),
    ]
    last_touch = "select * from channel_credit where model = 'last_touch' order by all"
    assert [row for row in credit if row[0] == "last_touch"] == home.published(last_touch)


def test_a_bot_is_capped_and_the_rest_counted(home: Home) -> None:
    land_small_world(home)
    home.land(
        "touchpoints",
        "bot_2026-01-05.csv",
        "touchpoint_id,customer_id,occurred_at,channel\n"
        + "".join(
            f"b{n:04d},bot,2026-01-02 10:{n // 60:02d}:{n % 60:02d},display\n" for n in range(300)
        ),
    )
    home.must("run", "--set", "max_touchpoints_per_customer=100")
    assert home.published("from load_set_aside") == [("touchpoints", "bot_suspect", 200)]
    assert home.warehouse(
        "select count(*), min(occurred_at)::varchar from journeys.journey_touchpoints "
        "join staging.stg_channels using (channel_index) where channel = 'display'"
    ) == [(100, "2026-01-02 10:03:20")]

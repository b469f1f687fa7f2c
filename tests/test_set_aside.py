"""What staging leaves out is counted, by reason: raw = staging + deduplicated + set aside."""

from __future__ import annotations

import pytest
from conftest import Home, keep, land_small_world, put_back

TOUCHES = "touchpoint_id,customer_id,occurred_at,channel\n"
CONVERSIONS = "conversion_id,customer_id,converted_at,goal,revenue,status\n"
STEPS = "step_id,customer_id,occurred_at,step\n"

CREDIT = (
    "select model, goal, channel, conversions, revenue from channel_credit "
    "where model in ('last_touch', 'linear', 'shapley') order by all"
)


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The small world with every kind of row that does not count; tests must not change it."""
    home = land_small_world(Home(tmp_path_factory.mktemp("messy") / "home"))
    home.land(
        "touchpoints",
        "again_2026-01-05.csv",
        TOUCHES + "t1,k1,2026-01-01 10:00:00,search\n"  # the same once more
        "t3,k2,2026-01-03 10:00:00,tv\n"  # the same id, said otherwise
        "x1,k1,1970-01-01 00:00:00,radio\n"
        "x2,k1,2099-01-01 00:00:00,radio\n"
        "x3,k1,2016-01-09 00:00:00,radio\n"  # ten years of 365 days before 2026-01-06
        "x4,k1,2016-01-08 23:59:59,radio\n",
    )
    home.land(
        "conversions",
        "again_2026-01-05.csv",
        CONVERSIONS + "c1,k1,2026-01-04 10:00:00,account,100,\n"
        "c9,k1,2026-01-04 10:00:00,account,100,cancelled\n"
        "c8,k1,2099-01-04 10:00:00,account,100,booked\n"
        "c8,k1,2026-01-04 11:00:00,account,100,cancelled\n",
    )
    home.land(
        "steps",
        "s_2026-01-05.csv",
        STEPS + "s1,k1,2026-01-02,form_started\ns1,k1,2026-01-02,form_started\n"
        "s2,k1,1970-01-01,form_started\ns3,k2,2099-01-01,form_started\n",
    )
    home.must("run")
    return keep(home)


def test_rows_are_set_aside_by_reason(messy: Home) -> None:
    assert messy.published("from load_set_aside order by all") == [
        ("conversions", "after_run_date", 1),
        ("conversions", "orphan_cancellation", 2),  # c8 was booked, but in 2099
        ("steps", "after_run_date", 1),
        ("steps", "too_old", 1),
        ("touchpoints", "after_run_date", 1),
        ("touchpoints", "too_old", 2),
    ]


def test_raw_rows_are_staged_deduplicated_or_set_aside(messy: Home) -> None:
    """Counted apart from dbt's own test of the same: by ids, in what was loaded."""
    for export, key, staged in (
        ("touchpoints", "touchpoint_id", "select touchpoint_id from staging.stg_touchpoints"),
        ("steps", "step_id", "select step_id from staging.stg_steps"),
        (
            "conversions",
            "conversion_id, coalesce(lower(status), 'booked')",
            "select conversion_id, 'booked' from staging.stg_conversions union all "
            "select conversion_id, 'cancelled' from staging.stg_conversions where is_cancelled",
        ),
    ):
        [(raw, distinct)] = messy.warehouse(
            f"select count(*), count(distinct ({key})) from raw.{export}"
        )
        [(kept,)] = messy.warehouse(f"select count(*) from ({staged})")
        [(lost,)] = messy.published(
            "select sum(rows_deduplicated) from load_files where export = ?", [export]
        )
        [(aside,)] = messy.published(
            "select sum(set_aside_rows) from load_set_aside where export = ?", [export]
        )
        assert lost == raw - distinct > 0
        assert kept == distinct - aside


def test_what_is_set_aside_earns_no_credit(messy: Home, after_run: Home) -> None:
    home = after_run
    home.land("touchpoints", "b_2026-01-05.csv", TOUCHES + "t3,k2,2026-01-03 10:00:00,tv\n")
    home.land("touchpoints", "c_2026-01-05.csv", TOUCHES + "x3,k1,2016-01-09 00:00:00,radio\n")
    home.must("run")
    assert messy.published(CREDIT) == home.published(CREDIT)
    assert messy.manifest()["run_date"] == home.manifest()["run_date"] == "2026-01-05"


def test_conflicting_duplicates_are_counted_and_told(messy: Home) -> None:
    counts = messy.published(
        "select file, rows_deduplicated, rows_conflicting from load_files "
        "where rows_deduplicated > 0 order by all"
    )
    assert sum(conflicting for _, _, conflicting in counts) == 1  # t3
    assert sum(lost for _, lost, _ in counts) == 4  # t1, t3, c1, s1
    warned = messy.manifest()["steps"]["check statistics"]["warnings"]
    assert len(warned) == 1
    assert warned[0].endswith("(rows_conflicting): 1 of 20 rows: touchpoints (1)")


def test_a_critical_check_refuses_what_else_would_warn(messy: Home) -> None:
    copy = put_back(messy)
    done = copy.main("run", "--set", "critical_checks=[rows_conflicting]")
    assert done.returncode == 3
    assert "check statistics refused" in done.stderr
    assert "rows_conflicting" in done.stderr
    assert copy.current.readlink() == messy.current.readlink()


def test_a_cancellation_is_no_orphan_once_its_booking_came(after_run: Home) -> None:
    home = after_run
    orphan = CONVERSIONS + "c9,k1,2026-01-04 10:00:00,account,100,cancelled\n"
    home.land("conversions", "storno_2026-01-05.csv", orphan)
    home.must("run")
    counted = "select goal, value from model_diagnostics where name = 'cancelled_conversions'"
    assert home.published("from load_set_aside") == [("conversions", "orphan_cancellation", 1)]
    assert sorted(home.published(counted)) == [("account", 1.0), ("conversion", 0.0)]
    late = CONVERSIONS + "c9,k1,2026-01-03 10:00:00,account,100,booked\n"
    home.land("conversions", "late_2026-01-05.csv", late)
    home.must("run")
    assert home.published("from load_set_aside") == []
    assert sorted(home.published(counted)) == [("account", 2.0), ("conversion", 0.0)]


def test_a_path_of_thousands_of_touches_stops_no_night(after_run: Home) -> None:
    """Without one of its touches, each in turn, it would take the square of them."""
    times = [f"2026-01-02 {n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d}" for n in range(3000)]
    touches = "".join(f"p{n},keen,{time},display\n" for n, time in enumerate(times))
    after_run.land("touchpoints", "keen_2026-01-05.csv", TOUCHES + touches)
    head = "conversion_id,customer_id,converted_at,goal,revenue\n"
    after_run.land("conversions", "keen.csv", head + "p,keen,2026-01-03,account,5\n")
    models = "models=[last_touch, path_counterfactual]"
    after_run.must("run", "--set", models, "--set", "memory_limit=200MB")
    assert after_run.warehouse("select max(length(path)) > 5000 from statistics.path_counts") == [
        (True,)
    ]
    assert after_run.published(
        "select sum(credit)::double from conversion_credit where conversion_id = 'p' group by model"
    ) == [(1.0,), (1.0,)]


def test_a_bot_is_capped_and_the_rest_counted(after_run: Home) -> None:
    home = after_run
    bot = "".join(
        f"b{n:04d},bot,2026-01-02 10:{n // 60:02d}:{n % 60:02d},display\n" for n in range(300)
    )
    home.land("touchpoints", "bot_2026-01-05.csv", TOUCHES + bot)
    home.must("run", "--set", "max_touchpoints_per_customer=100")
    assert home.published("from load_set_aside") == [("touchpoints", "bot_suspect", 200)]
    assert home.warehouse(
        "select count(*), min(occurred_at)::varchar from journeys.journey_touchpoints "
        "join staging.stg_channels using (channel_index) where channel = 'display'"
    ) == [(100, "2026-01-02 10:03:20")]

"""The line as its users run it: whole processes, from landed files to published tables."""

import fcntl
import gzip
import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import Home, land_small_world, put_back

from attribution import pipeline, transform
from attribution.errors import OutOfOrder
from attribution.path_credit import credit_from_paths
from attribution.paths import aggregate_paths
from attribution.workbook import SHEETS

HEURISTICS = ("first_touch", "last_touch", "last_non_direct", "linear", "position_based")


@pytest.fixture
def copy(bank: Home) -> Home:
    """The bank again, to do harm to."""
    return put_back(bank)


@pytest.fixture
def small(home: Home) -> Home:
    return land_small_world(home)


def test_small_world_is_credited_by_hand(small_world: Home) -> None:
    credit = {
        (goal, channel): (float(conversions), float(revenue), share)
        for goal, channel, conversions, revenue, share in small_world.published(
            "select goal, channel, conversions, revenue, share from channel_credit "
            "where model = 'linear'"
        )
    }
    assert credit == {
        # c1 half and half; c2 by the visitor v3, who turned out to be k3; c4 was cancelled
        ("account", "search"): (1.5, 100.5, 0.75),
        ("account", "paid_search"): (0.5, 50.0, 0.25),
        ("account", "branch"): (0.0, 0.0, 0.0),
        ("account", "(unattributed)"): (0.0, 0.0, 0.0),
        ("conversion", "search"): (0.0, 0.0, 0.0),
        ("conversion", "paid_search"): (0.0, 0.0, 0.0),
        ("conversion", "branch"): (0.0, 0.0, 0.0),
        ("conversion", "(unattributed)"): (1.0, 7.0, 1.0),
    }
    assert small_world.published(
        "select conversion_id, unattributed_reason from conversion_credit "
        "where model = 'shapley' and channel = '(unattributed)'"
    ) == [("c3", "no_touchpoint")]
    assert small_world.published(
        "select touchpoint_id, position, hours_to_conversion, credit::double "
        "from touchpoint_credit where model = 'last_touch' and conversion_id = 'c1' "
        "order by position"
    ) == [("t1", 1, 72.0, 0.0), ("t2", 2, 48.0, 1.0)]


def test_cancelled_conversions_count_in_gross(small_world: Home) -> None:
    assert small_world.published(
        "select channel, campaign, conversions::double, revenue::double, "
        "gross_conversions::double, gross_revenue::double, is_complete from campaign_performance "
        "where basis = 'period' and model = 'linear' order by all"
    ) == [
        (channel, campaign, *figures, False)  # January is not over
        for channel, *figures in (
            ("(unattributed)", 1.0, 7.0, 1.0, 7.0),
            ("branch", 0.0, 0.0, 1.0, 70.0),
            ("paid_search", 0.5, 50.0, 0.5, 50.0),
            ("search", 1.5, 100.5, 1.5, 100.5),
        )
        for campaign in ("(all campaigns)", "(no campaign)")
    ]


def test_amounts_in_foreign_currencies_are_converted(after_run: Home) -> None:
    """The rate of the day or the last one before; later rates move no run."""
    after_run.land(
        "conversions",
        "foreign.csv",
        "conversion_id,customer_id,converted_at,goal,revenue,currency\n"
        "f1,k1,2026-01-03 10:00:00,account,1000000,CHF\n",
    )
    after_run.land(
        "spend",
        "s.csv",
        "date,channel,cost,campaign,currency\n2026-01-04,search,30,winter,USD\n"
        "2026-01-04,search,8,,\n",
    )
    after_run.land(
        "rates",
        "r.csv",
        "date,currency,rate\n2026-01-02,CHF,1.0625\n2026-01-04,USD,0.9\n2026-01-07,CHF,3\n",
    )
    after_run.must("run")
    assert after_run.manifest()["run_date"] == "2026-01-05"
    assert after_run.published(
        "select sum(revenue_credit) from conversion_credit "
        "where model = 'last_touch' and conversion_id = 'f1'"
    ) == [(1062500,)]
    assert after_run.published(
        "select campaign, cost::double from campaign_performance "
        "where model = 'linear' and basis = 'cohort' and cost is not null order by campaign"
    ) == [("(all campaigns)", 35), ("(no campaign)", 8), ("winter", 27)]
    assert after_run.published(
        "select cost::double from channel_performance where model = 'linear' and cost is not null"
    ) == [(35,)]


def test_verbs_one_by_one_publish_what_run_publishes(
    after_run: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes, before = after_run.hashes(), after_run.current.readlink()
    tested: set[str] = set()

    def dbt(folders: Any, settings: Any, overrides: Any, command: list[str], **named: Any) -> int:
        command.remove("--no-write-json")
        ran = transform.dbt(folders, settings, overrides, command, **named)
        tested.update(nodes_run(after_run))
        return ran

    monkeypatch.setattr(pipeline, "dbt", dbt)
    with duckdb.connect(after_run.current / "attribution.duckdb", read_only=True) as reader:
        for verb in (
            ("load",),
            ("check", "exports"),
            ("build",),
            ("check", "statistics"),
            ("attribute",),
            ("marts",),
            ("stage",),
            ("check", "credits"),
        ):
            after_run.must(*verb)
            assert after_run.current.readlink() == before
        assert data_tests(after_run) <= tested  # dbt passes over a test that no step selects whole
        damage(after_run.path / "publish" / "candidate" / "attribution.duckdb")
        done = after_run.main("publish")
        assert done.returncode == 1
        assert "attribution.duckdb is not what was written" in done.stderr
        assert after_run.current.readlink() == before
        after_run.must("stage")
        after_run.must("check", "credits")
        after_run.must("publish")
        # who reads the former version goes on reading it
        assert reader.execute("select count(*) from channel_credit").fetchall() == [(68,)]
    assert after_run.hashes() == hashes
    assert after_run.current.readlink() != before
    assert not (after_run.path / "publish" / "candidate").exists()


def nodes_run(home: Home) -> set[str]:
    """What the last dbt command ran."""
    results = json.loads((home.path / "state" / "dbt" / "run_results.json").read_text())["results"]
    return {result["unique_id"] for result in results}


def data_tests(home: Home) -> set[str]:
    nodes = json.loads((home.path / "state" / "dbt" / "manifest.json").read_text())["nodes"]
    return {
        name
        for name, node in nodes.items()
        if node["resource_type"] == "test" and node["config"]["enabled"]
    }


def damage(path: Path) -> None:
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_step_refuses_to_go_on_with_another_run(small: Home) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in small.environment.items():
            patch.setenv(name, value)
        line = pipeline.Line.from_environment()
        first = pipeline.run_step(line, "load")["run"]
        second = pipeline.run_step(line, "load")["run"]
        with pytest.raises(OutOfOrder, match="another run began"):
            pipeline.run_step(line, "check exports", first)
        pipeline.run_step(line, "check exports", second)


def test_budget_dated_ahead_does_not_move_the_run(after_run: Home) -> None:
    head = "date,channel,cost\n"
    after_run.land("spend", "plan.csv", head + "2027-12-31,tv,9\n2026-01-08,tv,3\n")
    after_run.land("spend", "budget_2026-01-05.csv", head + "2026-01-05,tv,9\n2026-01-12,tv,3\n")
    after_run.must("run")
    assert after_run.manifest()["run_date"] == "2026-01-08"
    assert after_run.published("from load_set_aside where export = 'spend'") == [
        ("spend", "after_run_date", 2)
    ]


def test_one_channel_that_always_converts(home: Home) -> None:
    """Six touches at 0.166666666667 would be more than one conversion, and every share is whole.

    That one customer was paid back is no fault.
    """
    touches = "".join(f"t{i},k1,2026-01-0{i},only\n" for i in range(1, 7))
    touches += "t7,k2,2026-01-06,only\n"
    home.land("touchpoints", "t.csv", f"touchpoint_id,customer_id,occurred_at,channel\n{touches}")
    head = "conversion_id,customer_id,converted_at,revenue\n"
    home.land("conversions", "c.csv", head + "c1,k1,2026-01-07,-20.5\nc2,k2,2026-01-07,30\n")
    home.must("run")
    assert home.published(
        "select distinct conversions::varchar, round(revenue, 9)::double, share "
        "from channel_credit where channel = 'only'"
    ) == [("2.000000000000", 9.5, 1.0)]
    assert home.published(
        "select conversion_id, sum(credit)::varchar, round(sum(revenue_credit), 9)::double "
        "from conversion_credit where model = 'shapley' group by all order by all"
    ) == [("c1", "1.000000000000", -20.5), ("c2", "1.000000000000", 30.0)]


def test_two_hundred_channels_each_with_its_own_conversion(after_run: Home) -> None:
    heads = ("touchpoint_id,customer_id,occurred_at,channel\n",
             "conversion_id,customer_id,converted_at,goal,revenue\n")  # fmt: skip
    touches = [f"x{n},x{n},2026-01-03,c{n}\n" for n in range(200)]
    converts = [f"x{n},x{n},2026-01-04,account,{n}\n" for n in range(200)]
    after_run.land("touchpoints", "x_2026-01-05.csv", heads[0] + "".join(touches))
    after_run.land("conversions", "x_2026-01-05.csv", heads[1] + "".join(converts))
    after_run.must("run")
    found = after_run.published(
        "select model, channel, conversions::double, revenue::double from channel_credit "
        "where goal = 'account' and channel similar to 'c[0-9]+' order by all"
    )
    assert len(found) == 200 * len({model for model, *_ in found})
    for model in (*HEURISTICS, "shapley"):
        rows = [row[1:] for row in found if row[0] == model]
        assert rows == sorted((f"c{n}", 1.0, float(n)) for n in range(200))
    shares = {conversions for model, _, conversions, _ in found if model == "markov"}
    assert max(shares) == pytest.approx(min(shares), rel=1e-9)


@pytest.mark.parametrize("nulls", ["use", "ignore"])
def test_every_conversion_unattributed_is_still_credited(home: Home, nulls: str) -> None:
    home.land(
        "touchpoints",
        "t.csv",
        "touchpoint_id,customer_id,occurred_at,channel\nt1,k9,2026-01-01,search\n",
    )
    home.land("conversions", "c.csv", "conversion_id,customer_id,converted_at\nc1,k1,2026-01-07\n")
    home.must("run", "--set", f"markov_nulls={nulls}")
    rows = home.published("select model, channel, credit::double from conversion_credit")
    assert sorted(rows) == sorted(
        (model, "(unattributed)", 1.0)
        for model in (*HEURISTICS, "time_decay", "markov", "shapley", "ladder")
    )


def test_goals_that_carry_little_do_not_stop_the_night(after_run: Home) -> None:
    """All were cancelled; the only one with a touch was; refunds outweigh sales."""
    after_run.land(
        "touchpoints",
        "little.csv",
        "touchpoint_id,customer_id,occurred_at,channel\n"
        "u1,m1,2026-01-02 10:00:00,search\nu2,l1,2026-01-02 10:00:00,search\n"
        "u3,l1,2026-01-03 10:00:00,branch\nu4,f1,2026-01-02 10:00:00,branch\n",
    )
    after_run.land(
        "conversions",
        "little.csv",
        "conversion_id,customer_id,converted_at,goal,revenue,status\n"
        "m1,m1,2026-01-04,mortgage,10,\nm1,m1,2026-01-05,mortgage,10,cancelled\n"
        "l1,l1,2026-01-04,loan,60,\nl1,l1,2026-01-05,loan,60,cancelled\n"
        "l2,l2,2026-01-04,loan,90,\nf1,f1,2026-01-04,fund,-20,\n",
    )
    done = after_run.must("run")
    assert "goal 'fund' has no credit by markov: conversions right after 'branch'" in done.stderr
    assert after_run.published(
        "select goal, count(distinct model) from channel_credit group by 1 order by 1"
    ) == [("account", 8), ("conversion", 9), ("fund", 7), ("loan", 9)]
    gross = dict(
        after_run.published(
            "select model, sum(gross_revenue)::double from campaign_performance "
            "where basis = 'period' and campaign = '(all campaigns)' group by model"
        )
    )
    assert "markov" not in gross  # which has no credit of all goals
    assert set(gross.values()) == {100 + 50.5 + 7 + 70 + 60 + 90 - 20}
    assert after_run.warehouse(
        "select channel, sum(credit)::double from statistics.cancelled_touchpoint_credit "
        "where model = 'shapley' and conversion_id = 'l1' group by 1 order by 1"
    ) == [("branch", 0.5), ("search", 0.5)]


def test_matured_fits_know_nothing_of_young_journeys(home: Home) -> None:
    """Of them only those that convert at once are over, and none that fails: a channel that began
    last week would seem to convert all it meets.
    """
    rows = [
        *((f"k{n}", "search", "02", "account") for n in range(30)),
        *((f"n{n}", "search", "04", None) for n in range(30)),
        *((f"m{n}", "e-mail", "04", None if n % 3 else "account") for n in range(30)),
        *((f"y{n}", "new", "18", "account") for n in range(9)),
        *((f"z{n}", "new", "18", None) for n in range(40)),
        ("f", "new", "18", "fresh"),
    ]
    touches = [f"{who},{who},2026-01-{day},{channel}\n" for who, channel, day, _ in rows]
    won = [f"{who},{who},2026-01-{int(day) + 1:02d},{goal}\n" for who, _, day, goal in rows if goal]
    head = ("touchpoint_id,customer_id,occurred_at,channel\n",
            "conversion_id,customer_id,converted_at,goal\n")  # fmt: skip
    home.land("touchpoints", "t.csv", head[0] + "".join(touches))
    home.land("conversions", "c.csv", head[1] + "".join(won))
    done = home.must(
        "run", "--set", "fit_journeys=matured", "--set", "lookback_days=5",
        "--set", "shapley_game=rate", "--set", "sample_customers=1000", "--set",
        "models=[last_touch, markov, shapley, shao_li, path_counterfactual, additive_hazard]",
    )  # fmt: skip
    for model in ("markov", "shapley", "shao_li", "path_counterfactual", "additive_hazard"):
        assert f"goal 'fresh' has no credit by {model}: " in done.stderr
    assert home.published(
        "select model, sum(conversions)::double, "
        "sum(conversions) filter (where channel = 'new')::double "
        "from channel_credit where goal = 'account' group by model order by model"
    ) == [
        (model, 49.0, 9.0 if model == "last_touch" else 0.0)
        for model in ("additive_hazard", "last_touch", "markov", "path_counterfactual",
                      "shao_li", "shapley")
    ]  # fmt: skip
    assert home.published("select distinct model from channel_credit where goal = 'fresh'") == [
        ("last_touch",)
    ]


def test_verbs_out_of_order_are_refused(small: Home) -> None:
    small.must("load")
    done = small.main("attribute")
    assert done.returncode == 1
    assert done.stderr == (
        "attribution: attribute: `check statistics` comes first and is not done\n"
    )
    done = small.main("check", "exports", "--set", "lookback_days=60")
    assert "settings differ" in done.stderr


def test_every_model_adds_up_to_all_conversions_and_revenue(bank: Home) -> None:
    [(conversions, revenue)] = bank.warehouse(
        "select count(*)::double, sum(revenue)::double from staging.stg_conversions "
        "where not is_cancelled"
    )
    rows = bank.published(
        "select model, sum(conversions)::double, sum(revenue)::double from channel_credit "
        "group by model"
    )
    assert len(rows) == 8
    for model, credited, money in rows:
        assert credited == pytest.approx(conversions, rel=1e-9), model
        assert money == pytest.approx(revenue, rel=1e-9), model


def test_python_says_the_same_as_sql_on_the_same_paths(bank: Home) -> None:
    """Heuristics stand in SQL and in Python; fits stand on statistics and on paths."""
    with duckdb.connect(bank.path / "state" / "warehouse.duckdb", read_only=True) as con:
        paths = con.execute(
            "select j.goal, list(c.channel order by j.position), max(j.conversions), "
            "coalesce(max(i.revenue), 0)::double "
            "from journeys.journey_touchpoints j join staging.stg_channels c using (channel_index) "
            "left join journeys.conversion_instants i using (customer_key, goal, converted_at) "
            "group by j.customer_key, j.goal, j.journey_start"
        ).fetchall()
    for goal in {goal for goal, *_ in paths if goal}:
        rows = [
            (path, float(conversions), 0.0 if conversions else 1.0, revenue)
            for of_goal, path, conversions, revenue in paths
            if of_goal in (goal, None)
        ]
        for model in (*HEURISTICS, "markov", "shapley"):
            expected = credit_from_paths(aggregate_paths(rows), model)
            found = {
                channel: (float(conversions), float(revenue), effect)
                for channel, conversions, revenue, effect in bank.published(
                    "select channel, conversions, revenue, removal_effect from channel_credit "
                    "where model = ? and goal = ? and channel <> '(unattributed)'",
                    [model, goal],
                )
            }
            for k, channel in enumerate(expected.channels):
                conversions, revenue, effect = found[channel]
                assert conversions == pytest.approx(expected.conversions[k], rel=1e-9, abs=1e-9)
                assert revenue == pytest.approx(expected.revenue[k], rel=1e-9, abs=1e-6)
                if expected.removal_effect is not None:
                    assert effect == pytest.approx(expected.removal_effect[k], rel=1e-9, abs=1e-9)


def test_same_inputs_publish_the_same_hashes(copy: Home) -> None:
    hashes = copy.hashes()
    assert set(hashes) == {
        "channel_credit",
        "channel_performance",
        "campaign_performance",
        "channel_credit_daily",
        "conversion_credit",
        "touchpoint_credit",
        "conversion_paths",
        "load_files",
        "load_set_aside",
        "model_diagnostics",
        "ladder_stages",
        "ladder_effects",
        "lift_tests",
    }
    first = copy.current.readlink()
    history = copy.published("select count(*) from credit_history")
    done = copy.attribution("run", "--full")  # a process of its own
    assert done.returncode == 0
    # so few customers carry no ladder; nothing else is said
    assert all("has no credit by ladder" in line for line in done.stderr.splitlines())
    assert copy.hashes() == hashes
    assert copy.current.readlink() != first
    assert copy.published("select count(*) from credit_history") == history
    # and so does a warehouse that loaded the same files anew, in another order
    shutil.rmtree(copy.path / "state")
    away = copy.path / "landing" / "touchpoints"
    away.rename(copy.path / "held_back")
    assert copy.main("load").returncode == 0
    (copy.path / "held_back").rename(away)
    copy.must("run")
    assert copy.hashes() == hashes


def test_earlier_date_sees_nothing_later(copy: Home) -> None:
    copy.must("run", "--date", "2026-02-10")
    assert copy.manifest()["run_date"] == "2026-02-10"
    [(newest,)] = copy.published("select max(converted_at) from conversion_credit")
    assert str(newest) < "2026-02-11"
    dates = copy.published("select distinct run_date::varchar from credit_history order by 1")
    assert [day for (day,) in dates] == ["2026-02-10", "2026-03-01"]


def test_published_version_is_whole_and_read_only(bank: Home) -> None:
    manifest = bank.manifest()
    assert set(manifest["files"]) == {
        *("report.html", "attribution.xlsx", "attribution.duckdb"),
        *(f"csv/{table}.csv" for table in SHEETS),
        *(f"parquet/{table}.parquet" for table in [*manifest["tables"], "run_manifest"]),
    }
    for name in [*manifest["files"], "manifest.json"]:
        assert stat.S_IMODE((bank.current / name).stat().st_mode) == 0o444
    for table, entry in manifest["tables"].items():
        assert bank.published(f"select count(*) from {table}") == [(entry["rows"],)]
        parquet = bank.current / "parquet" / f"{table}.parquet"
        assert duckdb.sql(f"select count(*) from '{parquet}'").fetchall() == [(entry["rows"],)]
    assert bank.published("select distinct run_id from run_manifest") == [(manifest["run_id"],)]
    rows = manifest["rows"]
    parts = ("loaded", "rejected", "suppressed", "deduplicated")
    assert rows["read"] == sum(rows[part] for part in parts)
    assert rows["read"] > 10_000


def test_run_id_and_customers_stand_in_no_mart(bank: Home) -> None:
    allowed = set(bank.manifest()["tables"]) | {"run_manifest"}
    found = bank.published("select table_name, column_name from information_schema.columns")
    assert {table for table, _ in found} == allowed
    for table, column in found:
        # how many they are may be said, not who
        assert "customer" not in column or column in ("customers", "days_per_customer")
        assert column != "run_id" or table == "run_manifest"


def test_storage_version_is_old_enough_for_bi_drivers(bank: Home) -> None:
    [(tags,)] = bank.published("select tags from duckdb_databases() where not internal")
    assert tags["storage_version"].startswith("v1.2")


def test_second_run_is_told_who_holds_the_lock(after_run: Home) -> None:
    with (after_run.path / "state" / "lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(json.dumps({"pid": 4711, "host": "night", "since": "2026-01-01T04:00:00"}))
        held.flush()
        done = subprocess.run(
            [sys.executable, "-m", "attribution", "run"],
            env=after_run.environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 75
    assert "pid 4711 on night since 2026-01-01T04:00:00" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    after_run.must("run")  # the file alone holds nobody


def broken(home: Home, fault: str) -> None:
    if fault == "missing column":
        home.land("touchpoints", "new.csv", "touchpoint_id,occurred_at\nt9,2026-02-01\n")
    elif fault == "truncated gzip":
        text = b"conversion_id,customer_id,converted_at\n" + b"x1,k1,2026-01-01\n" * 200
        home.land("conversions", "new.csv.gz", gzip.compress(text)[:-9])
    elif fault == "text in a number column":
        home.land(
            "conversions",
            "new.csv",
            "conversion_id,customer_id,converted_at,revenue\nx1,k1,2026-01-01,much\n",
        )
    elif fault == "foreign currency":
        home.land(
            "conversions",
            "new.csv",
            "conversion_id,customer_id,converted_at,currency\nx1,k1,2026-01-01,CHF\n"
            "x2,k2,2026-01-02,CHF\n",
        )


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ("missing column", 3, "touchpoints/new.csv (quarantined)"),
        ("truncated gzip", 3, "conversions/new.csv.gz (quarantined)"),
        ("text in a number column", 3, "rejected_share"),
        ("foreign currency", 1, "no rate of CHF on 2026-01-01 nor in the 7 days before it"),
    ],
)
def test_fault_stops_the_run_and_leaves_the_published_version(
    after_run: Home, fault: str, code: int, message: str
) -> None:
    before = after_run.current.readlink()
    manifest = (after_run.current / "manifest.json").read_bytes()
    broken(after_run, fault)
    done = after_run.main("run")
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert after_run.current.readlink() == before
    assert (after_run.current / "manifest.json").read_bytes() == manifest
    # correcting the file under its name is the way out, and so is taking it away
    if fault == "missing column":
        (after_run.path / "landing" / "touchpoints" / "new.csv").unlink()
    else:
        name = "new.csv.gz" if fault == "truncated gzip" else "new.csv"
        header = b"conversion_id,customer_id,converted_at\n"
        after_run.land(
            "conversions", name, gzip.compress(header) if name.endswith("gz") else header
        )
    after_run.must("load")
    after_run.must("check", "exports")


@pytest.mark.parametrize(
    ("environment", "arguments", "code", "message"),
    [
        ({}, ("run", "--set", "lokback_days=3"), 1, "lokback_days: is no setting"),
        ({}, ("run", "--set", "lookback_days"), 2, "write it as key=value"),
        ({}, ("run", "--set", "goals=[a"), 2, "no YAML"),
        ({"ATTRIBUTION_HMAC_KEY": ""}, ("run",), 1, "ATTRIBUTION_HMAC_KEY is not set"),
        ({"ATTRIBUTION_STATE": "/proc/state"}, ("run",), 1, "set ATTRIBUTION_STATE"),
        ({"ATTRIBUTION_LANDING": "/nowhere"}, ("run",), 1, "set ATTRIBUTION_LANDING"),
        ({"ATTRIBUTION_DBT_PROJECT": "/nowhere"}, ("run",), 1, "set ATTRIBUTION_DBT_PROJECT"),
        ({}, ("run", "--date", "1999-01-01"), 1, "no conversion in the 90 days up to 1999-01-01"),
        ({}, ("run", "--date", "today"), 2, "'today' is no date"),
        ({}, ("publish",), 1, "comes first"),
        ({}, ("rollback",), 1, "nothing was published yet"),
        ({}, ("fly",), 2, "invalid choice"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_use_is_answered_in_one_line(
    small: Home, environment: dict, arguments: tuple, code: int, message: str
) -> None:
    done = small.main(*arguments, environment=environment)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    if code != 2:
        assert len(done.stderr.splitlines()) == 1
    assert not (small.path / "publish" / "current").exists()


@pytest.mark.parametrize(
    ("row", "options", "says"),
    [
        ("account,100,EUR,storno", (), "map others in the source's model (found: storno)"),
        ("account,100,EUR,K1234", (), "map others in the source's model; see "),  # an id, perhaps
        ("account,100,usd,", (), "no rate of USD on 2026-01-04 nor in the 7 days before it"),
        ("(all goals),100,,", (), "rename the goal in the export"),
        (
            "account,1,,",
            ("--set", "goals=[car]"),
            "correct the export, or the setting (found: account)",
        ),
    ],
)
def test_what_dbt_refuses_is_said_with_value_and_way_out(
    home: Home, row: str, options: tuple, says: str
) -> None:
    home.land("touchpoints", "t.csv", "touchpoint_id,customer_id,occurred_at,channel\n"
              "t1,k1,2026-01-01 10:00:00,search\n")  # fmt: skip
    home.land("conversions", "c.csv", "conversion_id,customer_id,converted_at,goal,revenue,"
              f"currency,status\nc1,k1,2026-01-04 10:00:00,{row}\n")  # fmt: skip
    done = home.main("run", *options)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_reserved_channel_is_named(home: Home) -> None:
    home.land("touchpoints", "t.csv", "touchpoint_id,customer_id,occurred_at,channel\n"
              "t1,k1,2026-01-01 10:00:00,(organic)\n")  # fmt: skip
    home.land("conversions", "c.csv", "conversion_id,customer_id,converted_at\n"
              "c1,k1,2026-01-04 10:00:00\n")  # fmt: skip
    done = home.main("run")
    assert done.returncode == 1
    assert "channels_bear_no_reserved_name: this name stands for" in done.stderr
    assert "(found: (organic))" in done.stderr


def test_a_lonely_day_of_the_future_is_told_with_its_file(home: Home) -> None:
    home.land("touchpoints", "touches.csv", "touchpoint_id,customer_id,occurred_at,channel\n"
              "t1,k1,2026-01-01 10:00:00,search\nt2,k1,2099-03-02 10:00:00,search\n")  # fmt: skip
    home.land("conversions", "c.csv", "conversion_id,customer_id,converted_at\n"
              "c1,k1,2026-01-04 10:00:00\n")  # fmt: skip
    done = home.main("run")
    assert done.returncode == 1
    said = "up to 2099-03-02, the newest day, of touchpoints/touches.csv"
    assert said in done.stderr


def test_nothing_landed_is_refused_by_name(home: Home) -> None:
    done = home.main("run")
    assert done.returncode == 3
    assert "conversions (absent), touchpoints (absent)" in done.stderr


def test_unwritable_publish_folder_is_named(after_run: Home) -> None:
    done = after_run.main("stage", environment={"ATTRIBUTION_PUBLISH": "/proc/publish"})
    assert done.returncode == 1
    assert "set ATTRIBUTION_PUBLISH" in done.stderr


def test_hostile_names_are_data(small: Home) -> None:
    hostile = "x'; drop table raw._files; --\"[bold]</script>=cmd()|../../\u202e"
    quoted = '"' + hostile.replace('"', '""') + '"'
    small.land(
        "touchpoints",
        "h_2026-01-05.csv",
        f"touchpoint_id,customer_id,occurred_at,channel\nh1,k9,2026-01-03,{quoted}\n",
    )
    small.land(
        "conversions",
        "h_2026-01-05.csv",
        f"conversion_id,customer_id,converted_at,goal\nh1,k9,2026-01-04,{quoted}\n",
    )
    done = small.must("run", "--set", json.dumps({hostile: 5}).join(["lookback_days_by_goal=", ""]))
    assert "[bold]</script>" in done.stdout
    assert small.published(
        "select conversions::double from channel_credit "
        "where goal = ? and channel = ? and model = 'markov'",
        [hostile, hostile],
    ) == [(1.0,)]


def test_doctor_and_status_tell_the_state_of_things(copy: Home) -> None:
    done = copy.must("doctor")
    assert "FAIL" not in done.stdout
    status = json.loads(copy.must("status", "--format", "json").stdout)
    assert status["current"] == copy.current.readlink().name
    assert status["last_run"]["finished"]
    assert status["rows"] == copy.manifest()["rows"]
    assert "publish" in copy.must("status").stdout
    parquet = copy.current / "parquet" / "channel_credit.parquet"
    parquet.chmod(0o644)
    parquet.write_bytes(b"")
    done = copy.main("doctor", environment={"ATTRIBUTION_HMAC_KEY": ""})
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 2
    assert "parquet/channel_credit.parquet" in failed[1]
    done = copy.main("doctor", environment={"ATTRIBUTION_HMAC_KEY": "another"})
    assert "FAIL  pseudonym key: load: earlier rows carry ids under key" in done.stdout


def test_doctor_names_a_refused_file_that_still_lies_there(copy: Home) -> None:
    landed = copy.land("touchpoints", "visits.csv", "id,person\n1,a\n")
    done = copy.main("run")
    assert done.returncode == 3
    assert "visits.csv (quarantined): A quarantined file in landing/" in done.stderr
    assert "`attribution quarantine list` says why" in done.stderr
    done = copy.main("doctor")
    assert done.returncode == 1
    assert "FAIL  refused files: touchpoints/visits.csv" in done.stdout
    landed.unlink()
    assert "FAIL" not in copy.must("doctor").stdout
    copy.land("touchpoints", "visits.csv", "touchpoint_id,customer_id,occurred_at,channel\n")
    copy.main("load")
    assert "FAIL" not in copy.must("doctor").stdout  # other bytes under its name are no such file


def test_status_before_the_first_run_is_no_error(home: Home) -> None:
    assert "nothing published" in home.must("status").stdout


def test_a_night_that_spills_goes_on(copy: Home) -> None:
    """dbt sets the engine up anew for every model, and where tables spill stays where it was."""
    copy.must("run", "--set", "memory_limit=60MB")

"""A night builds what changed; its tables are those of a full build, whatever came in between."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from conftest import Home, put_back
from faults import LONG, ledger_adds_up, say, times
from test_kills import start

from attribution import changes
from attribution.settings import Folders, load_settings
from attribution.transform import dbt

CUSTOMERS = 240
START = datetime(2026, 1, 1)
CHANNELS = ("branch", "e-mail", "search", "social")
HEADS = {
    "touchpoints": "touchpoint_id,customer_id,occurred_at,channel,source",
    "conversions": "conversion_id,customer_id,converted_at,goal,revenue,status",
    "steps": "step_id,customer_id,occurred_at,step",
    "identities": "anonymous_id,customer_id,linked_at",
}
# whatever statistics there are; a window that moves over the days, and a cap that is met
SET = (
    "--set", "lookback_days=5", "--set", "window_days=14", "--set", "sample_customers=100",
    "--set", "lookback_days_by_goal={loan: 3}", "--set", "max_touchpoints_per_customer=9",
    "--set", "models=[last_touch, linear, time_decay, markov, shapley, shao_li, ladder, "
    "additive_hazard, path_counterfactual]",
)  # fmt: skip
NO_KEYS = (
    "journeys.customer_entries", "journeys.heuristic_shares", "journeys.journey_conversions",
    "journeys.journey_touchpoints", "journeys.journeys", "statistics.ladder_customers",
)  # fmt: skip
WHOLE = (
    "statistics.coalition_counts", "statistics.coalition_members", "statistics.hazard_touches",
    "statistics.heuristic_counts", "statistics.ladder_days", "statistics.path_counts",
    "statistics.transition_counts", "staging.crowded_customers", "staging.duplicate_touchpoints",
    "staging.set_aside_touchpoints",
)  # fmt: skip


class World:
    """Files as a bank's exports deliver them, and all that may happen to them later."""

    def __init__(self, home: Home, seed: int) -> None:
        self.home, self.draw, self.count, self.day = home, random.Random(seed), 0, 0  # noqa: S311
        self.files: dict[str, list[Sequence[object]]] = {}
        self.booked: list[Sequence[object]] = []
        for _ in range(18):
            self.next_day()
        links = [(f"v{n}", self.someone("c"), self.time(self.day)) for n in range(0, CUSTOMERS, 4)]
        self.land("identities", "links.csv", links)

    def land(self, export: str, name: str, rows: Sequence[Sequence[object]]) -> None:
        lines = [",".join(map(str, row)) for row in rows]
        self.home.land(export, name, "\n".join([HEADS[export], *lines, ""]))

    def date(self, day: int) -> str:
        return (START + timedelta(days=day)).date().isoformat()

    def name(self, export: str, day: int) -> str:
        return f"{export}_{self.date(day)}.csv"

    def fresh(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def someone(self, kinds: str = "ccv") -> str:
        return f"{self.draw.choice(kinds)}{self.draw.randrange(CUSTOMERS)}"

    def time(self, day: int) -> str:
        return (START + timedelta(days=day, seconds=self.draw.randrange(86400))).isoformat()

    def touches(self, day: int, many: int, who: str | None = None) -> list[Sequence[object]]:
        draw = self.draw
        return [
            (self.fresh("t"), who or self.someone(), self.time(day),
             *draw.choice([(draw.choice(CHANNELS), ""), ("", "google"), ("", "newsletter")]))
            for _ in range(many)
        ]  # fmt: skip

    def next_day(self) -> None:
        day, draw = self.day, self.draw
        self.files[self.name("touchpoints", day)] = self.touches(day, 24)
        self.redeliver(self.name("touchpoints", day))
        booked = [
            (self.fresh("k"), self.someone("c"), self.time(day), draw.choice(["loan", "card"]),
             draw.randrange(500), "booked")
            for _ in range(5)
        ]  # fmt: skip
        self.booked += booked
        self.land("conversions", self.name("conversions", day), booked)
        steps = [
            (self.fresh("s"), self.someone(), self.time(day), draw.choice(["form_started", "x"]))
            for _ in range(6)
        ]
        self.land("steps", self.name("steps", day), steps)
        self.day += 1

    def redeliver(self, name: str) -> None:
        self.land("touchpoints", name, self.files[name])

    def late(self) -> None:
        self.land("touchpoints", f"{self.fresh('late')}.csv", self.touches(self.day - 6, 3))

    def corrected(self) -> None:
        """A file again: rows left, rows of another customer, rows of another channel."""
        name = self.draw.choice(sorted(self.files))
        self.files[name] = [
            (row[0], self.draw.choice([row[1], row[1], self.someone()]), *row[2:])
            for row in self.files[name]
            if self.draw.random() < 0.9
        ]
        self.redeliver(name)

    def cancelled(self) -> None:
        row = self.draw.choice(self.booked)
        again = (row[0], self.someone("c"), self.time(self.day - 1), *row[3:5], "cancelled")
        self.land("conversions", f"{self.fresh('x')}.csv", [again])

    def linked(self) -> None:
        rows = [(self.someone("v"), self.someone("c"), self.time(self.day - 3)) for _ in range(2)]
        self.land("identities", f"{self.fresh('i')}.csv", rows)

    def repeated(self) -> None:
        """A known id again, in a file that is older or newer than the first."""
        row = self.draw.choice(self.files[self.draw.choice(sorted(self.files))])
        name = self.name(self.fresh("again"), self.draw.randrange(self.day))
        self.land("touchpoints", name, [(row[0], self.someone(), *row[2:])])

    def crowded(self) -> None:
        touches = self.touches(self.day - 2, self.draw.randrange(4, 12), self.someone())
        self.land("touchpoints", f"{self.fresh('crowd')}.csv", touches)

    def ahead(self) -> None:
        """Touches of days that the run does not reach yet."""
        name = self.name(self.fresh("ahead"), self.day - 1)
        self.land("touchpoints", name, self.touches(self.day + 1, 2))

    HAPPENS = (late, corrected, cancelled, linked, repeated, crowded, ahead)

    def night(self) -> list[str]:
        happened = self.draw.sample(self.HAPPENS, self.draw.choice([0, 1, 2, 3]))
        if self.draw.random() < 0.4:
            self.next_day()
        for what in happened:
            what(self)
        return [what.__name__ for what in happened]


def build(home: Home, *arguments: str) -> object:
    """As far as the statistics; whose journeys were built."""
    for verb in (["load"], ["check", "exports"], ["build"]):
        home.must(*verb, *SET, *arguments)
    return built(home)


def built(home: Home) -> object:
    record = json.loads((home.path / "state" / "run.json").read_text())
    return record["steps"]["build"]["customers_built"]


def tables(home: Home) -> Iterator[tuple[str, list[tuple]]]:
    """Each table without keys of customers and numbers of builds, which differ."""
    for table in NO_KEYS:
        yield (
            table,
            home.warehouse(
                f"select columns(c -> c not in ('customer_key', 'build')) from {table} "
                "inner join staging.stg_customers using (customer_key) order by all"
            ),
        )
        assert home.warehouse(
            f"select count(*) from {table} anti join staging.stg_customers using (customer_key)"
        ) == [(0,)]
    for table in WHOLE:
        yield table, home.warehouse(f"from {table} order by all")


# in the three nights of this seed nearly everything happens that may
@pytest.mark.parametrize("seed", range(8) if LONG else [53])
def test_a_build_of_what_changed_equals_a_full_one(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "WORTH", 1)  # so small a world would be built at once
    ours, theirs = Home(tmp_path / "ours"), Home(tmp_path / "theirs")
    world = World(ours, seed)
    assert str(build(ours)).startswith("all: no build before")
    parts, nights = 0, times(3, 25)
    for night in range(1, nights + 1):
        happened = world.night()
        date = ["--date", world.date(world.day - 2)] if night % 3 == 2 else []
        parts += isinstance(build(ours, *date), int)
        if not LONG and night < nights:
            continue
        shutil.copytree(ours.path / "landing", theirs.path / "landing", dirs_exist_ok=True)
        assert str(build(theirs, "--set", "incremental=false", *date)).startswith("all: ")
        for (name, rows), (_, expected) in zip(tables(ours), tables(theirs), strict=True):
            assert rows == expected, (night, happened, name)
    assert parts > nights / 2
    say(f"seed {seed}: {parts} of {nights} builds were of changed customers alone, all the same")


def test_an_incremental_night_publishes_what_a_full_one_does(bank: Home) -> None:
    home = put_back(bank)
    [landed, *_] = sorted((home.path / "landing" / "conversions").iterdir())
    [(channel,)] = home.warehouse("select min(channel) from staging.stg_channels")
    conversion, late, *_ = landed.read_text().splitlines()[1].split(",")
    home.land(
        "touchpoints", "late_2026-02-20.csv",
        f"{HEADS['touchpoints']}\nnew1,{late},2026-02-20 10:00:00,{channel},\n"
        f"new2,nobody yet,2026-02-21 10:00:00,{channel},\n",
    )  # fmt: skip
    home.land(
        "conversions", "x_2026-02-21.csv",
        f"{HEADS['conversions']}\n{conversion},{late},2026-02-21 10:00:00,,0,cancelled\n",
    )  # fmt: skip
    before = home.hashes()
    home.must("run")
    customers = built(home)
    assert isinstance(customers, int)
    assert 0 < customers < 20
    assert home.manifest()["steps"]["build"]["customers_built"] == customers
    hashes = home.hashes()
    assert hashes != before
    home.must("run", "--full")
    assert built(home) == "all: asked for"
    assert home.hashes() == hashes


def test_dbt_by_hand_after_a_build_doubles_nothing(after_run: Home) -> None:
    where = Folders.from_environment(after_run.environment)
    tables = ("journey_touchpoints", "journeys", "customer_entries", "heuristic_shares")
    counts = [f"select count(*) from journeys.{table}" for table in tables]
    before = [after_run.warehouse(count) for count in counts]
    settings = load_settings(after_run.dbt_project)
    assert dbt(where, settings, {}, ["run", "--select", "path:models/journeys"]) >= len(tables)
    assert [after_run.warehouse(count) for count in counts] == before


def test_a_killed_incremental_build_is_followed_by_a_full_one(tmp_path: Path) -> None:
    home = Home(tmp_path)
    world = World(home, 1)
    build(home)
    for moment in (0.5, 3)[: times(1, 2)]:
        world.late()
        home.must("load", *SET)
        home.must("check", "exports", *SET)
        process = start(home, "build", *SET)
        wait_until_begun(home, process)
        time.sleep(moment)
        process.kill()
        process.communicate()
        ledger_adds_up(home)
        assert build(home) == "all: no build before this one came to its end"


def wait_until_begun(home: Home, process: subprocess.Popen[str]) -> None:
    """Until dbt runs: it takes most of a build."""
    log = home.path / "state" / "logs" / "dbt.log"
    size = log.stat().st_size
    while process.poll() is None and log.stat().st_size == size:
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("export", "rows", "replaces", "brings", "found"),
    [
        ("campaigns", 3, False, False, "campaigns"),
        ("campaigns", 3, False, True, None),  # it has rows of its own: those who have them changed
        ("campaigns", 0, False, False, None),  # an empty day
        ("campaigns", 0, True, False, "campaigns"),  # a correction that took all rows away
        ("touchpoints", 0, True, False, None),
    ],
)
def test_what_others_look_up_is_found_by_bringing_no_rows(
    export: str, rows: int, replaces: bool, brings: bool, found: str | None
) -> None:
    with duckdb.connect() as con:
        con.execute(
            "create schema raw; create schema staging; create table raw._new_files (file_id int); "
            "create table raw._built_files (file_id int); create table raw._files "
            "(file_id int, export varchar, state varchar, rows_loaded int)"
        )
        for name in ("touchpoints", "conversions", "spend"):
            con.execute(f"create table staging.all_{name} (_file_id int)")
        con.execute("insert into raw._files values (1, $e, 'loaded', $n)", {"e": export, "n": rows})
        con.execute("insert into raw._new_files values (1)")
        if replaces:
            con.execute("insert into raw._files values (2, ?, 'replaced', 3)", [export])
            con.execute("insert into raw._built_files values (2)")
        if brings:
            con.execute("insert into staging.all_spend values (1)")
        [(said,)] = con.execute(changes.LOOKED_UP, [list(changes.CANONICAL)]).fetchall()
    assert said == found


def test_what_makes_a_build_full_is_said(company: Callable[[str], Home]) -> None:
    home = company("lead_funnel")
    leads = "mql_id,first_contact_date,landing_page_id,origin\n"
    home.land("leads", "a.csv", leads + "".join(f"m{n},2026-01-01,p,search\n" for n in range(9)))
    home.land("deals", "a.csv", "mql_id,won_date,declared_monthly_revenue\nm1,2026-01-02,5\n")

    def night(*arguments: str) -> object:
        for verb in (["load"], ["check", "exports"], ["build"]):
            home.must(*verb, *arguments)
        return built(home)

    assert night() == "all: no build before this one came to its end"
    assert night("--set", "lookback_days=500") == "all: other settings than at the last build"
    rules = home.dbt_project / "seeds" / "channel_rules.csv"
    rules.write_text(rules.read_text() + "999,%,%,%never%,never\n")
    again = ("--set", "lookback_days=500")
    assert night(*again) == "all: another dbt project than at the last build"
    home.land("leads", "b.csv", leads + "m1,2026-01-01,p,search\n")
    assert night(*again) == 1
    home.land("leads", "c.csv", leads + "m99,2026-01-01,p,radio\n")
    assert night(*again) == "all: other channels than at the last build"


def test_a_value_that_returns_to_what_it_was_is_built(after_run: Home) -> None:
    """Its file has the bytes of an earlier one, of which every row is known."""
    first = after_run.path / "landing" / "conversions" / "c_2026-01-05.csv"
    revenue = "select sum(revenue) from channel_credit where model = 'last_touch'"
    [(before,)] = after_run.published(revenue)
    text = first.read_text()
    after_run.land("conversions", "c_2026-01-06.csv", text.replace("account,100,", "account,300,"))
    after_run.must("run")
    assert after_run.published(revenue) == [(before + 200,)]
    after_run.land("conversions", "c_2026-01-07.csv", text)
    after_run.must("run")
    assert after_run.manifest()["steps"]["build"]["customers_built"] not in (0, None)
    assert after_run.published(revenue) == [(before,)]
    hashes = after_run.hashes()
    after_run.must("run", "--full")
    assert after_run.hashes() == hashes

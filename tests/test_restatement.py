"""Whatever came late, twice, corrected or out of order: the tables are those of what is true now.

A hypothesis state machine delivers, redelivers, corrects, cancels, links, erases, runs, kills,
backfills and rolls back. An oracle in plain Python knows what last touch must say.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from conftest import Home
from faults import ledger_adds_up, published_is_whole, say, start, times
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

START = datetime(2026, 1, 1)
DAYS = 12
CHANNELS = ("search", "branch", "e-mail")
CUSTOMERS = tuple(f"k-{n}" for n in range(6))
VISITORS = tuple(f"v-{n}" for n in range(3))
LOOKBACK = timedelta(days=5)
SET = ("--set", f"lookback_days={LOOKBACK.days}", "--set", "models=[last_touch, linear]")


@dataclass(frozen=True)
class Row:
    id: str
    who: str
    when: datetime
    what: str = ""


class World:
    """What was delivered: the newest content of each file; who was erased."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], tuple[Row, ...]] = {}
        self.erased: set[str] = set()

    def rows(self, export: str) -> list[Row]:
        return [
            row
            for (kind, _), rows in sorted(self.files.items())
            if kind == export
            for row in rows
            if row.who not in self.erased and row.what not in self.erased
        ]

    def last_touch(self) -> Counter[str]:
        """Credit by channel, each conversion's last touch in its lookback and since the former."""
        cancelled = {row.id for row in self.rows("cancellations")}
        links = sorted(self.rows("identities"), key=lambda row: (row.who, row.when))
        touches = [
            (self.customer(row, links), row.when, row.id, row.what)
            for row in self.rows("touchpoints")
        ]
        conversions = sorted(self.rows("conversions"), key=lambda row: row.when)
        credit: Counter[str] = Counter()
        for conversion in conversions:
            if conversion.id in cancelled:
                continue
            former = max(
                (
                    c.when
                    for c in conversions
                    if c.who == conversion.who and c.when < conversion.when
                ),
                default=datetime.min,
            )
            inside = [
                (when, id, channel)
                for who, when, id, channel in touches
                if who == conversion.who
                and max(former, conversion.when - LOOKBACK - timedelta(microseconds=1)) < when
                and when <= conversion.when
            ]
            credit[max(inside)[2] if inside else "(unattributed)"] += 1
        return credit

    @staticmethod
    def customer(touch: Row, links: list[Row]) -> str:
        mine = [link for link in links if link.who == touch.who]
        later = [link for link in mine if link.when >= touch.when]
        return (later[0] if later else mine[-1]).what if mine else touch.who


def file_text(export: str, rows: tuple[Row, ...]) -> str:
    if export == "touchpoints":
        lines = [f"{r.id},{r.who},{r.when.isoformat()},{r.what}" for r in rows]
        return "\n".join(["touchpoint_id,customer_id,occurred_at,channel", *lines, ""])
    if export == "identities":
        lines = [f"{r.who},{r.what},{r.when.isoformat()}" for r in rows]
        return "\n".join(["anonymous_id,customer_id,linked_at", *lines, ""])
    status = "cancelled" if export == "cancellations" else "booked"
    lines = [f"{r.id},{r.who},{r.when.isoformat()},1,{status}" for r in rows]
    return "\n".join(["conversion_id,customer_id,converted_at,revenue,status", *lines, ""])


moments = st.integers(0, DAYS * 24 - 1).map(lambda hours: START + timedelta(hours=hours))
days = st.integers(0, DAYS - 1)


class Nights(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.home = Home(Path(tempfile.mkdtemp(prefix="nights-")))
        (self.home.path / "landing").mkdir()
        self.world, self.count, self.rng, self.published = World(), 0, 0, False
        end = START + timedelta(days=DAYS, hours=12)
        last = Row("c-last", CUSTOMERS[0], end)
        self.deliver("conversions", "last", (last,))  # so that the newest day stands still
        self.deliver("touchpoints", "last", (Row("t-last", CUSTOMERS[0], end, "search"),))

    def deliver(self, export: str, name: str, rows: tuple[Row, ...]) -> None:
        folder = "conversions" if export == "cancellations" else export
        self.world.files[export, name] = rows
        self.home.land(folder, f"{export}-{name}.csv", file_text(export, rows))

    def fresh(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}-{self.count}"

    @rule(
        name=days,
        rows=st.lists(
            st.tuples(st.sampled_from(CUSTOMERS + VISITORS), moments, st.sampled_from(CHANNELS)),
            max_size=6,
        ),
    )
    def touchpoints(self, name: int, rows: list[tuple[str, datetime, str]]) -> None:
        """A new file, a late one, or new bytes under an old name."""
        touches = tuple(Row(self.fresh("t"), *row) for row in rows)
        self.deliver("touchpoints", str(name), touches)

    @rule(name=days, rows=st.lists(st.tuples(st.sampled_from(CUSTOMERS), moments), max_size=3))
    def conversions(self, name: int, rows: list[tuple[str, datetime]]) -> None:
        apart = {(who, when): Row(self.fresh("c"), who, when) for who, when in rows}
        self.deliver("conversions", str(name), tuple(apart.values()))

    @precondition(lambda self: len(self.world.rows("conversions")) > 1)
    @rule(draw=st.integers(0, 99), moment=moments)
    def cancel(self, draw: int, moment: datetime) -> None:
        booked = sorted(self.world.rows("conversions"), key=lambda row: row.id)
        chosen = booked[draw % len(booked)]
        if chosen.id != "c-last":
            self.deliver("cancellations", self.fresh("x"), (Row(chosen.id, chosen.who, moment),))

    @rule(visitor=st.sampled_from(VISITORS), customer=st.sampled_from(CUSTOMERS[1:]), at=moments)
    def link(self, visitor: str, customer: str, at: datetime) -> None:
        known = {(row.who, row.when) for row in self.world.rows("identities")}
        if (visitor, at) not in known:  # of two links at one time the smaller pseudonym wins
            self.deliver("identities", self.fresh("i"), (Row("", visitor, at, customer),))

    @precondition(lambda self: self.world.files)
    @rule(draw=st.integers(0, 99))
    def redeliver(self, draw: int) -> None:
        """The same bytes under another name."""
        folder = self.home.path / "landing" / "touchpoints"
        files = sorted(path for path in folder.iterdir() if not path.name.startswith("again"))
        shutil.copyfile(files[draw % len(files)], folder / f"again-{files[draw % len(files)].name}")

    @rule()
    def run_(self) -> None:
        self.home.must("run", *SET)
        self.published = True
        credit = dict(
            self.home.published(
                "select channel, conversions::integer from channel_credit "
                "where model = 'last_touch' and segment = 'all' and conversions > 0"
            )
        )
        assert credit == dict(self.world.last_touch())

    @rule(moment=st.floats(0.1, 8))
    def kill(self, moment: float) -> None:
        process = start(self.home, "run", *SET)
        time.sleep(moment)
        process.kill()
        process.communicate()

    @rule(day=st.integers(1, DAYS))
    def backfill(self, day: int) -> None:
        """An earlier date; the next run is as if it never was."""
        date = (START + timedelta(days=day)).date().isoformat()
        done = self.home.main("run", "--date", date, *SET)
        nothing = "no conversion" in done.stderr or "no touchpoint" in done.stderr
        assert done.returncode == 0 or nothing, done.stderr
        self.published = self.published or done.returncode == 0

    @precondition(lambda self: self.published)
    @rule()
    def roll_back(self) -> None:
        done = self.home.main("rollback")
        assert done.returncode == 0 or "oldest version kept" in done.stderr

    @precondition(lambda self: len(self.world.erased) < 2)
    @rule(customer=st.sampled_from(CUSTOMERS[1:]))
    def erase(self, customer: str) -> None:
        loaded = self.home.main("load", *SET)  # links that were landed and not read are not known
        assert loaded.returncode == 0
        visitors = {r.who for r in self.world.rows("identities") if r.what == customer}
        done = self.home.main("erase", customer)
        assert done.returncode == 0, done.stderr
        self.world.erased |= {customer} | visitors

    @invariant()
    def what_is_published_is_whole(self) -> None:
        if hasattr(self, "home"):
            run_id = published_is_whole(self.home)
            assert run_id is not None or not self.published
            ledger_adds_up(self.home)

    def teardown(self) -> None:
        """The end state is that of a home which got the same files at once."""
        if not hasattr(self, "home"):
            return
        self.run_()
        if not self.world.erased:
            other = Home(Path(tempfile.mkdtemp(prefix="nights-at-once-")))
            shutil.copytree(self.home.path / "landing", other.path / "landing")
            other.must("run", *SET)
            ours, theirs = self.home.hashes(), other.hashes()
            ours.pop("load_files"), theirs.pop("load_files")  # one remembers what was replaced
            assert ours == theirs
            shutil.rmtree(other.path)
        shutil.rmtree(self.home.path)


TestNights = Nights.TestCase
TestNights.settings = settings(
    max_examples=times(2, 12),
    stateful_step_count=times(8, 20),
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[],
)


def test_the_oracle_knows_a_case_by_hand() -> None:
    world = World()
    day = timedelta(days=1)
    world.files["touchpoints", "a"] = (
        Row("t1", "v-1", START, "search"),
        Row("t2", "k-1", START + day, "branch"),
        Row("t3", "k-2", START, "e-mail"),
    )
    world.files["identities", "a"] = (Row("", "v-1", START + 2 * day, "k-3"),)
    world.files["conversions", "a"] = (
        Row("c1", "k-1", START + 2 * day),
        Row("c2", "k-3", START + 2 * day),
        Row("c3", "k-2", START + 9 * day),
        Row("c4", "k-1", START + 3 * day),
        Row("c5", "k-1", START + 3 * day),
    )
    world.files["cancellations", "a"] = (Row("c5", "k-1", START),)
    assert world.last_touch() == {"branch": 1, "search": 1, "(unattributed)": 2}
    say("a state machine of nights follows")

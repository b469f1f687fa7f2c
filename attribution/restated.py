"""What the version says differently from the one before it, over the days that both cover."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb

from attribution.errors import AttributionError
from attribution.report_journeys import YARDSTICK
from attribution.warehouse import open_published

# Settings that make every figure another one, whatever rows came.
BASES = ("reporting_currency", "reporting_timezone", "lookback_days", "lookback_days_by_goal")

# Figures by day and goal, then by day and channel; cost knows no goal.
BY_DAY = (
    "select date, goal, sum(conversions)::double, sum(revenue)::double, 0.0::double "
    "from channel_credit_daily where model = ? and cost is null group by all",
    "select date, channel, sum(conversions)::double, sum(revenue)::double, "
    "coalesce(sum(cost), 0)::double from channel_credit_daily where model = ? group by all",
)

Key = tuple[date, str]  # a day, and a goal or a channel
Figures = list[float]  # conversions, revenue, cost


@dataclass(frozen=True)
class Change:
    """Totals of a goal or of a channel over the common days, and on how many days they differ."""

    name: str
    days: int
    then: Figures
    now: Figures


@dataclass(frozen=True)
class Restated:
    """How the version of `run_date` differs, by last touch; only what changed.

    settings : (name, then, now) of the BASES that differ: then the figures are not compared.
    """

    run_date: date
    first: date
    last: date
    settings: list[tuple[str, str, str]]
    goals: list[Change] = field(default_factory=list)
    channels: list[Change] = field(default_factory=list)


def compare(
    con: duckdb.DuckDBPyConnection, first: date, last: date, previous: Path | None
) -> Restated | None:
    """Marts of this version, which `con` has open, beside those of `previous`, a version's folder.

    Returns None where there is no version before, where it cannot be read (nobody's night should
    fail for that), or where the two have no day in common.
    """
    if previous is None or not (previous / "attribution.duckdb").is_file():
        return None
    try:
        with open_published(previous) as earlier:
            said, then = _settings(earlier), [_by_day(earlier, sql) for sql in BY_DAY]
        run_date = date.fromisoformat(said["run_date"])
        begin = max(first, _window(then[0], run_date, said["window_days"]))
    except (AttributionError, duckdb.Error, KeyError, TypeError, ValueError):
        return None
    end = min(last, run_date)
    if begin > end:
        return None
    here = _settings(con)
    bases = [(b, said.get(b, ""), here.get(b, "")) for b in BASES if said.get(b) != here.get(b)]
    if bases:
        return Restated(run_date, begin, end, bases)
    now = [_by_day(con, sql) for sql in BY_DAY]
    goals, channels = (
        _changes(*({k: v for k, v in days.items() if begin <= k[0] <= end} for days in both))
        for both in zip(then, now, strict=True)
    )
    return Restated(run_date, begin, end, [], goals, channels)


def _settings(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    return dict(
        con.execute(
            "select name, value from run_manifest where section in ('run', 'settings')"
        ).fetchall()
    )


def _by_day(con: duckdb.DuckDBPyConnection, sql: str) -> dict[Key, Figures]:
    found = con.execute(sql, [YARDSTICK]).fetchall()
    return {(day, name): figures for day, name, *figures in found}


def _window(goals: Mapping[Key, Figures], run_date: date, window_days: str) -> date:
    if window_days == "all":
        return min((day for day, _ in goals), default=run_date)
    return date.fromordinal(run_date.toordinal() - int(window_days) + 1)


def _changes(then: Mapping[Key, Figures], now: Mapping[Key, Figures]) -> list[Change]:
    """What has a day with another figure, with its totals over all days."""
    nothing = [0.0, 0.0, 0.0]
    days: dict[str, list[tuple[Figures, Figures]]] = defaultdict(list)
    for key in sorted(then.keys() | now.keys()):
        days[key[1]].append((then.get(key, nothing), now.get(key, nothing)))
    found = []
    for name, both in sorted(days.items()):
        changed = sum(any(abs(a - b) > 1e-6 for a, b in zip(*day, strict=True)) for day in both)
        if changed:
            totals = [
                [sum(column) for column in zip(*side, strict=True)]
                for side in zip(*both, strict=True)
            ]
            found.append(Change(name, changed, *totals))
    return found

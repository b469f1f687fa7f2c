"""What the version says differently from the one before it, over the days that both cover."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from attribution.errors import AttributionError
from attribution.report_facts import Facts
from attribution.report_journeys import YARDSTICK
from attribution.warehouse import open_published

Day = tuple[date, str]


@dataclass(frozen=True)
class Restated:
    """Totals over the common days, then (the version before) and now.

    goals : (goal, conversions then, now, revenue then, now, days that changed), goals that changed.
    """

    run_date: date
    first: date
    last: date
    goals: list[tuple[str, float, float, float, float, int]]


def compare(facts: Facts, first: date, last: date, previous: Path) -> Restated | None:
    """Facts of this version beside the marts of `previous`, a version's folder.

    Returns None where there is no version before, where it cannot be read (nobody's night should
    fail for that), or where the two have no day in common.
    """
    if not (previous / "attribution.duckdb").is_file():
        return None
    try:
        with open_published(previous) as con:
            rows = con.execute(
                "select date, goal, sum(conversions)::double, sum(revenue)::double "
                "from channel_credit_daily where model = ? and cost is null group by date, goal",
                [YARDSTICK],
            ).fetchall()
            said = con.execute(
                "select max(case when name = 'run_date' then value end), "
                "max(case when name = 'window_days' then value end) from run_manifest "
                "where section in ('run', 'settings')"
            ).fetchall()
        run_date = date.fromisoformat(said[0][0])
        begin = max(first, _window(rows, run_date, said[0][1]))
    except (AttributionError, duckdb.Error, TypeError, ValueError):
        return None
    end = min(last, run_date)
    if begin > end:
        return None
    then = {(day, goal): (c, r) for day, goal, c, r in rows if begin <= day <= end}
    now = {(day, goal): (c, r) for day, goal, c, r in facts.daily if begin <= day <= end}
    return Restated(run_date, begin, end, _differences(then, now))


def _window(rows: list[tuple[date, str, float, float]], run_date: date, window_days: str) -> date:
    if window_days == "all":
        return min((day for day, *_ in rows), default=run_date)
    return date.fromordinal(run_date.toordinal() - int(window_days) + 1)


def _differences(
    then: dict[Day, tuple[float, float]], now: dict[Day, tuple[float, float]]
) -> list[tuple[str, float, float, float, float, int]]:
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0] * 5)
    for key in sorted(then.keys() | now.keys()):
        before, after = then.get(key, (0.0, 0.0)), now.get(key, (0.0, 0.0))
        changed = any(abs(a - b) > 1e-6 for a, b in zip(before, after, strict=True))
        figures = (before[0], after[0], before[1], after[1], float(changed))
        sums[key[1]] = [a + b for a, b in zip(sums[key[1]], figures, strict=True)]
    return [(goal, *s[:4], int(s[4])) for goal, s in sorted(sums.items()) if s[4]]  # type: ignore[misc]

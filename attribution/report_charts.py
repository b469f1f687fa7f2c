"""Where the charts of the report put their marks: positions in percent, so that a chart is as wide
as its reader's screen and its words stay text. The template draws them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

from attribution.report_facts import NO_CHANNEL, Credit, Facts, Scope
from attribution.report_journeys import YARDSTICK

WEEKS = 26
TRENDS = 8
BAR = 120  # pixels of the highest week
# where the classes of journeys begin, in touches and in days
LENGTHS = (1, 2, 3, 4, 5, 6, 8, 11, 16, 21)
LAGS = (0, 1, 2, 4, 8, 15, 22, 31, 46, 61)


def dot_plot(facts: Facts, scope: Scope) -> dict[str, Any]:
    """Rows of channels, by the model that the page opens with; positions in percent of the axis."""
    credit = {
        model: [row for row in rows if row.channel not in NO_CHANNEL]
        for model, rows in facts.credit[scope].items()
    }
    order = credit.get(facts.default_model) or credit[YARDSTICK]
    shown = [row for rows in credit.values() for row in rows]
    top = max((max(row.share, row.high or 0.0) for row in shown), default=1.0)
    bottom = min((min(row.share, row.low or 0.0, 0.0) for row in shown), default=0.0)
    steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25)  # shares that may be negative may exceed all of them
    wide = top - bottom
    step = next((step for step in steps if wide / step <= 6), math.ceil(wide / 6))
    begin, end = math.floor(bottom / step), max(1, math.ceil(top / step))  # in steps

    def place(share: float) -> str:
        return f"{100 * (share / step - begin) / (end - begin):.2f}"

    by_name = {m: {r.channel: r for r in rows} for m, rows in credit.items()}
    names = [row.channel for row in order]
    names += sorted({c for found in by_name.values() for c in found} - set(names))
    return {
        "ticks": [(place(i * step), i * step) for i in range(begin, end + 1)],
        "rows": [
            (
                channel,
                [
                    (m, _dot(found[channel], place))
                    for m, found in by_name.items()
                    if channel in found
                ],
            )
            for channel in names
            if any(found[channel].share for found in by_name.values() if channel in found)
        ],
    }


def _dot(row: Credit, place: Callable[[float], str]) -> tuple[str, str | None, str | None]:
    if row.low is None or row.high is None:
        return place(row.share), None, None
    return place(row.share), place(row.low), place(row.high)


def _mondays(first: date, last: date) -> list[date]:
    """The mondays of the last WEEKS weeks."""
    monday = last - timedelta(days=last.weekday())
    begin = max(first - timedelta(days=first.weekday()), monday - timedelta(weeks=WEEKS - 1))
    return [begin + timedelta(weeks=i) for i in range((monday - begin).days // 7 + 1)]


def weeks(facts: Facts, scope: Scope, first: date, last: date) -> list[dict[str, Any]]:
    """Conversions of each week; a week that the window cuts is marked."""
    found: dict[date, float] = defaultdict(float)
    for day, goal, conversions, _ in facts.daily:
        if scope in (None, goal):
            found[day - timedelta(days=day.weekday())] += conversions
    mondays = _mondays(first, last)
    top = max((found[monday] for monday in mondays), default=0.0) or 1.0
    return [
        {
            "monday": monday,
            "conversions": found[monday],
            "height": f"{BAR * found[monday] / top:.1f}",
            "part": monday < first or monday + timedelta(days=6) > last,
        }
        for monday in mondays
    ]


def trends(facts: Facts, first: date, last: date) -> list[dict[str, Any]]:
    """A line for each of a model's largest channels, of whole weeks only."""
    mondays = [
        monday
        for monday in _mondays(first, last)
        if monday >= first and monday + timedelta(days=6) <= last
    ]
    sums: dict[tuple[Scope, str, str, date], float] = defaultdict(float)
    for week, goal, model, channel, conversions in facts.weekly:
        for scope in (None, goal):
            sums[scope, model, channel, week] += conversions
    by_day = {model for _, _, model, *_ in facts.weekly}
    lines = []
    for scope, by_model in facts.credit.items():
        for model, rows in by_model.items():
            shown = [row.channel for row in rows if row.channel not in NO_CHANNEL][:TRENDS]
            if len(mondays) < 2 or model not in by_day:
                shown = []
            values = {c: [sums[scope, model, c, monday] for monday in mondays] for c in shown}
            top = max((v for line in values.values() for v in line), default=0.0) or 1.0
            lines.append(
                {
                    "scope": scope,
                    "model": model,
                    "lines": [(c, line, _polyline(line, top)) for c, line in values.items()],
                }
            )
    return lines


def _polyline(values: list[float], top: float) -> str:
    step = 100 / max(1, len(values) - 1)
    return " ".join(f"{i * step:.1f},{38 - 36 * v / top:.1f}" for i, v in enumerate(values))


def bars(
    counts: list[tuple[int, int]], starts: tuple[int, ...], small: int
) -> list[dict[str, Any]]:
    """Journeys by length or lag, in classes that begin at `starts`.

    A class of fewer than `small` journeys joins its neighbour, so that none is few.
    """
    sizes = [0] * len(starts)
    for value, journeys in counts:
        sizes[max(0, sum(value >= start for start in starts) - 1)] += journeys
    merged: list[list[int]] = []
    for start, size in zip(starts, sizes, strict=True):
        if merged and (merged[-1][1] < small):
            merged[-1][1] += size
        else:
            merged.append([start, size])
    while len(merged) > 1 and merged[-1][1] < small:
        merged[-2][1] += merged.pop()[1]
    whole = sum(size for _, size in merged)
    if whole < small:
        return []
    ends: list[int | None] = [start - 1 for start, _ in merged[1:]]
    top = max(size for _, size in merged)
    return [
        {
            "from": start,
            "to": end,
            "journeys": size,
            "share": size / whole,
            "width": f"{100 * size / top:.1f}",
        }
        for (start, size), end in zip(merged, [*ends, None], strict=True)
    ]


def heat(facts: Facts, small: int) -> dict[str, Any]:
    """How often a touch of one channel is followed by one of another, or by the conversion.

    Cells of fewer than `small` journeys say nothing, and no row is added up: nothing can be
    subtracted from a total.
    """
    cells = {
        (channel, following): (handovers, journeys)
        for channel, following, handovers, journeys in facts.handovers
    }
    size: dict[str, int] = defaultdict(int)
    for (channel, _), (handovers, _) in cells.items():
        if channel is not None:
            size[channel] += handovers
    names: list[str | None] = [*sorted(size, key=lambda name: (-size[name], name))]
    if any(channel is None for channel, _ in cells):
        names.append(None)
    shown = {key: n for key, (n, journeys) in cells.items() if journeys >= small}
    top = max(shown.values(), default=1)
    columns: list[str | None] = [*names, ""]
    return {
        "columns": columns,
        "rows": [
            (name, [_cell(cells, shown, top, (name, following)) for following in columns])
            for name in names
        ],
    }


def _cell(
    cells: Mapping[Any, Any], shown: Mapping[Any, int], top: int, key: tuple[str | None, str | None]
) -> tuple[int | None, int]:
    """Handovers and a shade from 0 to 9; None where they are few, 0 where there are none."""
    if key not in cells:
        return 0, 0
    if key not in shown:
        return None, 0
    return shown[key], shade((shown[key] / top) ** 0.5)  # a few cells are far larger than the rest


def shade(part: float) -> int:
    """A shade from 1 to 9 for a part of the largest, 0 for nothing."""
    return max(1, round(9 * min(part, 1.0))) if part > 0 else 0

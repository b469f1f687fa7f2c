"""What the report says, read from the marts of one version: a few small tables, nothing per person.

Totals are those of the model last_touch, which every run has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import duckdb

from attribution.report_journeys import (
    YARDSTICK,
    collect_touches,
    ends,
    handovers,
    journeys_by,
    medians,
)

# Which model the page opens with, the first of them that credits every goal: see docs/truth.md.
PREFERRED = ("ladder_calibrated", "ladder", "markov", "shapley", YARDSTICK)
NO_CHANNEL = ("(organic)", "(baseline)", "(unattributed)")
TOP_PATHS = 15
SEGMENT_VALUES = 8

Row = dict[str, Any]
Scope = str | None  # a goal; None for all goals together


@dataclass(frozen=True)
class Credit:
    """What one model gives one channel; None is what is not known or does not apply."""

    channel: str
    conversions: float
    revenue: float
    share: float
    low: float | None = None
    high: float | None = None
    change: float | None = None
    few: bool = False
    cost: float | None = None
    cost_per_conversion: float | None = None
    return_on_spend: float | None = None


@dataclass(frozen=True)
class Facts:
    """One version's marts, boiled down to what the page shows.

    credit : by goal (None: all together), then by model; channels by their credit.
    daily : (day, goal, conversions, revenue); spend : (day, channel, cost).
    weekly : (week's monday, goal, model, channel, conversions).
    lengths, lags : (touches, or whole days; journeys). medians : both, by goal.
    ends : (first channel, last channel, journeys), pairs of few journeys left out.
    handovers : (channel, next channel, handovers, journeys); None as a channel stands for those
        beyond the largest, "" as the next one for the conversion.

    What counts journeys in small cells is over all goals alone: beside a table of all goals, those
    of single goals would tell by subtraction what they hide.
    """

    goals: list[str]
    models: list[str]
    credit: dict[Scope, dict[str, list[Credit]]]
    daily: list[tuple[date, str, float, float]]
    spend: list[tuple[date, str, float]]
    weekly: list[tuple[date, str, str, str, float]]
    paths: list[Row]
    lengths: list[tuple[int, int]]
    lags: list[tuple[int, int]]
    medians: dict[str, tuple[float, float]]
    ends: list[tuple[str, str, int]]
    handovers: list[tuple[str | None, str | None, int, int]]
    journeys: dict[str, dict[str, float]]
    unattributed: list[tuple[str, float]]
    files: list[Row]
    set_aside: list[tuple[str, str, int]]
    segments: list[Row]
    default_model: str
    refused: dict[str, list[str]] = field(default_factory=dict)
    segments_model: str | None = None  # the ladder is not fitted to segments


def read_facts(con: duckdb.DuckDBPyConnection, settings: Mapping[str, Any]) -> Facts:
    """Facts of the version that `con` has open.

    settings : those of its manifest.
    """
    rows = _rows(
        con,
        "select * replace (conversions::double as conversions, revenue::double as revenue) "
        "from channel_credit where segment = 'all' order by goal, model, conversions desc, channel",
    )
    performance = _rows(
        con,
        "select model, channel, conversions::double as conversions, revenue::double as revenue, "
        "cost::double as cost, cost_per_conversion, return_on_spend, change_vs_last_touch "
        "from channel_performance order by model, conversions desc, channel",
    )
    collect_touches(con)
    models = [model for model in settings["models"] if any(r["model"] == model for r in rows)]
    goals = _by_size(rows)
    credit: dict[Scope, dict[str, list[Credit]]] = {
        None: _all_goals(rows, performance, settings["few_conversions"])
    }
    if len(goals) > 1:
        credit |= {goal: _one_goal([r for r in rows if r["goal"] == goal]) for goal in goals}
    whole = credit[None]
    default = next(model for model in PREFERRED if model in whole)
    segments_model = _segments_model(con)
    return Facts(
        goals=goals,
        models=models,
        credit=credit,
        daily=con.execute(
            "select date, goal, sum(conversions)::double, sum(revenue)::double "
            "from channel_credit_daily where model = ? and cost is null "
            "group by date, goal order by date, goal",
            [YARDSTICK],
        ).fetchall(),
        spend=con.execute(
            "select date, channel, sum(cost)::double from channel_credit_daily "
            "where model = ? and cost is not null group by date, channel order by date, channel",
            [YARDSTICK],
        ).fetchall(),
        weekly=con.execute(
            "select date_trunc('week', date)::date as week, goal, model, channel, "
            "sum(conversions)::double from channel_credit_daily where cost is null "
            "group by all order by all"
        ).fetchall(),
        paths=_top_paths(con),
        lengths=journeys_by(con, "touches"),
        lags=journeys_by(con, "days"),
        medians=medians(con, settings["small_cell"]),
        ends=ends(con, settings["small_cell"]),
        handovers=handovers(con),
        journeys=_journeys(con),
        unattributed=con.execute(
            "select unattributed_reason, sum(credit)::double from conversion_credit "
            "where model = ? and channel = '(unattributed)' group by 1 order by 2 desc, 1",
            [YARDSTICK],
        ).fetchall(),
        files=_files(con),
        set_aside=con.execute(
            "select export, reason, set_aside_rows from load_set_aside order by all"
        ).fetchall(),
        segments=_segments(con, segments_model),
        segments_model=segments_model,
        default_model=default,
        refused=_refused(con),
    )


def _rows(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any] | dict[str, Any] | None = None
) -> list[Row]:
    result = con.execute(sql, parameters)
    names = [column[0] for column in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _by_size(rows: list[Row]) -> list[str]:
    conversions: dict[str, float] = defaultdict(float)
    for row in rows:
        if row["model"] == YARDSTICK:
            conversions[row["goal"]] += row["conversions"]
    return sorted(conversions, key=lambda goal: (-conversions[goal], goal))


def _one_goal(rows: list[Row]) -> dict[str, list[Credit]]:
    yardstick = {r["channel"]: r["conversions"] for r in rows if r["model"] == YARDSTICK}
    found: dict[str, list[Credit]] = defaultdict(list)
    for row in rows:
        before = yardstick.get(row["channel"]) or 0.0
        found[row["model"]].append(
            Credit(
                channel=row["channel"],
                conversions=row["conversions"],
                revenue=row["revenue"],
                share=row["share"],
                low=row["share_low"],
                high=row["share_high"],
                change=row["conversions"] / before - 1 if before else None,
                few=bool(row["few_conversions"]),
            )
        )
    return _channels_first(found)


def _all_goals(rows: list[Row], performance: list[Row], few: int) -> dict[str, list[Credit]]:
    """Credit over all goals, with cost.

    Its interval is the goals' intervals weighted by their conversions: standard errors of parts add
    up to no less than that of the whole, so it is rather too wide than too narrow.
    """
    totals: dict[str, float] = defaultdict(float)
    for row in rows:
        if row["model"] == YARDSTICK:
            totals[row["goal"]] += row["conversions"]
    whole = sum(totals.values())
    parts: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        parts[row["model"], row["channel"]].append(row)
    found: dict[str, list[Credit]] = defaultdict(list)
    for row in performance:
        own = parts[row["model"], row["channel"]]
        touched = sum(part["influenced_conversions"] or 0 for part in own)
        is_few = bool(own[0]["few_conversions"]) if len(own) == 1 else touched < few
        found[row["model"]].append(
            Credit(
                channel=row["channel"],
                conversions=row["conversions"],
                revenue=row["revenue"],
                share=row["conversions"] / whole,
                low=_weighted(own, "share_low", totals),
                high=_weighted(own, "share_high", totals),
                change=row["change_vs_last_touch"],
                few=row["channel"] not in NO_CHANNEL and is_few,
                cost=row["cost"],
                cost_per_conversion=row["cost_per_conversion"],
                return_on_spend=row["return_on_spend"],
            )
        )
    return _channels_first(found)


def _channels_first(found: Mapping[str, list[Credit]]) -> dict[str, list[Credit]]:
    """What is no channel comes last, whatever its size."""
    return {m: sorted(rows, key=lambda row: row.channel in NO_CHANNEL) for m, rows in found.items()}


def _weighted(parts: list[Row], end: str, totals: Mapping[str, float]) -> float | None:
    """The mean of an interval's end over goals; None where a goal with credit has none."""
    if not any(part[end] is not None for part in parts):
        return None
    weighed = 0.0
    for part in parts:
        if part[end] is None and part["share"]:
            return None
        weighed += totals[part["goal"]] * (part[end] or 0.0)
    return weighed / sum(totals.values())


def _top_paths(con: duckdb.DuckDBPyConnection) -> list[Row]:
    """The paths of most conversions of each goal and of all, with what lies in (rare paths)."""
    return _rows(
        con,
        "select goal, path, journeys, conversions, revenue::double as revenue, "
        "median_days_to_conversion as days from conversion_paths "
        "qualify path = '(rare paths)' or row_number() over "
        "(partition by goal, path = '(rare paths)' order by conversions desc, path) <= ? "
        "order by conversions desc, path, goal",
        [TOP_PATHS],
    )


def _journeys(con: duckdb.DuckDBPyConnection) -> dict[str, dict[str, float]]:
    """Counts of journeys and conversions by goal, under the names of model_diagnostics."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for goal, name, value in con.execute(
        "select goal, name, value from model_diagnostics "
        "where model = '(journeys)' and segment = 'all' order by all"
    ).fetchall():
        found[goal][name] = value
    return dict(found)


def _files(con: duckdb.DuckDBPyConnection) -> list[Row]:
    return _rows(
        con,
        "select export, count(*) as files, max(file_date) as newest, "
        "sum(rows_read)::bigint as read, sum(rows_loaded)::bigint as loaded, "
        "sum(rows_rejected)::bigint as rejected, sum(rows_suppressed)::bigint as suppressed, "
        "sum(rows_deduplicated)::bigint as deduplicated, "
        "count(*) filter (state = 'quarantined') as quarantined "
        "from load_files where state in ('loaded', 'quarantined') group by export order by export",
    )


def _segments_model(con: duckdb.DuckDBPyConnection) -> str | None:
    """The preferred one of the models that were fitted to segments."""
    rows = con.execute(
        "select distinct model from channel_credit where segment <> 'all'"
    ).fetchall()
    fitted = {model for (model,) in rows}
    return next((model for model in (*PREFERRED, *sorted(fitted)) if model in fitted), None)


def _segments(con: duckdb.DuckDBPyConnection, model: str | None) -> list[Row]:
    """Shares within the largest values of each segment, by one model."""
    return _rows(
        con,
        "with sizes as (select goal, segment, segment_value, sum(conversions)::double as size "
        "from channel_credit where model = $model and segment <> 'all' "
        "group by goal, segment, segment_value qualify row_number() over "
        "(partition by goal, segment order by size desc, segment_value) <= $values) "
        "select goal, segment, segment_value, size, channel, share from sizes "
        "join channel_credit using (goal, segment, segment_value) where model = $model "
        "order by goal, segment, size desc, segment_value, channel",
        {"model": model, "values": SEGMENT_VALUES},
    )


def _refused(con: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Goals that a model could not be fitted on."""
    found: dict[str, list[str]] = defaultdict(list)
    for model, goal in con.execute(
        "select distinct model, goal from model_diagnostics "
        "where name = 'refused' and segment = 'all' order by all"
    ).fetchall():
        found[model].append(goal)
    return dict(found)

"""The marketer's page: `report.html`, one file that needs nothing else.

Facts of the version become the few shapes that the template draws. The template escapes every
value; its one style and one script are our own texts, allowed by their hashes and nothing beside.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import jinja2

from attribution import report_charts as charts
from attribution.report_facts import NO_CHANNEL, Credit, Facts, Scope
from attribution.report_findings import findings, spreads
from attribution.report_journeys import YARDSTICK
from attribution.report_periods import Period, compare_periods, feeds, known_spend, window
from attribution.report_warnings import warnings
from attribution.restated import Restated
from attribution.wording import PAGES, Wording, breakable, visible


def render(
    facts: Facts, manifest: Mapping[str, Any], restated: Restated | None, wording: Wording
) -> str:
    """The page as text.

    restated : how the version before differs, None where there is none.
    Equal facts, manifest and wording give equal bytes.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": wording.number,
        "credit": wording.credit,
        "percent": wording.percent,
        "change": wording.change,
        "each": wording.each,
        "day": wording.day,
        "short_day": wording.short_day,
        "plain": visible,
        "visible": breakable,
    }
    style, script = ((PAGES / name).read_text("utf-8") for name in ("report.css", "report.js"))
    first, last = window(facts, manifest)
    periods = compare_periods(facts, first, last)
    scopes: list[Scope] = list(facts.credit)
    small: int = manifest["settings"]["small_cell"]
    return environment.get_template("report.html.j2").render(
        facts=facts,
        manifest=manifest,
        settings=manifest["settings"],
        style=style,
        script=script,
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
        t=wording.text,
        w=wording,
        first=first,
        last=last,
        days=(last - first).days + 1,
        staged_at=datetime.fromisoformat(manifest["staged_at"]),
        warnings=warnings(manifest, wording),
        periods=periods,
        known_spend=known_spend(facts, periods),
        costly=len(feeds(facts)),
        findings=list(findings(facts, wording, periods[0].missing)),
        scopes=scopes,
        no_channel=NO_CHANNEL,
        yardstick=YARDSTICK,
        totals={scope: _total(facts, scope, periods[0]) for scope in scopes},
        coverage=_coverage(facts.credit[None][YARDSTICK]),
        matrices={scope: _matrix(facts, scope, wording) for scope in scopes},
        goals=[_goal(facts, goal) for goal in facts.goals] + _cancelled_goals(facts),
        plots={scope: charts.dot_plot(facts, scope) for scope in scopes},
        weeks={scope: charts.weeks(facts, scope, first, last) for scope in scopes},
        trends=charts.trends(facts, first, last),
        paths={scope: _paths(facts, scope) for scope in scopes},
        lengths=charts.bars(facts.lengths, charts.LENGTHS, small),
        lags=charts.bars(facts.lags, charts.LAGS, small),
        heat=charts.heat(facts, small),
        segments=_segments(facts),
        restated=restated,
        says=partial(_says, manifest["settings"], wording),
        most_weeks=charts.WEEKS,
    )


def _says(settings: Mapping[str, Any], wording: Wording, model: str) -> str:
    """What a model does, as it is set up."""
    if model == "position_based":
        shares = {end: settings[f"{model}_{end}"] for end in ("first", "last")}
        ends = {
            end: wording.percent(share, int(round(share * 100, 6) % 1 > 0))
            for end, share in shares.items()
        }
        return wording.text("says_position_based", **ends)
    if model == "shapley" and settings["shapley_game"] != "conversions":
        return wording.text("says_shapley_rate", game=settings["shapley_game"])
    if model == "markov" and settings["markov_nulls"] == "ignore":
        return wording.text("says_markov_ignore")
    return wording.text(f"says_{model}")


def _total(facts: Facts, scope: Scope, whole: Period) -> Credit:
    """The last line of a table; without ratios where spend does not cover the window."""
    rows = facts.credit[scope][YARDSTICK]
    spent = [row.cost for row in rows if row.cost is not None]
    conversions, revenue = sum(r.conversions for r in rows), sum(r.revenue for r in rows)
    cost = sum(spent) if spent else None
    known = None if whole.missing else cost
    return Credit(
        channel="",
        conversions=conversions,
        revenue=revenue,
        share=1.0,
        cost=cost,
        cost_per_conversion=known / conversions if known is not None and conversions > 0 else None,
        return_on_spend=revenue / known if known else None,
    )


def _coverage(rows: list[Credit]) -> float:
    """Share of conversions that had any touch."""
    return 1 - sum(row.share for row in rows if row.channel == "(unattributed)")


def _matrix(facts: Facts, scope: Scope, wording: Wording) -> list[dict[str, Any]]:
    """Channels by models, the largest first by the model that the page opens with."""
    credit = facts.credit[scope]
    found = {model: {row.channel: row for row in rows} for model, rows in credit.items()}
    apart = spreads(credit)
    first = found.get(facts.default_model) or found[YARDSTICK]
    named = [row for rows in credit.values() for row in rows if row.channel not in NO_CHANNEL]
    top = max((row.share for row in named), default=0.0) or 1.0
    size = {row.channel: row.share for row in first.values()}
    order = sorted(apart, key=lambda c: (c in NO_CHANNEL, -size.get(c, 0.0), c))
    rows = []
    for channel in order:
        cells = [found.get(model, {}).get(channel) for model in facts.models]
        if not any(cell and cell.share for cell in cells):
            continue
        rows.append(
            {
                "channel": channel,
                "apart": apart[channel],
                "cells": [cell and _matrix_cell(cell, top, wording) for cell in cells],
            }
        )
    return rows


def _matrix_cell(row: Credit, top: float, wording: Wording) -> dict[str, Any]:
    known = row.low is not None and row.high is not None
    return {
        "share": row.share,
        "interval": wording.interval(row.low, row.high) if known else None,
        "shade": 0 if row.channel in NO_CHANNEL else charts.shade(row.share / top),
    }


def _goal(facts: Facts, goal: str) -> dict[str, Any]:
    """One line for a goal."""
    credit = facts.credit.get(goal) or facts.credit[None]
    rows, counts = credit[YARDSTICK], facts.journeys.get(goal, {})
    best = [r for r in credit.get(facts.default_model, rows) if r.channel not in NO_CHANNEL]
    gross, cancelled = counts.get("gross_conversions"), counts.get("cancelled_conversions")
    return {
        "goal": goal,
        "conversions": sum(row.conversions for row in rows),
        "revenue": sum(row.revenue for row in rows),
        "top": best[0] if best and best[0].share > 0 else None,
        "unattributed": 1 - _coverage(rows),
        "cancelled": cancelled,
        "cancelled_rate": cancelled / gross if gross and cancelled is not None else None,
        "medians": facts.medians.get(goal, (None, None)),
    }


def _cancelled_goals(facts: Facts) -> list[dict[str, Any]]:
    """Goals of which every conversion was cancelled: no model credits them."""
    return [
        {
            "goal": goal,
            "conversions": 0,
            "revenue": 0,
            "top": None,
            "unattributed": None,
            "cancelled": counts["cancelled_conversions"],
            "cancelled_rate": 1.0,
            "medians": (None, None),
        }
        for goal, counts in sorted(facts.journeys.items())
        if goal not in facts.goals and counts.get("cancelled_conversions")
    ]


def _paths(facts: Facts, scope: Scope) -> list[dict[str, Any]]:
    """The largest paths, and last what lies in rare ones."""
    rows = [row for row in facts.paths if scope in (None, row["goal"])]
    shown = [row for row in rows if row["path"] != "(rare paths)"][:15]
    rare = [row for row in rows if row["path"] == "(rare paths)"]
    return [row | {"steps": row["path"].split(" > ")} for row in shown] + [
        row | {"steps": []} for row in rare
    ]


def _segments(facts: Facts) -> list[dict[str, Any]]:
    """A table for each goal and segment: channels by values, shares of the default model."""
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for row in facts.segments:
        table = tables.setdefault(
            (row["goal"], row["segment"]),
            {"goal": row["goal"], "segment": row["segment"], "sizes": {}, "rows": {}},
        )
        table["sizes"][row["segment_value"]] = row["size"]
        table["rows"].setdefault(row["channel"], {})[row["segment_value"]] = row["share"]
    for table in tables.values():
        largest = next(iter(table["sizes"]))
        order = sorted(
            (channel for channel, shares in table["rows"].items() if any(shares.values())),
            key=lambda c: (c in NO_CHANNEL, -table["rows"][c].get(largest, 0.0), c),
        )
        table["rows"] = {channel: table["rows"][channel] for channel in order}
    return list(tables.values())


def _csp_hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

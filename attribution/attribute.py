"""Credit of every model, goal by goal: statistics out of the warehouse, credit back into it.

Python sees counts only. Per channel it returns credit with its interval, and one weight from which
SQL spreads that credit over conversions and touchpoints.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from attribution import fits
from attribution.coalitions import CoalitionCounts
from attribution.credit import UNATTRIBUTED, Credit, credit_of
from attribution.errors import ConvergenceError, ModelError, ModelRefused, NoConversions
from attribution.fits import Fit
from attribution.goal_statistics import GoalStatistics, goals, segments
from attribution.intervals import attributed_share
from attribution.luce import LuceWeights, luce_weights
from attribution.models.additive_hazard import additive_hazard
from attribution.models.ladder import LadderFit, ladder
from attribution.models.lift import ladder_calibrated
from attribution.models.path_counterfactual import path_counterfactual
from attribution.paths import Floats
from attribution.settings import HEURISTICS, Settings
from attribution.statistics import Booleans, ChannelCredit
from attribution.warehouse import transaction

WHOLE_ONLY = {"ladder", "ladder_calibrated"}  # models that are not fitted to segments
TABLES = (
    "_credit_channels",
    "_credit_weights",
    "_credit_diagnostics",
    "_ladder_stages",
    "_ladder_effects",
    "_lift_tests",
)
JOURNEYS = "(journeys)"  # stands for a model where the journeys themselves are told of
Rows = dict[str, list[dict[str, Any]]]


def _markov(statistics: GoalStatistics, settings: Settings) -> Fit:
    return fits.fit_markov(statistics.transitions, statistics.groups, settings.markov_order)


def _shapley(statistics: GoalStatistics, settings: Settings) -> Fit:
    return fits.fit_shapley(
        statistics.coalitions,
        statistics.groups,
        settings.shapley_game,
        permutations=1000,
        seed=settings.random_seed,
    )


def _shao_li(statistics: GoalStatistics, _: Settings) -> Fit:
    return fits.fit_shao_li(statistics.coalitions, statistics.groups)


def _logistic(statistics: GoalStatistics, settings: Settings) -> Fit:
    return fits.fit_logistic(statistics.coalitions, bags=100, seed=settings.random_seed)


def _path_counterfactual(statistics: GoalStatistics, _: Settings) -> Fit:
    """No interval: the paths of the warehouse stand without their groups of customers."""
    return Fit(path_counterfactual(statistics.paths))


def _additive_hazard(statistics: GoalStatistics, _: Settings) -> Fit:
    return Fit(additive_hazard(statistics.hazard_touches))


@lru_cache(maxsize=1)  # two models read it
def _ladder_fit(
    statistics: GoalStatistics, steps: tuple[str, ...], seed: int, weekdays: bool
) -> LadderFit:
    totals = statistics.totals
    return ladder(
        statistics.customer_days(steps),
        totals.conversions - totals.unattributed_conversions,
        totals.revenue - totals.unattributed_revenue,
        statistics.groups,
        seed,
        weekdays=weekdays,
    )


def _fitted_ladder(statistics: GoalStatistics, settings: Settings) -> LadderFit:
    return _ladder_fit(
        statistics, tuple(settings.steps), settings.random_seed, settings.ladder_weekdays
    )


def _ladder(statistics: GoalStatistics, settings: Settings) -> Fit:
    found = _fitted_ladder(statistics, settings)
    tables = {"_ladder_stages": found.stages, "_ladder_effects": found.effects}
    return Fit(found.credit, found.replicates, tables=tables)


def _ladder_calibrated(statistics: GoalStatistics, settings: Settings) -> Fit:
    totals = statistics.totals
    # a test counts all conversions, the ladder those of customers with a touch
    touched = 1 - totals.unattributed_conversions / totals.conversions
    measured = statistics.lift_tests()
    tests = measured._replace(
        lift=measured.lift / touched, standard_error=measured.standard_error / touched
    )
    found = _fitted_ladder(statistics, settings)
    credit, variance, calibration = ladder_calibrated(found, tests, settings.random_seed)
    told = [
        {
            "channel": statistics.channels[tests.channel[i]],
            "lift": float(measured.lift[i]),
            "standard_error": float(measured.standard_error[i]),
            "ladder_lift": float(calibration.before[i] * touched),
            "calibrated_lift": float(calibration.after[i] * touched),
            "z_before": float(calibration.z_before[i]),
            "z_after": float(calibration.z_after[i]),
        }
        for i in range(len(tests.channel))
    ]
    return Fit(credit, found.replicates, variance, tables={"_lift_tests": told})


FITTED: Mapping[str, Callable[[GoalStatistics, Settings], Fit]] = {
    "markov": _markov,
    "shapley": _shapley,
    "shao_li": _shao_li,
    "logistic": _logistic,
    "path_counterfactual": _path_counterfactual,
    "additive_hazard": _additive_hazard,
    "ladder": _ladder,
    "ladder_calibrated": _ladder_calibrated,
}


def attribute(con: duckdb.DuckDBPyConnection, settings: Settings) -> dict[str, Any]:
    """Fit every model to every goal and replace the credit tables of the warehouse.

    Raises
    ------
    ModelError
        where a model cannot answer; the former tables stay.
    """
    tables: Rows = {table: [] for table in TABLES}
    found = goals(con)
    fitted = 0
    # one thread: these matrices are small, and sums must come in the same order every night
    with warnings.catch_warnings(record=True) as said, threadpool_limits(1):
        warnings.simplefilter("always", UserWarning)
        for goal in found:
            order = 4 if settings.markov_order == "auto" else settings.markov_order
            whole = GoalStatistics(con, goal, settings.replicate_groups, order)
            fitted += _add_models(tables, whole, settings)
            if settings.segments:
                fitted += _add_segments(tables, whole, settings)
    with transaction(con):
        _write(con, tables)
    figures: dict[str, Any] = {"goals": len(found), "fits": fitted}
    return figures | {"warnings": sorted({str(warning.message) for warning in said})}


def _add_models(tables: Rows, statistics: GoalStatistics, settings: Settings) -> int:
    """Fit every model to a whole goal; one that the data cannot carry says so. Fits made."""
    totals = statistics.totals
    if totals.conversions == totals.unattributed_conversions:
        tables["_credit_weights"] += _even_weights(statistics, settings)
        return 0
    fitted = 0
    conversions, _, unattributed, _ = statistics.conversions_by_group.T
    attributed = attributed_share(conversions - unattributed, conversions)
    for model in settings.models:
        try:
            _add_rows(tables, statistics, *_credit(model, statistics, settings, attributed))
            fitted += 1
        except (ModelRefused, ConvergenceError) as error:
            _add_diagnostics(tables, statistics, model, {"refused": 1.0})
            warnings.warn(f"goal {statistics.goal!r} has no credit by {error}", stacklevel=2)
        except NoConversions as error:  # `fit_journeys: matured` leaves none
            _add_diagnostics(tables, statistics, model, {"refused": 1.0})
            warnings.warn(
                f"goal {statistics.goal!r} has no credit by {model}: {error}; with "
                "`fit_journeys: all` open journeys count as well",
                stacklevel=2,
            )
        except ModelError as error:
            raise type(error)(
                f"attribute: goal {statistics.goal!r}: {error}; take the model out of `models`"
            ) from None
    return fitted


def _credit(
    model: str, statistics: GoalStatistics, settings: Settings, attributed: Floats
) -> tuple[Credit, Fit]:
    if model in HEURISTICS:
        fit = _heuristic(*statistics.heuristic(model))
    else:
        fit = FITTED[model](statistics, settings)
    return credit_of(model, {}, statistics.channels, fit, statistics.totals, attributed), fit


def _add_segments(tables: Rows, whole: GoalStatistics, settings: Settings) -> int:
    """Fit every segment that has data enough; one that has not says so. Fits made."""
    fitted = 0
    attributed = np.ones(settings.replicate_groups)
    for segment, value, converted in segments(whole.con, whole.goal):
        part = replace(whole, segment=segment, segment_value=value)
        if converted < settings.few_conversions:
            _add_diagnostics(tables, part, JOURNEYS, {"too_few_conversions": converted})
            continue
        for model in settings.models:
            if model in WHOLE_ONLY:
                continue
            try:
                _add_rows(tables, part, *_credit(model, part, settings, attributed))
                fitted += 1
            except ModelError as error:
                _add_diagnostics(tables, part, model, {"not_fitted": converted})
                warnings.warn(
                    f"goal {part.goal!r}, {segment} {value!r} has no credit by {model}: {error}",
                    stacklevel=2,
                )
    return fitted


def _heuristic(conversions: Floats, revenue: Floats) -> Fit:
    credit = ChannelCredit(conversions.sum(axis=0), revenue.sum(axis=0))
    return fits.fit_additive(credit, conversions)


def _add_rows(tables: Rows, statistics: GoalStatistics, credit: Credit, fit: Fit) -> None:
    for table, told in fit.tables.items():
        tables[table] += [{"goal": statistics.goal, "model": credit.model, **row} for row in told]
    diagnostics = {
        name: value for name, value in credit.diagnostics.items() if not isinstance(value, str)
    }
    rows = [row for row in credit.rows() if row["channel"] != UNATTRIBUTED]
    if credit.model not in HEURISTICS and statistics.segment == "all":
        for measure, weights in _weights(statistics.credited_coalitions, credit).items():
            gap = "reconciliation_gap" if measure == "conversions" else "revenue_reconciliation_gap"
            diagnostics[gap] = float(np.abs(weights.gap).sum()) / 2
            for row, level, weight, missed in zip(
                rows, weights.level, _scaled(weights), weights.gap, strict=True
            ):
                row[gap] = float(missed)
                tables["_credit_weights"].append(
                    {
                        "model": credit.model,
                        "goal": statistics.goal,
                        "measure": measure,
                        "channel": row["channel"],
                        "level": int(level),
                        "weight": Decimal(f"{weight:.12f}"),
                    }
                )
    here = _place(credit.model, statistics)
    tables["_credit_channels"] += [here | row for row in rows]
    _add_diagnostics(tables, statistics, credit.model, diagnostics)


def _even_weights(statistics: GoalStatistics, settings: Settings) -> list[dict[str, Any]]:
    """Of a goal whose conversions touched nothing: a cancelled one that did is divided evenly."""
    even = {"goal": statistics.goal, "level": 0, "weight": Decimal(1)}
    return [
        even | {"model": model, "measure": measure, "channel": channel}
        for model in settings.models
        if model not in HEURISTICS
        for measure in ("conversions", "revenue")
        for channel in statistics.channels
    ]


def _add_diagnostics(
    tables: Rows, statistics: GoalStatistics, model: str, diagnostics: Mapping[str, float]
) -> None:
    here = _place(model, statistics)
    tables["_credit_diagnostics"] += [
        here | {"name": name, "value": float(value)} for name, value in diagnostics.items()
    ]


def _place(model: str, statistics: GoalStatistics) -> dict[str, str]:
    return {
        "model": model,
        "goal": statistics.goal,
        "segment": statistics.segment,
        "segment_value": statistics.segment_value,
    }


def _weights(coalitions: CoalitionCounts, credit: Credit) -> dict[str, LuceWeights]:
    """Weights that divide every conversion so that the parts add up to the channels' credit.

    The baseline, where a model has one, is a member of every coalition.
    """
    members, totals, revenues = coalitions.members, credit.conversions, credit.revenue
    if credit.has_baseline:
        members = np.column_stack([members, np.ones(len(members), dtype=np.bool_)])
        totals = np.append(totals, credit.baseline_conversions)
        revenues = np.append(revenues, credit.baseline_revenue)
    by_conversions = luce_weights(members, coalitions.conversions, totals)
    try:
        by_revenue = luce_weights(members, coalitions.revenue, revenues)
    except ModelError:  # refunds outweigh sales somewhere: there is no such division of losses
        credited = _spread(members, coalitions.revenue, by_conversions)
        by_revenue = replace(by_conversions, credited=credited, gap=revenues - credited)
    return {"conversions": by_conversions, "revenue": by_revenue}


def _spread(members: Booleans, amounts: Floats, weights: LuceWeights) -> Floats:
    """What the channels get of amounts that are divided by given weights, (K,)."""
    level = np.where(members, weights.level, -1)
    weight = np.where(level == level.max(axis=1, keepdims=True), weights.weight, 0.0)
    divided: Floats = (weight / weight.sum(axis=1, keepdims=True)).T @ amounts
    return divided


def _scaled(weights: LuceWeights) -> Floats:
    """Weights within [1, 1e20] of each level, so that twelve decimals lose nothing that counts."""
    scaled = np.empty_like(weights.weight)
    for level in np.unique(weights.level):
        here = weights.level == level
        largest = weights.weight[here].max()
        floored = np.maximum(weights.weight[here], 1e-20 * largest)
        scaled[here] = floored / floored.min()
    return scaled


def _write(con: duckdb.DuckDBPyConnection, tables: Rows) -> None:
    for table, rows in tables.items():
        con.execute(f"delete from raw.{table}")
        if rows:
            con.register("rows", pd.DataFrame(rows))
            con.execute(f"insert into raw.{table} by name select * from rows")
            con.unregister("rows")

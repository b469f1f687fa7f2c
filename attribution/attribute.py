"""Credit of the fitted models, goal by goal: statistics out of the warehouse, credit back into it.

Python sees counts only. Per channel it returns credit, and one weight from which SQL spreads that
credit over conversions and touchpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pandas as pd

from attribution.coalitions import read_coalition_counts
from attribution.credit import Credit
from attribution.errors import ModelError
from attribution.models.markov import markov
from attribution.models.shapley import shapley
from attribution.statistics import ChannelCredit
from attribution.transitions import read_transition_counts
from attribution.warehouse import transaction

# Journeys of customers who convert on no goal have the goal NULL and count for every goal.
TRANSITIONS = """
select replicate_group, from_state, to_state, sum(journeys) as journeys, sum(revenue) as revenue
from statistics.transition_counts
where goal = $goal or goal is null
group by all
order by all
"""
COALITIONS = """
select coalition_id, replicate_group, conversions, 0 as nulls, revenue
from statistics.coalition_counts
where goal = $goal
order by all
"""
TOTALS = """
select
    goal,
    count(*)::double as conversions,
    sum(revenue)::double as revenue,
    count(*) filter (where journey_start is null)::double as unattributed_conversions,
    coalesce(sum(revenue) filter (where journey_start is null), 0)::double as unattributed_revenue
from journeys.journey_conversions
where is_in_window and not is_cancelled
group by goal
order by goal
"""


@dataclass(frozen=True)
class GoalTotals:
    """What one goal's credit must add up to, the unattributed included."""

    goal: str
    conversions: float
    revenue: float
    unattributed_conversions: float
    unattributed_revenue: float


def attribute(con: duckdb.DuckDBPyConnection, models: Sequence[str]) -> dict[str, int]:
    """Fit every model to every goal and replace the credit tables of the warehouse.

    Raises
    ------
    ModelError
        where a model cannot answer; the former tables stay.
    """
    rows = con.execute("select channel from staging.stg_channels order by channel_index").fetchall()
    channels = [channel for (channel,) in rows]
    members = con.execute("from statistics.coalition_members").df()
    goals = [GoalTotals(*row) for row in con.execute(TOTALS).fetchall()]
    credits = [
        (totals.goal, credit)
        for totals in goals
        if totals.conversions > totals.unattributed_conversions
        for credit in _fit(con, channels, members, totals, models)
    ]
    with transaction(con):
        _write(con, credits)
    return {"goals": len(goals), "channels": len(channels), "fits": len(credits)}


def _fit(
    con: duckdb.DuckDBPyConnection,
    channels: Sequence[str],
    members: pd.DataFrame,
    totals: GoalTotals,
    models: Sequence[str],
) -> list[Credit]:
    goal = {"goal": totals.goal}
    fitted: dict[str, ChannelCredit] = {}
    try:
        if "markov" in models:
            frame = con.execute(TRANSITIONS, goal).df()
            fitted["markov"] = markov(read_transition_counts(channels, frame))
        if "shapley" in models:
            frame = con.execute(COALITIONS, goal).df()
            fitted["shapley"] = shapley(read_coalition_counts(channels, frame, members))
        return [_credit(model, tuple(channels), result, totals) for model, result in fitted.items()]
    except ModelError as error:
        raise type(error)(
            f"attribute: goal {totals.goal!r}: {error}; take the model out of `models`, or where "
            "`fit_journeys: matured` leaves too little, set it to all"
        ) from None


def _credit(
    model: str, channels: tuple[str, ...], result: ChannelCredit, totals: GoalTotals
) -> Credit:
    """A fit's shares of all attributed conversions: a fit may have left young journeys out."""
    conversions = totals.conversions - totals.unattributed_conversions
    revenue = totals.revenue - totals.unattributed_revenue
    credited = result.revenue.sum()
    return Credit(
        model=model,
        options={},
        channels=channels,
        conversions=result.conversions * (conversions / result.conversions.sum()),
        revenue=result.revenue * (revenue / credited) if credited else result.revenue,
        total_conversions=totals.conversions,
        total_revenue=totals.revenue,
        unattributed_conversions=totals.unattributed_conversions,
        unattributed_revenue=totals.unattributed_revenue,
        removal_effect=result.removal_effect,
        diagnostics=result.diagnostics,
    )


def _write(con: duckdb.DuckDBPyConnection, credits: Sequence[tuple[str, Credit]]) -> None:
    tables: dict[str, list[dict[str, object]]] = {
        "_credit_channels": [],
        "_credit_weights": [],
        "_credit_diagnostics": [],
    }
    for goal, credit in credits:
        whole = {"model": credit.model, "goal": goal, "segment": "all", "segment_value": "all"}
        effects = credit.removal_effect
        for k, channel in enumerate(credit.channels):
            tables["_credit_channels"].append(
                whole
                | {
                    "channel": channel,
                    "conversions": credit.conversions[k],
                    "revenue": credit.revenue[k],
                    "removal_effect": None if effects is None else effects[k],
                }
            )
            if credit.model == "shapley":  # the even split: every channel weighs the same
                for measure in ("conversions", "revenue"):
                    tables["_credit_weights"].append(
                        {"model": credit.model, "goal": goal, "measure": measure,
                         "channel": channel, "level": 0, "weight": 1.0}
                    )  # fmt: skip
        for name, value in credit.diagnostics.items():
            tables["_credit_diagnostics"].append(whole | {"name": name, "value": float(value)})
    for table, rows in tables.items():
        con.execute(f"delete from raw.{table}")
        if rows:
            con.register("rows", pd.DataFrame(rows))
            con.execute(f"insert into raw.{table} by name select * from rows")
            con.unregister("rows")

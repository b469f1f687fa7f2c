"""Statistics of one goal, read from the warehouse as the models take them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import duckdb
import numpy as np

from attribution.coalitions import CoalitionCounts, read_coalition_counts
from attribution.credit import Totals
from attribution.models.additive_hazard import HazardTouches
from attribution.paths import Floats, Paths
from attribution.transitions import TransitionCounts, read_transition_counts

# Journeys of customers who convert on no goal have the goal NULL and count for every goal.
TRANSITIONS = """
select replicate_group, from_state, to_state, sum(journeys) as journeys, sum(revenue) as revenue
from statistics.transition_counts
where goal = $goal or goal is null
group by all
order by all
"""
COALITIONS = """
select
    coalition_id, replicate_group,
    sum(conversions) as conversions, sum(nulls) as nulls, sum(revenue) as revenue
from statistics.coalition_counts
where goal = $goal or goal is null
group by all
order by all
"""
PATHS = """
select
    path, sum(conversions)::double as conversions, sum(nulls)::double as nulls,
    sum(revenue)::double as revenue
from statistics.path_counts
where goal = $goal or goal is null
group by path
order by path
"""
HAZARD_TOUCHES = """
select journey, channel_index, age_seconds, is_converted, weight, revenue
from statistics.hazard_touches
where goal = $goal or goal is null
order by all
"""
HEURISTICS = """
select
    replicate_group, channel_index,
    conversions::double as conversions, revenue::double as revenue
from statistics.heuristic_counts
where model = $model and goal = $goal
order by all
"""
CONVERSIONS = """
select
    replicate_group,
    count(*)::double as conversions,
    coalesce(sum(revenue), 0)::double as revenue,
    count(*) filter (where journey_start is null)::double as unattributed_conversions,
    coalesce(sum(revenue) filter (where journey_start is null), 0)::double as unattributed_revenue
from journeys.journey_conversions
inner join staging.stg_customers using (customer_key)
where is_in_window and not is_cancelled and goal = $goal
group by replicate_group
order by replicate_group
"""
GOALS = """
select distinct goal
from journeys.journey_conversions
where is_in_window and not is_cancelled
order by goal
"""


def goals(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Goals with a conversion to credit, sorted."""
    return [goal for (goal,) in con.execute(GOALS).fetchall()]


@dataclass(frozen=True)
class GoalStatistics:
    """What the models of one goal read, each part when it is first asked for.

    Attributes
    ----------
    con : connection to the warehouse
    goal : str
    groups : int
        Replicate groups of customers, G.
    order : int
        Touches that a state of `transitions` remembers.
    """

    con: duckdb.DuckDBPyConnection = field(repr=False)
    goal: str
    groups: int
    order: int

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """Sorted, (K,)."""
        rows = self.con.execute(
            "select channel from staging.stg_channels order by channel_index"
        ).fetchall()
        return tuple(channel for (channel,) in rows)

    @cached_property
    def conversions_by_group(self) -> Floats:
        """Conversions, revenue, and the unattributed part of both, (G, 4)."""
        table = np.zeros((self.groups, 4))
        for group, *figures in self.con.execute(CONVERSIONS, {"goal": self.goal}).fetchall():
            table[group] = figures
        return table

    @property
    def totals(self) -> Totals:
        return Totals(*self.conversions_by_group.sum(axis=0).tolist())

    @cached_property
    def transitions(self) -> TransitionCounts:
        frame = self.con.execute(TRANSITIONS, {"goal": self.goal}).df()
        return read_transition_counts(self.channels, frame, self.order)

    @cached_property
    def coalitions(self) -> CoalitionCounts:
        frame = self.con.execute(COALITIONS, {"goal": self.goal}).df()
        members = self.con.execute("from statistics.coalition_members").df()
        return read_coalition_counts(self.channels, frame, members)

    @cached_property
    def paths(self) -> Paths:
        """Paths that converted, and those that they become without one touch."""
        rows = self.con.execute(PATHS, {"goal": self.goal}).df()
        return Paths(
            channels=self.channels,
            steps=tuple(tuple(map(int, path.split())) for path in rows["path"]),
            conversions=rows["conversions"].to_numpy(),
            nulls=rows["nulls"].to_numpy(),
            revenue=rows["revenue"].to_numpy(),
            source="path_counts",
        )

    @cached_property
    def hazard_touches(self) -> HazardTouches:
        rows = self.con.execute(HAZARD_TOUCHES, {"goal": self.goal}).df()
        totals = self.totals
        return HazardTouches(
            channels=self.channels,
            channel=rows["channel_index"].to_numpy(),
            age_seconds=rows["age_seconds"].to_numpy(),
            converted=rows["is_converted"].to_numpy(),
            journey=rows["journey"].to_numpy(),
            weight=rows["weight"].to_numpy(),
            revenue=rows["revenue"].to_numpy(),
            total_conversions=totals.conversions - totals.unattributed_conversions,
            total_revenue=totals.revenue - totals.unattributed_revenue,
        )

    def heuristic(self, model: str) -> tuple[Floats, Floats]:
        """Conversions and revenue that a rule of thumb credits, (G, K) each."""
        conversions = np.zeros((self.groups, len(self.channels)))
        revenue = np.zeros_like(conversions)
        rows = self.con.execute(HEURISTICS, {"goal": self.goal, "model": model}).df()
        at = rows["replicate_group"].to_numpy(), rows["channel_index"].to_numpy()
        conversions[at], revenue[at] = rows["conversions"].to_numpy(), rows["revenue"].to_numpy()
        return conversions, revenue

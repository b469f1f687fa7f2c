"""Statistics of one goal, read from the warehouse as the models take them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property

import duckdb
import numpy as np
import pandas as pd

from attribution.coalitions import CoalitionCounts, read_coalition_counts
from attribution.credit import Totals
from attribution.customer_days import CustomerDays, read_customer_days
from attribution.errors import ModelRefused
from attribution.models.additive_hazard import HazardTouches
from attribution.models.lift import LiftTests
from attribution.paths import Floats, Paths
from attribution.transitions import TransitionCounts, read_transition_counts

# Journeys of customers who convert on no goal have the goal NULL and count for every goal.
TRANSITIONS = """
select replicate_group, from_state, to_state, sum(journeys) as journeys, sum(revenue) as revenue
from statistics.transition_counts
where (goal = $goal or goal is null)
    and segment = $segment and segment_value = $segment_value
group by all
order by all
"""
COALITIONS = """
select
    coalition_id, replicate_group,
    sum(conversions) as conversions, sum(nulls) as nulls, sum(revenue) as revenue,
    sum(fit_conversions) as fit_conversions, sum(fit_revenue) as fit_revenue
from statistics.coalition_counts
where (goal = $goal or goal is null)
    and segment = $segment and segment_value = $segment_value
group by all
order by all
"""
PATHS = """
select
    path, sum(conversions)::double as conversions, sum(nulls)::double as nulls,
    sum(revenue)::double as revenue
from statistics.path_counts
where (goal = $goal or goal is null)
    and segment = $segment and segment_value = $segment_value
group by path
order by path
"""
HAZARD_TOUCHES = """
select journey, channel_index, age_seconds, is_converted, weight, revenue
from statistics.hazard_touches
where (goal = $goal or goal is null)
    and segment = $segment and segment_value = $segment_value
order by all
"""
LADDER_CUSTOMERS = """
select
    customer, replicate_group, weight, last_day,
    extract(isodow from entered_on) - 1 as first_weekday, horizon, is_converted,
    share_elsewhere
from statistics.ladder_customers
where goal = $goal
order by customer
"""
LADDER_DAYS = """
select customer, day, channel_index, rung, is_in_order
from statistics.ladder_days
where goal = $goal
"""
LIFT_TESTS = """
select channel, started_on, ended_on, lift, standard_error
from staging.stg_lift_tests
where goal = $goal
order by all
"""
HEURISTICS = """
select
    replicate_group, channel_index,
    conversions::double as conversions, revenue::double as revenue
from statistics.heuristic_counts
where model = $model and goal = $goal
    and segment = $segment and segment_value = $segment_value
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
# a conversion without a touch belongs to no segment
SEGMENT_CONVERSIONS = """
select
    replicate_group,
    sum(conversions)::double as conversions, sum(revenue)::double as revenue, 0e0, 0e0
from statistics.coalition_counts
where goal = $goal and segment = $segment and segment_value = $segment_value
group by replicate_group
order by replicate_group
"""
SEGMENTS = """
select
    segment, segment_value,
    sum(case when goal = $goal then converted_journeys else 0 end)::bigint as converted_journeys
from statistics.segment_counts
where goal = $goal or goal is null
group by segment, segment_value
order by segment, segment_value
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


def segments(con: duckdb.DuckDBPyConnection, goal: str) -> list[tuple[str, str, int]]:
    """Segment, its value, and the journeys in it that converted on the goal, sorted."""
    return con.execute(SEGMENTS, {"goal": goal}).fetchall()


@dataclass(frozen=True)
class GoalStatistics:
    """What the models of one goal, or of one segment of it, read, each part when first asked for.

    Attributes
    ----------
    con : connection to the warehouse
    goal : str
    groups : int
        Replicate groups of customers, G.
    order : int
        Touches that a state of `transitions` remembers.
    segment, segment_value : str
        `all` and `all` for the whole.
    """

    con: duckdb.DuckDBPyConnection = field(repr=False)
    goal: str
    groups: int
    order: int
    segment: str = "all"
    segment_value: str = "all"

    @property
    def _here(self) -> dict[str, str]:
        return {
            "goal": self.goal,
            "segment": self.segment,
            "segment_value": self.segment_value,
        }

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
        if self.segment == "all":
            rows = self.con.execute(CONVERSIONS, {"goal": self.goal}).fetchall()
        else:
            rows = self.con.execute(SEGMENT_CONVERSIONS, self._here).fetchall()
        for group, *figures in rows:
            table[group] = figures
        return table

    @property
    def totals(self) -> Totals:
        return Totals(*self.conversions_by_group.sum(axis=0).tolist())

    @cached_property
    def transitions(self) -> TransitionCounts:
        frame = self.con.execute(TRANSITIONS, self._here).df()
        return read_transition_counts(self.channels, frame, self.order)

    @cached_property
    def _sets(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        counts = self.con.execute(COALITIONS, self._here).df()
        return counts, self.con.execute("from statistics.coalition_members").df()

    @cached_property
    def coalitions(self) -> CoalitionCounts:
        """Of the journeys that models are fitted to: `matured` leaves young ones out."""
        counts, members = self._sets
        fitted = counts.assign(conversions=counts["fit_conversions"], revenue=counts["fit_revenue"])
        return read_coalition_counts(self.channels, fitted, members)

    @cached_property
    def credited_coalitions(self) -> CoalitionCounts:
        """Of all journeys whose conversions are credited."""
        return read_coalition_counts(self.channels, *self._sets)

    @cached_property
    def paths(self) -> Paths:
        """Paths that converted, and those that they become without one touch."""
        rows = self.con.execute(PATHS, self._here).df()
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
        rows = self.con.execute(HAZARD_TOUCHES, self._here).df()
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

    def customer_days(self, steps: tuple[str, ...]) -> CustomerDays:
        customers = self.con.execute(LADDER_CUSTOMERS, {"goal": self.goal}).df()
        if customers.empty:
            raise ModelRefused("ladder: nobody was touched in the window before converting")
        days = self.con.execute(LADDER_DAYS, {"goal": self.goal}).df()
        return read_customer_days(self.channels, steps, customers, days)

    def lift_tests(self) -> LiftTests:
        """Of this goal, each within the window.

        Raises
        ------
        ModelRefused
        """
        rows = self.con.execute(LIFT_TESTS, {"goal": self.goal}).fetchall()
        if not rows:
            raise ModelRefused(
                "ladder_calibrated: the export lift_tests holds no test of this goal"
            )
        [(run_date, window_from)] = self.con.execute(
            "select run_date, window_from::date from raw._run"
        ).fetchall()
        kept = []
        for channel, started_on, ended_on, lift, error in rows:
            name = (
                f"ladder_calibrated: the lift test of {channel!r} from {started_on} to {ended_on}"
            )
            if channel not in self.channels:
                raise ModelRefused(f"{name}: no touchpoint has that channel; correct the name")
            if started_on is None or ended_on is None or not started_on <= ended_on:
                raise ModelRefused(f"{name} has no days: fill started_on and ended_on")
            if ended_on < window_from or started_on > run_date:
                warnings.warn(
                    f"{name} lies outside the window {window_from} to {run_date}", stacklevel=2
                )
                continue
            if not (-1 < lift < 1 and error > 0):
                raise ModelRefused(
                    f"{name}: `lift` is a share of all conversions, and standard_error above 0"
                )
            kept.append((self.channels.index(channel), lift, error))
        if not kept:
            raise ModelRefused("ladder_calibrated: no lift test of this goal lies in the window")
        return LiftTests(*(np.array(column) for column in zip(*kept, strict=True)))

    def heuristic(self, model: str) -> tuple[Floats, Floats]:
        """Conversions and revenue that a rule of thumb credits, (G, K) each."""
        conversions = np.zeros((self.groups, len(self.channels)))
        revenue = np.zeros_like(conversions)
        rows = self.con.execute(HEURISTICS, self._here | {"model": model}).df()
        at = rows["replicate_group"].to_numpy(), rows["channel_index"].to_numpy()
        conversions[at], revenue[at] = rows["conversions"].to_numpy(), rows["revenue"].to_numpy()
        return conversions, revenue

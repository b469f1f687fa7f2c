"""Our side of the comparison: from rows to credit, and from ready statistics."""

from __future__ import annotations

from typing import Any

from serve import Rows, Values, Work, serve

from attribution.coalitions import CoalitionCounts, coalition_counts
from attribution.models.markov import markov
from attribution.models.shapley import shapley
from attribution.paths import Floats, aggregate_paths
from attribution.transitions import TransitionCounts, transition_counts

Statistics = TransitionCounts | CoalitionCounts


class Table:
    """Rows, and the statistics counted on them so far."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._ready: dict[tuple[str, int], Statistics] = {}

    def count(self, model: str, order: int) -> Statistics:
        """What the model is fitted on, counted on the rows."""
        rows = zip(self.rows.paths, self.rows.conversions, self.rows.nulls, strict=True)
        paths = aggregate_paths((path.split(" > "), won, lost, 0.0) for path, won, lost in rows)
        if model == "shapley":
            return coalition_counts(paths)
        return transition_counts(paths, order=order)

    def ready(self, model: str, order: int) -> Statistics:
        if (model, order) not in self._ready:
            self._ready[model, order] = self.count(model, order)
        return self._ready[model, order]


def plan(table: Table, task: dict[str, Any]) -> tuple[Work, Values]:
    model, order = task["model"], task["order"]
    if task["start"] == "rows":
        return lambda: fit(table.count(model, order)), by_channel
    statistics = table.ready(model, order)
    return lambda: fit(statistics), by_channel


def fit(statistics: Statistics) -> tuple[tuple[str, ...], Floats]:
    """Channels with removal effects of the chain, or with credit of DP6's convention of Shapley."""
    if isinstance(statistics, CoalitionCounts):
        return statistics.channels, shapley(statistics, game="exact_rate").conversions
    effects = markov(statistics).removal_effect
    assert effects is not None
    return statistics.channels, effects


def by_channel(result: tuple[tuple[str, ...], Floats]) -> dict[str, float]:
    channels, values = result
    return dict(zip(channels, values.tolist(), strict=True))


if __name__ == "__main__":
    serve(Table, plan)

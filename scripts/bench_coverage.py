"""How often the 95 % intervals hold the truth: customers drawn over and over from known paths.

The paths of a file are taken for all customers there are, so that their shares are the truth. Each
draw of customers is fitted as a night would be, and each channel's interval holds the truth or not.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import sparse

from attribution.coalitions import CoalitionCounts, coalition_counts
from attribution.fits import Fit, fit_additive, fit_markov, fit_shapley, shares
from attribution.intervals import jackknife
from attribution.models.heuristics import last_touch, linear
from attribution.paths import Floats, Paths, read_paths
from attribution.statistics import ChannelCredit
from attribution.terminal import print_rows
from attribution.transitions import TransitionCounts, join_transitions, transition_counts

ROOT = Path(__file__).resolve().parents[1]
FEW = 30  # converting journeys, from where on intervals are promised
GROUPS = 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    shared = Path(os.environ.get("ATTRIBUTION_SHARED", ROOT.parent / "shared"))
    parser.add_argument(
        "paths",
        nargs="?",
        type=Path,
        default=shared / "data" / "channelattribution_pathdata" / "Data.csv",
    )
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--customers", type=int, default=20_000)
    chosen = parser.parse_args()
    columns = {
        "conversions": "total_conversions",
        "revenue": "total_conversion_value",
        "nulls": "total_null",
    }
    paths = read_paths(chosen.paths, delimiter=";", columns=columns)
    found, converting = coverage(paths, chosen.draws, chosen.customers)
    print_rows(
        f"{chosen.draws:,} draws of {chosen.customers:,} customers, {GROUPS} groups: "
        "share of 95 % intervals that hold the truth",
        ["channel", "converting journeys", *found],
        [
            [channel, f"{converting[k]:,.0f}", *(f"{rate[k]:.3f}" for rate in found.values())]
            for k, channel in enumerate(paths.channels)
        ],
    )
    enough = converting >= FEW
    rates = np.array([rate[enough] for rate in found.values()])
    print(f"channels with {FEW} or more: {rates.min():.3f} to {rates.max():.3f}")
    return 0 if rates.min() >= 0.93 and rates.max() <= 0.97 else 1


def coverage(
    paths: Paths, draws: int, customers: int, seed: int = 1
) -> tuple[dict[str, Floats], Floats]:
    """Coverage by model, (K,) each, and the converting journeys of a mean draw, (K,)."""
    ways = Ways(paths)
    journeys = np.concatenate([paths.conversions, paths.nulls])
    chances = journeys / journeys.sum()
    whole = sparse.csr_array(journeys[None, :])
    truth = {model: shares(fit.credit) for model, fit in ways.fits(whole, groups=0).items()}
    random = np.random.default_rng(seed)
    hits = {model: np.zeros(len(paths.channels)) for model in truth}
    for _ in range(draws):
        way = random.choice(chances.size, customers, p=chances)
        group = random.integers(GROUPS, size=customers)
        drawn = sparse.csr_array((np.ones(customers), (group, way)), shape=(GROUPS, chances.size))
        for model, fit in ways.fits(drawn, GROUPS).items():
            assert fit.replicates is not None
            interval = jackknife(shares(fit.credit), fit.replicates)
            hits[model] += (interval.low <= truth[model]) & (truth[model] <= interval.high)
    touched = (coalition_by_path(paths) > 0).T @ paths.conversions
    return (
        {model: hit / draws for model, hit in hits.items()},
        touched * customers / journeys.sum(),
    )


class Ways:
    """Every path with either outcome, and what one journey that went it adds to the statistics."""

    def __init__(self, paths: Paths) -> None:
        self.channels = paths.channels
        n = len(paths.steps)
        self.converts = np.arange(2 * n) < n
        once = [
            replace(
                paths,
                steps=(paths.steps[i % n],),
                conversions=np.array([float(i < n)]),
                nulls=np.array([float(i >= n)]),
                revenue=np.zeros(1),
            )
            for i in range(2 * n)
        ]
        moves = join_transitions([transition_counts(one) for one in once])
        cells, place = np.unique(
            np.stack([moves.source, moves.target]), axis=1, return_inverse=True
        )
        self.source, self.target = cells
        self.moves = sparse.csr_array(
            (moves.journeys, (moves.replicate_group, place)), shape=(2 * n, cells.shape[1])
        )
        self.members = np.vstack([coalition_counts(one).members for one in once])
        self.rules = {
            name: np.array([model(one).conversions for one in once])
            for name, model in (("last_touch", last_touch), ("linear", linear))
        }

    def fits(self, drawn: sparse.csr_array, groups: int) -> dict[str, Fit]:
        """All models on drawn journeys, (G, 2n) counts."""
        found = {}
        for name, credit in self.rules.items():
            totals = np.asarray(drawn @ credit)
            zeros = np.zeros(len(self.channels))
            found[name] = fit_additive(ChannelCredit(totals.sum(axis=0), zeros), totals)
        counts = sparse.coo_array(drawn @ self.moves)
        zeros = np.zeros(counts.data.size)
        transitions = TransitionCounts(
            self.channels,
            self.source[counts.coords[1]],
            self.target[counts.coords[1]],
            counts.coords[0],
            counts.data,
            zeros,
        )
        found["markov"] = fit_markov(transitions, groups, 1)
        one = sparse.coo_array(drawn)
        converts = self.converts[one.coords[1]]
        coalitions = CoalitionCounts(
            self.channels,
            self.members[one.coords[1]],
            one.coords[0],
            np.where(converts, one.data, 0.0),
            np.where(converts, 0.0, one.data),
            np.zeros(one.data.size),
        )
        found["shapley"] = fit_shapley(coalitions, groups, "conversions", 0, 0)
        return found


def coalition_by_path(paths: Paths) -> Floats:
    """Touches of each channel on each path, (n, K)."""
    counts = np.zeros((len(paths.steps), len(paths.channels)))
    np.add.at(counts, (np.repeat(np.arange(len(paths.steps)), paths.lengths), paths.touches), 1.0)
    return counts


if __name__ == "__main__":
    sys.exit(main())

"""A model's credit with what its interval needs, from checked counts: the same for path files and
for the nightly line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from attribution.coalitions import CoalitionCounts
from attribution.errors import ModelError
from attribution.intervals import additive_replicates, one_step
from attribution.models.logistic import logistic
from attribution.models.markov import markov, markov_influence, markov_replicates
from attribution.models.markov_order import choose_order
from attribution.models.path_counterfactual import path_counterfactual
from attribution.models.shao_li import shao_li
from attribution.models.shapley import shapley
from attribution.models.shapley_ordered import shapley_ordered
from attribution.models.shapley_replicates import shapley_replicates
from attribution.paths import Floats, Paths, add_up
from attribution.statistics import ChannelCredit
from attribution.transitions import TransitionCounts, lower_order

MOST_PATHS_REFITTED = 20_000
Counts = TypeVar("Counts", Paths, CoalitionCounts)


@dataclass(frozen=True, eq=False)
class Fit:
    """Credit of the journeys with touches, and how it moves with its customers.

    Attributes
    ----------
    credit : ChannelCredit
    replicates : float array, (G, K), or None
        Shares without each replicate group; None where a model is no function of the counts, or
        where refitting would cost more than it is worth.
    variance : float array, (K,)
        Of the shares, on top of what the replicates tell.
    is_signed : bool
        Whether shares may be negative.
    tables : mapping of str to rows
        What the model tells besides, by table of the warehouse.
    """

    credit: ChannelCredit
    replicates: Floats | None = None
    variance: Floats | float = 0.0
    is_signed: bool = False
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


def shares(credit: ChannelCredit) -> Floats:
    """Shares of the touched conversions, (K,); with the baseline's they sum to 1."""
    whole = float(credit.conversions.sum()) + credit.baseline_conversions
    return np.asarray(credit.conversions / whole)


def fit_markov(transitions: TransitionCounts, groups: int, order: int | str) -> Fit:
    """A chain of the given order, or of the order that predicts held-out journeys best."""
    chosen: dict[str, float | str] = {}
    if order == "auto" and not groups:
        raise ModelError("markov: order=auto compares groups of customers: ask for intervals too")
    if order == "auto":
        choice = choose_order(transitions)
        order = choice.order
        for tried, likelihood in zip(choice.orders, choice.log_likelihood, strict=True):
            chosen[f"log_likelihood_order_{tried}"] = float(likelihood)
    transitions = lower_order(transitions, int(order))
    credit = markov(transitions)
    credit = replace(credit, diagnostics={**credit.diagnostics, **chosen})
    if groups and order == 1:
        return Fit(credit, markov_replicates(transitions, groups))
    if groups and order == 2:
        return Fit(credit, one_step(shares(credit), markov_influence(transitions, groups)))
    return Fit(credit)


def fit_shapley(
    coalitions: CoalitionCounts, groups: int, game: str, permutations: int, seed: int
) -> Fit:
    credit = shapley(coalitions, game=game, permutations=permutations, seed=seed)
    replicates = shapley_replicates(coalitions, groups, game=game) if groups else None
    return Fit(credit, replicates, is_signed=game != "conversions")


def fit_ordered_shapley(paths: Paths, coalitions: CoalitionCounts, groups: int) -> Fit:
    """The even split, and in the diagnostics how much of it came at which position."""
    fit = fit_shapley(coalitions, groups, "conversions", permutations=0, seed=0)
    places = shapley_ordered(paths)
    found = {
        f"conversions at position {position}: {paths.channels[channel]}": float(conversions)
        for channel, position, conversions in zip(
            places.channel_index, places.position, places.conversions, strict=True
        )
    }
    return replace(fit, credit=replace(fit.credit, diagnostics=found))


def fit_shao_li(coalitions: CoalitionCounts, groups: int) -> Fit:
    return Fit(shao_li(coalitions), _refitted(shao_li, coalitions, groups) if groups else None)


def fit_logistic(coalitions: CoalitionCounts, bags: int, seed: int) -> Fit:
    """Bags of regressions are no small fit to repeat for every group: no interval."""
    return Fit(logistic(coalitions, bags=bags, seed=seed))


def fit_path_counterfactual(paths: Paths, parts: Sequence[Paths]) -> Fit:
    """With an interval to some thousand paths; beyond, a hundred fits are too many."""
    credit = path_counterfactual(paths)
    if not parts or len(paths.steps) > MOST_PATHS_REFITTED:
        return Fit(credit)
    at = {steps: i for i, steps in enumerate(paths.steps)}
    rows = []
    for part in parts:
        conversions, nulls = paths.conversions.copy(), paths.nulls.copy()
        taken = [at[steps] for steps in part.steps]
        conversions[taken] -= part.conversions
        nulls[taken] -= part.nulls
        rest = replace(paths, conversions=conversions, nulls=nulls, revenue=np.zeros(len(at)))
        rows.append(_shares_or_nan(path_counterfactual, rest))
    return Fit(credit, np.array(rows))


def _refitted(
    model: Callable[[CoalitionCounts], ChannelCredit], coalitions: CoalitionCounts, groups: int
) -> Floats:
    """Shares without each group, (G, K), by as many fits on the distinct sets."""
    packed = np.packbits(coalitions.members, axis=1)
    _, first, place = np.unique(packed, axis=0, return_index=True, return_inverse=True)

    def without(group: int) -> CoalitionCounts:
        kept = coalitions.replicate_group != group

        def total(counts: Floats) -> Floats:
            return add_up(place[kept], counts[kept], first.size)

        return CoalitionCounts(
            coalitions.channels,
            coalitions.members[first],
            np.zeros(first.size, dtype=np.int64),
            total(coalitions.conversions),
            total(coalitions.nulls),
            np.zeros(first.size),
        )

    return np.array([_shares_or_nan(model, without(group)) for group in range(groups)])


def _shares_or_nan(model: Callable[[Counts], ChannelCredit], counts: Counts) -> Floats:
    try:
        return shares(model(counts))
    except ModelError:
        return np.full(len(counts.channels), np.nan)


def fit_additive(credit: ChannelCredit, totals: Floats) -> Fit:
    """A model whose credit adds up over customers; totals (G, K) by group."""
    return Fit(credit, additive_replicates(totals))

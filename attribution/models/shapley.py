"""Shapley values of the games that channels play for conversions."""

from __future__ import annotations

import warnings

import numpy as np

from attribution.coalitions import CoalitionCounts
from attribution.errors import ApproximationWarning, UsageError
from attribution.models.shapley_games import Solution, check_question, exact_rate, rate
from attribution.models.shapley_model import model
from attribution.models.shapley_sets import Sets, distinct_sets
from attribution.paths import Floats, add_up
from attribution.statistics import ChannelCredit


def shapley(
    coalitions: CoalitionCounts,
    *,
    game: str = "conversions",
    permutations: int = 1000,
    seed: int = 0,
) -> ChannelCredit:
    """Shapley value of a game v(S) on sets of channels: what each adds, over all orders to join.

    phi_i = sum over S without i of |S|! (K - |S| - 1)! / K! * (v(S + i) - v(S)).

    conversions
        v(S) = conversions of journeys whose channels all lie in S. Exact at any number of channels
        by a closed form: **the even split of each journey over its distinct channels**, phi_i = sum
        over T containing i of conversions(T) / |T|. That is a theorem and no approximation: v is a
        sum of games that pay only once all of T are in, and those share evenly over T.
    rate
        v(S) = conversions / journeys over the journeys inside S, 0 where there are none; scaled to
        C. Nulls count. A channel whose journeys convert worse than others may be negative. Exact
        to 20 channels that journeys touched, and sampled random orders beyond.
    exact_rate
        v(S) = conversions / journeys of exactly S, 0 where nobody touched exactly S. Each
        converting set plays its own game, scaled to its conversions. Exact at any number of
        channels. A channel may be negative, where sets convert worse with it.
    model
        v(S) = sum over journeys of the probability to convert given their channels inside S, by a
        logistic regression of conversion on channels; v(empty), the conversions that it predicts
        without any channel, is the baseline. Channels and baseline are scaled to C together, and
        revenue is split in the proportions of conversions. A channel may be negative. A channel
        that every journey touched cannot be told from the baseline, and gets nothing. Exact to 20
        channels or where no journey touched more than 16; sets beyond that are sampled.

    Parameters
    ----------
    coalitions : CoalitionCounts
        Over all replicate groups, (K,) channels; all but `conversions` need the nulls.
    game : str
        `conversions`, `rate`, `exact_rate` or `model`.
    permutations : int
        Random orders drawn where a game is sampled, 2 or more, each of them walked forwards and
        backwards; 0 for exact values or an error.
    seed : int
        Of the random orders.

    Returns
    -------
    ChannelCredit
        (K,) conversions, which sum to C, and revenue by the same game on revenue, which sums to R
        (both with the baseline of `model`). Diagnostics of all but `conversions`:
        `negative_channels`, how many have credit below 0, which is reported as it is; and where
        the values are sampled `permutations` and `sampling_standard_error`, the largest over
        channels, as a fraction of C.

    Raises
    ------
    UsageError
        Where there is no such game, or no such number of permutations.
    NoConversions
        Where no journey with a touch converts.
    ModelError
        Where `permutations` is 0 and the values cannot be exact; where `model` has journeys of one
        kind only, or does not converge.

    Warns
    -----
    ApproximationWarning
        Where the values are sampled.

    References
    ----------
    Shapley 1953, doi 10.1515/9781400881970-018; for attribution Zhao, Mahboobi, Bagheri 2018,
    doi 10.48550/arXiv.1804.05327; even shares of dividends Harsanyi 1963, doi 10.2307/2525487;
    sampled orders Castro, Gomez, Tejada 2009, doi 10.1016/j.cor.2008.04.004.
    """
    check_question(coalitions, game)
    if permutations < 0 or permutations == 1:
        raise UsageError(
            f"shapley: permutations={permutations}: choose 2 or more, or 0 for exact values only"
        )
    if game == "conversions":
        return ChannelCredit(*_even_split(coalitions))
    sets = distinct_sets(coalitions)
    solution = _solve(sets, game, permutations, seed)
    if solution.standard_error is not None:
        warnings.warn(
            f"shapley: game {game} is sampled from {permutations} orders of channels and their "
            f"reverses: shares have standard errors up to {solution.standard_error:.2g}",
            ApproximationWarning,
            stacklevel=2,
        )
    return _credit(solution, sets, len(coalitions.channels), permutations)


def _even_split(coalitions: CoalitionCounts) -> tuple[Floats, Floats]:
    """Conversions and revenue of each coalition, shared evenly by its channels; (K,) each."""
    row, channel = np.nonzero(coalitions.members)
    size = coalitions.members.sum(axis=1)

    def split(values: Floats) -> Floats:
        return add_up(channel, (values / size)[row], len(coalitions.channels))

    return split(coalitions.conversions), split(coalitions.revenue)


def _solve(sets: Sets, game: str, permutations: int, seed: int) -> Solution:
    if game == "rate":
        return rate(sets, permutations, seed)
    if game == "exact_rate":
        return exact_rate(sets)
    return model(sets, permutations, seed)


def _credit(solution: Solution, sets: Sets, channels: int, permutations: int) -> ChannelCredit:
    rounding = 1e-12 * float(sets.conversions.sum())
    negative = np.count_nonzero(solution.conversions < -rounding)
    diagnostics: dict[str, float | str] = {"negative_channels": float(negative)}
    if solution.standard_error is not None:
        diagnostics["permutations"] = float(permutations)
        diagnostics["sampling_standard_error"] = solution.standard_error
    return ChannelCredit(
        conversions=sets.spread(solution.conversions, channels),
        revenue=sets.spread(solution.revenue, channels),
        diagnostics=diagnostics,
        baseline_conversions=solution.baseline,
        baseline_revenue=solution.baseline_revenue,
    )

"""The game that a logistic regression predicts: its channels switched on and off."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.special import expit

from attribution.errors import ConvergenceError, ModelError, ModelRefused
from attribution.models.shapley_games import BLOCK, Solution
from attribution.models.shapley_sets import (
    MOST_CHANNELS,
    Sets,
    local_shapley,
    shapley_values,
)
from attribution.paths import Floats, Integers, add_up
from attribution.statistics import Booleans

MOST_MEMBERS = 16  # a set's own game has 2^16 values; larger sets are sampled beyond MOST_CHANNELS

# The penalty |slopes|^2 / (2 C) stands against the mean log loss of a journey. So small, it leaves
# slopes alone that the data determine; it keeps those of channels that always convert finite, and
# shares the slope of channels that always come together evenly.
C = 1e8
SETTLED = 1e-7  # predicted less counted conversions of any channel, as a fraction of the journeys


def model(sets: Sets, permutations: int, seed: int) -> Solution:
    """v(S) = sum over journeys of P(convert | their channels inside S) of a fitted regression.

    v(empty) is what would convert with every channel switched off: the baseline. Channels and
    baseline are scaled together to C; revenue is split in their proportions. Solved per distinct
    set; exact to MOST_CHANNELS, and beyond for sets of at most MOST_MEMBERS channels.
    """
    intercept, slopes = fit(sets.members, sets.conversions, sets.nulls)
    error = None
    if len(sets.channels) <= MOST_CHANNELS:
        values = local_shapley(predictions(intercept, slopes), sets.table(sets.journeys))
    else:
        values, error = _by_sets(sets, intercept, slopes, permutations, seed)
    baseline = float(expit(intercept)) * float(sets.journeys.sum())
    predicted = baseline + float(values.sum())
    share, rest = values / predicted, baseline / predicted
    converted, revenue = float(sets.conversions.sum()), float(sets.revenue.sum())
    return Solution(
        conversions=converted * share,
        revenue=revenue * share,
        baseline=converted * rest,
        baseline_revenue=revenue * rest,
        standard_error=None if error is None else error / predicted,
    )


def fit(members: Booleans, conversions: Floats, nulls: Floats) -> tuple[float, Floats]:
    """Log odds of a journey to convert: intercept, and a slope per channel, (k,).

    Each set is a row that converts and a row that does not, weighted by their journeys.

    Raises
    ------
    ModelError
        Where all journeys convert, or none.
    ConvergenceError
        Where the slopes do not settle.
    """
    # Its import takes longer than any other model: only those who fit pay for it.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    weight = np.concatenate([conversions, nulls])
    counted = weight > 0
    converted = (np.arange(weight.size) < conversions.size)[counted]
    if converted.all() or not converted.any():
        raise ModelRefused(
            "shapley: game model needs journeys that convert and journeys that do not: "
            "add the nulls, or choose the game conversions"
        )
    regression = LogisticRegression(C=C, solver="newton-cholesky", max_iter=1000, tol=1e-10)
    touched = np.concatenate([members, members])[counted].astype(np.float64)
    weight = weight[counted] / weight.sum()  # so that shares do not change when all counts double
    with warnings.catch_warnings():
        # It also warns where it stands at the optimum and cannot get better: judged below instead.
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit(touched, converted, sample_weight=weight)
    intercept, slopes = float(regression.intercept_[0]), regression.coef_[0]
    excess = weight * (expit(intercept + touched @ slopes) - converted)
    gradient = np.append(excess @ touched + slopes / C, excess.sum())
    if not np.abs(gradient).max() < SETTLED:
        raise ConvergenceError(
            "shapley: the regression of game model does not settle: choose another game"
        )
    return intercept, slopes


def predictions(intercept: float, slopes: Floats) -> Floats:
    """P(convert | exactly S) for every set S of channels, (..., 2^k) from slopes (..., k)."""
    log_odds = np.full((*slopes.shape[:-1], 1), intercept)
    for channel in range(slopes.shape[-1]):
        more = log_odds + slopes[..., channel, None]
        log_odds = np.concatenate([log_odds, more], axis=-1)
    probabilities: Floats = expit(log_odds)
    return probabilities


def _by_sets(
    sets: Sets, intercept: float, slopes: Floats, permutations: int, seed: int
) -> tuple[Floats, float | None]:
    """Values added up over the games of distinct sets, (k,), and their largest standard error."""
    random = np.random.default_rng(seed)
    sizes = sets.members.sum(axis=1)
    sampled = sizes.max() > MOST_MEMBERS
    if sampled and permutations == 0:
        raise ModelError(
            f"shapley: game model is exact to {MOST_CHANNELS} channels, or to {MOST_MEMBERS} in "
            f"one journey, and one touched {sizes.max()}: set permutations above 0 to sample"
        )
    values, variance = np.zeros((2, slopes.size))
    for size in np.unique(sizes).tolist():
        rows = np.flatnonzero(sizes == size)
        step = max(1, BLOCK >> size) if size <= MOST_MEMBERS else 1
        for start in range(0, rows.size, step):
            part = rows[start : start + step]
            member = np.nonzero(sets.members[part])[1].reshape(part.size, size)
            if size <= MOST_MEMBERS:
                own = shapley_values(predictions(intercept, slopes[member]))
            else:
                own, spread = _sampled(intercept, slopes[member[0]], permutations, random)
                variance[member[0]] += sets.journeys[part] ** 2 * spread
            own = own * sets.journeys[part, None]
            values += add_up(member.ravel(), own.ravel(), slopes.size)
    return values, float(np.sqrt(variance.max())) if sampled else None


def _sampled(
    intercept: float, slopes: Floats, permutations: int, random: np.random.Generator
) -> tuple[Floats, Floats]:
    """Values of the game of one set by antithetic random orders, (1, t), and their variances."""
    order = random.permuted(np.tile(np.arange(slopes.size), (permutations, 1)), axis=1)
    added = _added_along(order, intercept, slopes)
    added += _added_along(order[:, ::-1], intercept, slopes)
    added /= 2
    return added.mean(axis=0, keepdims=True), added.var(axis=0, ddof=1) / permutations


def _added_along(order: Integers, intercept: float, slopes: Floats) -> Floats:
    """What each channel adds to the probability when it joins, (orders, t)."""
    log_odds = intercept + np.cumsum(slopes[order], axis=1)
    value = np.diff(expit(log_odds), axis=1, prepend=float(expit(intercept)))
    added: Floats = np.empty_like(value)
    np.put_along_axis(added, order, value, axis=1)
    return added

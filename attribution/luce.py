"""From channel totals back to conversions: weights by which the channels of a conversion share it.

In Luce's choice model a conversion touched by the channels S gives channel c of S the share
w_c / (sum of w over S). SQL needs no more to reconcile conversions with a model's channel totals.

Totals can be out of reach: no division gives a set A of channels less than f(A), the conversions
touched by nothing outside A. Totals x are attainable if and only if x(A) >= f(A) for every A, and
x = f over all channels: the core of f. One point of it is the nearest to totals t by relative
entropy, and by every other sum of t_c g(x_c / t_c) with g convex. There the channels fall into
blocks of equal x_c / t_c, and each conversion is shared by its channels of the lowest ratio alone
(Fujishige 1980, doi 10.1287/moor.5.2.186). Hence levels: the highest in a conversion shares it.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from attribution.errors import ConvergenceError, ModelError
from attribution.paths import Floats, Integers, add_up
from attribution.statistics import Booleans

RECONCILED = 1e-9  # of all amounts: what the credit of any channel may be off
# Of the amounts of a part, where channels of different parts never meet:
TIGHT = 1e-11  # what a fit aims at; a set A with less beyond f(A) gets f(A), to keep w finite
LOWEST = 1e-12  # stands for totals of 0 and below, which have no ratio
MODERATE = 20.0  # nats: log-weights this close together hide no tight set
LARGEST = 690.0  # nats: exp of more is no float
TINY = 1e-300
PULLS = 10.0 ** -np.arange(1, 14)


@dataclass(frozen=True, eq=False)
class LuceWeights:
    """How channels share a conversion: those of the highest level in it, by their weights.

    Attributes
    ----------
    level : int array, (K,)
        From 0; all 0 where every channel shares in every conversion it touched.
    weight : float array, (K,)
        > 0; those of one level can be compared.
    credited : float array, (K,)
        What this credit sums to: the attainable totals nearest to those asked for.
    gap : float array, (K,)
        totals - credited: what no division of the conversions reconciles.
    residual : float
        The most by which `credited` misses the totals that the weights were fitted to.
    """

    level: Integers
    weight: Floats
    credited: Floats
    gap: Floats
    residual: float


def luce_weights(members: Booleans, amounts: Floats, totals: Floats) -> LuceWeights:
    """Levels and weights whose credit per conversion sums to channel totals, or nearest to them.

    Parameters
    ----------
    members : bool array, (n, K)
        Channels of each coalition; the same channels may stand in several rows.
    amounts : float array, (n,)
        Conversions or revenue of the coalitions, >= 0.
    totals : float array, (K,)
        A model's credit in the same unit and with the same sum, to 1e-9; any may be <= 0. They are
        met to 1e-9 of the sum where attainable. Without amounts: level 0, weight 1, no credit.

    Raises
    ------
    ModelError
        Where shapes, signs or sums are wrong.
    ConvergenceError
        Where no weights come close enough, or they are too far apart for floats.

    Notes
    -----
    Newton's method, about 10 steps for attainable totals and 50 to 200 for others; a step takes one
    pass over the members of the distinct sets, and K^3. Memory: 120 bytes per such member, 40 K^2.
    """
    _check(members, amounts, totals)
    level, log_weight, credited = np.zeros((3, len(totals)))
    residual = 0.0
    for channels, part in _distinct(members, amounts).parts():
        fit, amount = _nearest(part, totals[channels]), part.amounts.sum()
        level[channels], log_weight[channels] = fit.level, fit.log_weight
        credited[channels] = fit.credit * amount
        residual = max(residual, float(fit.residual * amount))
    if residual > RECONCILED * amounts.sum():
        raise ConvergenceError(f"credit weights: off by {residual:.3g}: check totals, coalitions")
    if np.abs(log_weight).max(initial=0.0) > LARGEST:
        raise ConvergenceError("credit weights: too far apart for floats: leave tiny channels out")
    return LuceWeights(level.astype(int), np.exp(log_weight), credited, totals - credited, residual)


def _check(members: Booleans, amounts: Floats, totals: Floats) -> None:
    shaped = members.shape == (*amounts.shape, *totals.shape) and amounts.ndim == totals.ndim == 1
    if members.dtype != np.bool_ or not shaped:
        raise ModelError(f"credit weights: members is no bool ({amounts.size}, {totals.size})")
    with np.errstate(over="ignore", invalid="ignore"):
        amount, total, size = amounts.sum(), totals.sum(), np.abs(totals).sum()
        off = abs(total - amount) > RECONCILED * max(amount, size)
    for wrong, what in (
        (not np.isfinite([amount, size]).all(), "amounts or totals are not finite or too large"),
        ((amounts < 0).any(), "an amount is below 0: leave refunds out"),
        (amounts[~members.any(axis=1)].any(), "an amount has no channel: leave it out"),
        (off, f"totals sum to {total:.12g} and amounts to {amount:.12g}: scale the totals"),
    ):
        if wrong:
            raise ModelError(f"credit weights: {what}")


@dataclass(frozen=True, eq=False)
class _Sets:
    """Channel sets, none empty, of amounts f > 0, (n,): (row, channel), (m,), of all members."""

    row: Integers
    channel: Integers
    amounts: Floats
    n_channels: int

    @cached_property
    def starts(self) -> Integers:
        return np.flatnonzero(np.diff(self.row, prepend=-1))

    @cached_property
    def components(self) -> Integers:
        """A label per channel, (K,): channels share it that a chain of sets joins."""
        n, ones = len(self.amounts), np.ones(len(self.row))
        shape = (n + self.n_channels, n + self.n_channels)
        graph = sp.coo_array((ones, (self.row, n + self.channel)), shape)
        return np.asarray(connected_components(graph, directed=False)[1][n:], dtype=np.int64)

    def highest(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Of one value per channel, the highest in each set, (n,)."""
        return np.asarray(np.maximum.reduceat(values[self.channel], self.starts))

    def shares(self, log_weight: Floats) -> Floats:
        """Luce's shares p, (m,), whatever the distance between weights."""
        weight = np.exp(log_weight[self.channel] - self.highest(log_weight)[self.row])
        return np.asarray(weight / np.add.reduceat(weight, self.starts)[self.row])

    def credit(self, log_weight: Floats) -> Floats:
        shared = self.shares(log_weight) * self.amounts[self.row]
        return add_up(self.channel, shared, self.n_channels)

    def curvature(self, log_weight: Floats) -> Floats:
        """Change of credit with log-weights, (K, K): diag(credit) - sum over sets of f p p'."""
        root = self.shares(log_weight) * np.sqrt(self.amounts[self.row])
        ends = np.append(self.starts, len(self.row))
        p = sp.csr_array((root, self.channel, ends), (len(self.amounts), self.n_channels))
        if len(root) > max(32, self.n_channels / 8) * len(self.amounts):
            p = p.toarray()  # sets so large are faster multiplied as a plain matrix
        change = -(p.T @ p if isinstance(p, np.ndarray) else (p.T @ p).toarray())
        np.fill_diagonal(change, 0.0)
        np.fill_diagonal(change, -change.sum(axis=1))  # no cancellation: shares of a set sum to 1
        return np.asarray(change)

    def parts(self) -> Iterator[tuple[Integers, "_Sets"]]:
        """Channels and sets of each component; one cannot bear on the credit of another."""
        for label in np.unique(self.components[self.channel]):
            inside = self.components == label
            here = inside[self.channel]
            rows, row = np.unique(self.row[here], return_inverse=True)
            channel = (np.cumsum(inside) - 1)[self.channel[here]]
            yield np.flatnonzero(inside), _Sets(row, channel, self.amounts[rows], int(inside.sum()))

    def cut(self, level: Integers) -> "_Sets":
        """Each set cut to its channels of the highest level in it."""
        kept = level[self.channel] == self.highest(level)[self.row]
        return replace(self, row=self.row[kept], channel=self.channel[kept])


def _distinct(members: Booleans, amounts: Floats) -> _Sets:
    members, amounts = members[amounts > 0], amounts[amounts > 0]
    packed, place = np.unique(np.packbits(members, axis=1), axis=0, return_inverse=True)
    row, channel = np.nonzero(np.unpackbits(packed, axis=1, count=members.shape[1]))
    return _Sets(row, channel, add_up(place, amounts, len(packed)), members.shape[1])


class _Fit(NamedTuple):
    level: Integers
    log_weight: Floats
    credit: Floats
    residual: float


def _nearest(part: _Sets, totals: Floats) -> _Fit:
    """Levels and weights of one part; credit as fractions of its amounts.

    Attainable totals have weights. For others the fit is pulled: at any pull e > 0 there are
    weights with credit_c = t_c exp(-e log w_c), and as e falls the channels that must get more than
    their totals sink below the rest. How their order was found need not be trusted: if weights
    within its blocks meet the totals of the blocks, the credit is in the core and conversions go to
    the lowest ratios, which is so at the nearest point alone.
    """
    amount, totals = part.amounts.sum(), np.maximum(totals, 0.0)
    sets = replace(part, amounts=part.amounts / amount)
    totals = np.maximum(totals / max(amount, totals.sum()), LOWEST)
    totals /= totals.sum()
    log_weight = np.zeros(part.n_channels)
    best = _within_blocks(sets, totals, np.zeros(part.n_channels, dtype=int), log_weight)
    for pull in PULLS:
        if best.residual <= TIGHT:
            break
        log_weight, *_ = _newton(sets, totals, log_weight, pull)
        level = _blocks(sets, totals, np.argsort(log_weight, kind="stable"))
        fit = _within_blocks(sets, totals, level, log_weight)
        best = min(best, fit, key=lambda fit: fit.residual)
    return best


def _blocks(sets: _Sets, totals: Floats, order: Integers) -> Integers:
    """Level per channel, (K,): blocks of the nearest point, given the order in which channels rise.

    Let A grow in that order and draw f(A) over t(A). The edges of the concave majorant are the
    blocks, and their slopes the ratios x_c / t_c, the lowest block having the highest. Where the
    curve touches an edge, a cut changes nothing.
    """
    place = np.argsort(order)
    grown = add_up(sets.highest(place), sets.amounts, sets.n_channels)
    t, f = (np.append(0.0, np.cumsum(steps)) for steps in (totals[order], grown))
    corners = [0]
    while (a := corners[-1]) < len(order):
        slopes = (f[a + 1 :] - f[a]) / np.maximum(t[a + 1 :] - t[a], TINY)
        corners.append(a + 1 + int(np.argmax(slopes)))
    touches = np.interp(t, t[corners], f[corners]) - f <= TIGHT
    return np.asarray(np.cumsum(touches[:-1])[place] - 1)


def _within_blocks(sets: _Sets, totals: Floats, level: Integers, log_weight: Floats) -> _Fit:
    """Weights in each block that meet its totals, once these are scaled to its conversions."""
    cut = sets.cut(level)
    amounts = add_up(cut.highest(level), cut.amounts, int(level.max()) + 1)
    asked = np.maximum(add_up(level, totals, len(amounts)), TINY)
    totals = totals * (amounts / asked)[level]
    mean = add_up(cut.components, log_weight, sets.n_channels)[cut.components]
    mean /= np.bincount(cut.components)[cut.components]
    fit = _Fit(level, *_newton(cut, totals, log_weight - mean, 0.0))
    if fit.residual <= RECONCILED and np.ptp(fit.log_weight) > MODERATE:
        finer = _blocks(cut, totals, np.lexsort((fit.log_weight, level)))
        finer = np.unique(level * sets.n_channels + finer, return_inverse=True)[1]
        if finer.max() > level.max():
            refit = _within_blocks(cut, totals, finer, fit.log_weight)
            return refit if refit.residual <= TIGHT else fit
    return fit


def _newton(
    sets: _Sets, totals: Floats, log_weight: Floats, pull: float
) -> tuple[Floats, Floats, float]:
    """Log-weights with credit_c = t_c exp(-pull log w_c), their credit, and the largest difference.

    They maximise sum_c t_c (1 - exp(-pull log w_c)) / pull - sum_S f(S) log w(S), which is concave;
    without a pull that is a likelihood (Hunter 2004, doi 10.1214/aos/1079120141), free of scale.
    """
    fixed_scale = 0.0 if pull else (sets.components[:, None] == sets.components) / totals.size**2

    def at(log_weight: Floats) -> tuple[Floats, Floats]:
        asked = totals * np.exp(np.clip(-pull * log_weight, -300.0, 300.0))
        return sets.credit(log_weight), asked

    credit, asked = at(log_weight)
    residuals = []
    for step in range(100):
        # a pulled channel sinks by its ratio, so small ones count as much
        residuals.append(float((np.abs(asked - credit) / (asked if pull else 1.0)).max()))
        diverges = step >= 30 and not pull and residuals[step] > residuals[step - 30] / 2
        if residuals[step] <= (pull or TIGHT) / 100 or diverges:
            break
        curvature = sets.curvature(log_weight) + np.diag(pull * asked) + fixed_scale
        direction = _ascent(curvature, credit, asked)
        slope = (asked - credit) @ direction
        spread = (sets.highest(direction) + sets.highest(-direction)).max()
        longest = min(1.0, 10 / (pull or 1.0) / max(spread, TINY))
        for length in longest * 0.5 ** np.arange(34):
            credit, asked = at(log_weight + length * direction)
            # concave: while the slope has hardly turned, the step was not too long
            if (asked - credit) @ direction >= -slope / 10:
                break
        log_weight = log_weight + length * direction
    return log_weight, credit, float(np.abs(asked - credit).max())


def _ascent(curvature: Floats, credit: Floats, asked: Floats) -> Floats:
    """Newton's direction; where floats leave none, the step of Hunter 2004 (minorise-maximise)."""
    with suppress(np.linalg.LinAlgError):
        direction = np.linalg.solve(curvature, asked - credit)
        if np.isfinite(direction).all() and (asked - credit) @ direction > 0:
            return np.asarray(direction)
    return np.asarray(np.log(np.maximum(asked, LOWEST) / np.maximum(credit, LOWEST)))

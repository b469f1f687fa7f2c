"""One pass of the ladder over all customers: how likely they are, and what they tell of the
parameters. In threads, and added up in the same order whatever their number.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import njit

from attribution.customer_days import CustomerDays
from attribution.models.ladder_chances import Chances, DayChances, Ladder, chances, day_chances
from attribution.models.ladder_customer import backward_days, forward_days
from attribution.models.ladder_days import DayKinds, day_kinds
from attribution.paths import Floats, Integers
from attribution.statistics import Booleans

MOST_NUMBERS = 4_000_000  # that the sums of customers one by one may hold at a time
CHUNKS = 4  # sums are added up in this order whatever the number of threads: the same bits


class Sums(NamedTuple):
    """Expected sums over customers and days, weighted.

    start : (J, J)
    entry : (J, K) first days with a touch of the channel
    days : (J,) later days alive, contact : (J, K) those with a touch
    organic_moves, organic_days : (J, J + 1) moves / (1 - exp(-hazard)), and days at risk
    effect_moves, effect_days : (J, J + 1, K, L) the same on days l after a touch of the channel
    recorded, passed : (J + 1,)
    left, stayed : () how often customers left in silence, and how often they could have and did not
    """

    start: Floats
    entry: Floats
    days: Floats
    contact: Floats
    organic_moves: Floats
    organic_days: Floats
    effect_moves: Floats
    effect_days: Floats
    recorded: Floats
    passed: Floats
    left: Floats
    stayed: Floats


@njit(cache=True)
def _quiet_days(quiet_sums, powers, organic, at, sums):  # type: ignore[no-untyped-def]
    """Adds the days inside all runs.

    A run of n days with mass a before and b after it made s -> k on its day t with the expectation
    (a T^t)[s] T[s, k] (T^(n-1-t) b)[k] / (a T^n b); `quiet_sums[n]` is the sum of a b' / (a T^n b).
    """
    stages = len(organic)
    size = stages + 1
    crossed = np.zeros((size, size))
    for length in range(1, len(quiet_sums)):
        if quiet_sums[length].any():
            for t in range(length):
                crossed += powers[t].T @ quiet_sums[length] @ powers[length - 1 - t].T
    crossed *= powers[1]
    for s in range(stages):
        present = crossed[s, s:stages].sum()
        sums[at[2] + s] += present
        sums[at[10]] += crossed[s, stages]
        sums[at[11]] += present
        at_risk = crossed[s, s]
        for j in range(s + 1, stages):
            moved = crossed[s, j]
            at_risk += moved
            if moved > 0.0:
                sums[at[4] + s * size + j] += moved / -math.expm1(-organic[s, j])
            sums[at[5] + s * size + j] += at_risk
            for rung in range(s + 1, j + 1):
                sums[at[9] + rung] += moved
        sums[at[5] + s * size + stages] += at_risk


@njit(cache=True)
def _add_kinds(kinds, joint, days, events, channels, lags, at, sums):  # type: ignore[no-untyped-def]
    """Adds days of the given kinds on which customers made the expected moves `joint`."""
    stages = events.shape[1]
    for row in range(len(kinds)):
        kind = kinds[row]
        first, last = days.touch_start[kind], days.touch_start[kind + 1]
        rungs = days.rungs[kind]
        contact = at[1] if days.is_first[kind] else at[3]
        for s in range(stages):
            present = joint[row, s].sum()
            if present == 0.0:
                continue
            if not days.is_first[kind]:
                sums[at[2] + s] += present
                sums[at[11]] += present
            for t in range(first, last):
                if days.touch_lag[t] == 0:
                    sums[contact + s * channels + days.touch_channel[t]] += present
            at_risk = joint[row, s, s]
            for j in range(s + 1, stages + 1):
                moved = joint[row, s, j]
                caused = moved / events[kind, s, j] if moved > 0.0 else 0.0
                at_risk += moved
                place = s * (stages + 1) + j
                sums[at[4] + place] += caused
                sums[at[5] + place] += at_risk
                for t in range(first, last):
                    cell = (place * channels + days.touch_channel[t]) * lags + days.touch_lag[t]
                    sums[at[6] + cell] += caused
                    sums[at[7] + cell] += at_risk
                for rung in range(s + 1, min(j, stages - 1) + 1):
                    sums[at[9] + rung] += moved
                    if rungs >> (rung - 1) & 1:
                        sums[at[8] + rung] += moved


@njit(cache=True, nogil=True)
def _chunk(first, last, days, ladder, common, on_day, posterior):  # type: ignore[no-untyped-def]
    """Log-likelihood and expected moves, on days by kind and in quiet runs by length, of customers
    first up to last, and how often they left; fills their posterior.
    """
    longest, size = len(common.powers) - 1, len(common.powers[0])
    most = np.diff(days.item_start[first : last + 1]).max() if last > first else 0
    forward = np.zeros((2 * most + 2, size))
    joint = np.zeros(on_day.moves.shape)
    quiet_sums = np.zeros((longest + 1, size, size))
    total, left = 0.0, 0.0
    for i in range(first, last):
        likelihood = forward_days(
            i, days, ladder.start, ladder.gone, common.powers, on_day.moves, on_day.silent,
            days.kind, forward,
        )  # fmt: skip
        total += days.weight[i] * likelihood
        if likelihood > -math.inf:
            left += backward_days(
                i, days, ladder.gone, common.powers, on_day.moves, on_day.silent, days.kind,
                forward, joint, days.kind, quiet_sums, posterior[i],
            )  # fmt: skip
    return total, joint, quiet_sums, left


@njit(cache=True, nogil=True)
def _one_by_one(days, ladder, common, on_day, at):  # type: ignore[no-untyped-def]
    """Log-likelihood, (N,), and sums of every customer, a row each. No day is in a quiet run."""
    count, size = days.weight.size, len(common.powers[0])
    channels, lags, stages = ladder.contact.shape[1], ladder.kernel.size, size - 1
    most = np.diff(days.item_start).max()
    forward, row = np.zeros((2 * most + 2, size)), np.zeros(days.kind.size, dtype=np.int64)
    quiet_sums, posterior = np.zeros((1, size, size)), np.zeros(stages)
    sums, likelihoods = np.zeros((count, at[-1])), np.zeros(count)
    for i in range(count):
        first, last = days.item_start[i], days.item_start[i + 1]
        row[first:last] = np.arange(last - first)
        joint = np.zeros((last - first, stages, size))
        likelihoods[i] = forward_days(
            i, days, ladder.start, ladder.gone, common.powers, on_day.moves, on_day.silent,
            days.kind, forward,
        )  # fmt: skip
        if likelihoods[i] > -math.inf:
            sums[i, at[10]] = backward_days(
                i, days, ladder.gone, common.powers, on_day.moves, on_day.silent, days.kind,
                forward, joint, row, quiet_sums, posterior,
            )  # fmt: skip
            for s in range(stages):
                sums[i, at[0] + s * stages + days.first_stage[i]] = days.weight[i] * posterior[s]
            _add_kinds(
                days.kind[first:last], joint, days, on_day.events, channels, lags, at, sums[i]
            )
    return likelihoods * days.weight, sums


def ladder_pass(days: DayKinds, ladder: Ladder) -> tuple[float, Sums, Floats]:
    """Log-likelihood of all customers, their expected sums, and their stages at entry (N, J)."""
    common, on_day, at = _prepared(days, ladder)
    stages, channels = ladder.contact.shape
    posterior = np.zeros((days.weight.size, stages))
    cuts = np.linspace(0, days.weight.size, CHUNKS + 1).astype(np.int64)
    likelihoods, left = [], 0.0
    joint, quiet_sums = np.zeros_like(on_day.moves), np.zeros_like(common.powers)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(
            lambda i: _chunk(cuts[i], cuts[i + 1], days, ladder, common, on_day, posterior),
            range(CHUNKS),
        ):
            likelihoods.append(found[0])
            joint += found[1]
            quiet_sums += found[2]
            left += found[3]
    sums = np.zeros(at[-1])
    entered = np.zeros((stages, stages))
    np.add.at(entered.T, days.first_stage, days.weight[:, None] * posterior)
    sums[: at[1]] = entered.ravel()
    sums[at[10]] = left
    kinds = np.arange(len(joint))
    _add_kinds(kinds, joint, days, on_day.events, channels, ladder.kernel.size, at, sums)
    _quiet_days(quiet_sums, common.powers, ladder.organic, at, sums)
    return math.fsum(likelihoods), _named(sums, ladder), posterior


def customer_sums(days: CustomerDays, ladder: Ladder) -> Iterator[tuple[Booleans, Floats, Sums]]:
    """Some customers at a time: which, (N,), their weighted log-likelihoods, (n,), and the sums of
    each alone, every array with n in front.
    """
    row = sum(math.prod(shape) for shape in _shapes(ladder))
    at_once = max(20, MOST_NUMBERS // row)
    for first in range(0, days.customers, at_once):
        part = np.zeros(days.customers, dtype=np.bool_)
        part[first : first + at_once] = True
        kinds = day_kinds(days.part(part), ladder.kernel.size, one_by_one=True)
        likelihoods, sums = _one_by_one(kinds, ladder, *_prepared(kinds, ladder))
        yield part, likelihoods, _named(sums, ladder)


def _prepared(days: DayKinds, ladder: Ladder) -> tuple[Chances, DayChances, Integers]:
    """Chances of all days, chances by kind of day, and where the parts of the sums begin."""
    at = np.concatenate([[0], np.cumsum([math.prod(shape) for shape in _shapes(ladder)])])
    common = chances(ladder, days.longest)
    return common, day_chances(days, ladder, common), at


def _shapes(ladder: Ladder) -> list[tuple[int, ...]]:
    """Of the parts of a row of sums, in the order of `Sums`."""
    stages, channels = ladder.contact.shape
    moves = (stages, stages + 1)
    effects = (*moves, channels, ladder.kernel.size)
    return [
        *((stages, stages), (stages, channels), (stages,), (stages, channels)),
        *(moves, moves, effects, effects, (stages + 1,), (stages + 1,), (), ()),
    ]


def _named(rows: Floats, ladder: Ladder) -> Sums:
    shapes = _shapes(ladder)
    cuts = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    parts = np.split(rows, cuts, axis=-1)
    return Sums(
        *(
            part.reshape((*rows.shape[:-1], *shape))
            for part, shape in zip(parts, shapes, strict=True)
        )
    )

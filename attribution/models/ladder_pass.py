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
NEGLIGIBLE = 1e-9  # share of a customer in a class of activity, not worth a way back through it
CHUNKS = 4  # sums are added up in this order whatever the number of threads: the same bits


class Sums(NamedTuple):
    """Expected sums over customers and days, weighted.

    start : (J, J)
    entry : (J, K) first days with a touch of the channel
    days : (A, J) later days alive by class of activity, contact : (A, J, K) those with a touch
    organic_moves, organic_days : (J, J + 1) moves / (1 - exp(-hazard)), and days at risk
    effect_moves, effect_days : (J, J + 1, K, L) the same on days l after a touch of the channel
    recorded, passed : (J + 1,)
    left, stayed : () how often customers left in silence, and how often they could have and did not
    classes : (A,) customers
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
    classes: Floats


@njit(cache=True)
def _quiet_days(a, quiet_sums, powers, organic, at, sums):  # type: ignore[no-untyped-def]
    """Adds the days inside all runs of a class of activity.

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
        sums[at[2] + a * stages + s] += present
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
def _add_kinds(kinds, told, present, days, events, channels, lags, at, sums):  # type: ignore[no-untyped-def]
    """Adds days of the given kinds on which so many were present, (A, ., J), and `told` moved."""
    stages = events.shape[1]
    for row in range(len(kinds)):
        kind = kinds[row]
        for s in range(stages):
            _add_contacts(kind, s, present[:, row, s], days, stages, channels, at, sums)
            _add_moves(kind, s, told[row, s], days, events, channels, lags, at, sums)


@njit(cache=True)
def _add_contacts(kind, s, present, days, stages, channels, at, sums):  # type: ignore[no-untyped-def]
    for a in range(len(present)):
        if present[a] == 0.0:
            continue
        place = a * stages + s
        contact = at[3] + place * channels
        if days.is_first[kind]:
            contact = at[1] + s * channels
        else:
            sums[at[2] + place] += present[a]
            sums[at[11]] += present[a]
        for t in range(days.touch_start[kind], days.touch_start[kind + 1]):
            if days.touch_lag[t] == 0:
                sums[contact + days.touch_channel[t]] += present[a]


@njit(cache=True)
def _add_moves(kind, s, told, days, events, channels, lags, at, sums):  # type: ignore[no-untyped-def]
    stages, rungs, at_risk = events.shape[1], days.rungs[kind], told[s]
    for j in range(s + 1, stages + 1):
        moved = told[j]
        at_risk += moved
        if at_risk == 0.0:
            continue
        caused = moved / events[kind, s, j] if moved > 0.0 else 0.0
        place = s * (stages + 1) + j
        sums[at[4] + place] += caused
        sums[at[5] + place] += at_risk
        for t in range(days.touch_start[kind], days.touch_start[kind + 1]):
            cell = (place * channels + days.touch_channel[t]) * lags + days.touch_lag[t]
            sums[at[6] + cell] += caused
            sums[at[7] + cell] += at_risk
        for rung in range(s + 1, min(j, stages - 1) + 1):
            sums[at[9] + rung] += moved
            if rungs >> (rung - 1) & 1:
                sums[at[8] + rung] += moved


@njit(cache=True, nogil=True)
def _forward(i, days, ladder, common, on_day, forward, likelihood):  # type: ignore[no-untyped-def]
    """Log-likelihood of customer i; fills `forward` and `likelihood`, (A,), by class."""
    for a in range(len(likelihood)):
        likelihood[a] = math.log(ladder.activity_share[a]) + forward_days(
            i, days, ladder.start, ladder.gone, common.powers[a], on_day.moves, on_day.met[a],
            on_day.silent, days.kind, forward[a],
        )  # fmt: skip
    most = likelihood.max()
    if most == -math.inf:
        return most
    return most + math.log(np.exp(likelihood - most).sum())


@njit(cache=True, nogil=True)
def _customer(i, days, ladder, common, on_day, told, told_row, present, quiet, forward, posterior):  # type: ignore[no-untyped-def]
    """Log-likelihood of customer i, and how often it left; adds what it tells of its days, and
    fills its posterior, (A, J), by class of activity and stage at entry.
    """
    likelihood, left = np.zeros(len(ladder.activity)), 0.0
    total = _forward(i, days, ladder, common, on_day, forward, likelihood)
    for a in range(len(likelihood)):
        share = math.exp(likelihood[a] - total) if total > -math.inf else 0.0
        if share < NEGLIGIBLE:
            continue
        left += backward_days(
            i, days, share * days.weight[i], ladder.gone, common.powers[a], on_day.moves,
            on_day.met[a], on_day.silent, days.kind, forward[a], told, told_row, present[a],
            quiet[a], posterior[a],
        )  # fmt: skip
        posterior[a] *= share
    return total, left


@njit(cache=True, nogil=True)
def _likelihoods(days, ladder, common, on_day):  # type: ignore[no-untyped-def]
    count, classes = days.weight.size, len(ladder.activity)
    forward = np.zeros((classes, 2 * np.diff(days.item_start).max() + 2, common.powers.shape[2]))
    found, likelihood = np.zeros(count), np.zeros(classes)
    for i in range(count):
        found[i] = _forward(i, days, ladder, common, on_day, forward, likelihood)
    return found


@njit(cache=True, nogil=True)
def _chunk(first, last, days, ladder, common, on_day, posterior):  # type: ignore[no-untyped-def]
    """Log-likelihood and expected moves and presence, on days by kind and in quiet runs by length,
    of customers first up to last, and how often they left; fills their posterior.
    """
    most = np.diff(days.item_start[first : last + 1]).max() if last > first else 0
    forward = np.zeros((len(ladder.activity), 2 * most + 2, common.powers.shape[2]))
    told, present = np.zeros(on_day.moves.shape), np.zeros(on_day.met.shape)
    quiet = np.zeros(common.powers.shape)
    total, left = 0.0, 0.0
    for i in range(first, last):
        found = _customer(
            i, days, ladder, common, on_day, told, days.kind, present, quiet, forward, posterior[i]
        )
        total += days.weight[i] * found[0]
        left += found[1]
    return total, told, present, quiet, left


@njit(cache=True, nogil=True)
def _one_by_one(days, ladder, common, on_day, at):  # type: ignore[no-untyped-def]
    """Log-likelihood, (N,), and sums of every customer, a row each. No day is in a quiet run."""
    count, size, classes = days.weight.size, common.powers.shape[2], len(ladder.activity)
    channels, lags, stages = ladder.contact.shape[1], ladder.kernel.size, size - 1
    most = np.diff(days.item_start).max()
    forward, row = np.zeros((classes, 2 * most + 2, size)), np.zeros(days.kind.size, dtype=np.int64)
    quiet, posterior = np.zeros(common.powers.shape), np.zeros((count, classes, stages))
    sums, likelihoods = np.zeros((count, at[-1])), np.zeros(count)
    for i in range(count):
        first, last = days.item_start[i], days.item_start[i + 1]
        row[first:last] = np.arange(last - first)
        told, present = np.zeros((last - first, stages, size)), np.zeros((classes, most, stages))
        likelihoods[i], sums[i, at[10]] = _customer(
            i, days, ladder, common, on_day, told, row, present, quiet, forward, posterior[i]
        )
        for s in range(stages):
            sums[i, at[0] + s * stages + days.first_stage[i]] = (
                days.weight[i] * posterior[i, :, s].sum()
            )
        sums[i, at[12] :] = days.weight[i] * posterior[i].sum(axis=1)
        _add_kinds(
            days.kind[first:last], told, present, days, on_day.events, channels, lags, at, sums[i]
        )
    return likelihoods * days.weight, sums


def ladder_pass(days: DayKinds, ladder: Ladder) -> tuple[float, Sums, Floats]:
    """Log-likelihood of all customers, their expected sums, and their classes of activity and
    stages at entry, (N, A, J).
    """
    common, on_day, at = _prepared(days, ladder)
    stages, channels = ladder.contact.shape
    classes = len(ladder.activity)
    posterior = np.zeros((days.weight.size, classes, stages))
    cuts = np.linspace(0, days.weight.size, CHUNKS + 1).astype(np.int64)
    likelihoods, left = [], 0.0
    told, present, quiet = (
        np.zeros_like(part) for part in (on_day.moves, on_day.met, common.powers)
    )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(
            lambda i: _chunk(cuts[i], cuts[i + 1], days, ladder, common, on_day, posterior),
            range(CHUNKS),
        ):
            likelihoods.append(found[0])
            told += found[1]
            present += found[2]
            quiet += found[3]
            left += found[4]
    sums = np.zeros(at[-1])
    weighted = days.weight[:, None, None] * posterior
    entered = np.zeros((stages, stages))
    np.add.at(entered.T, days.first_stage, weighted.sum(axis=1))
    sums[: at[1]] = entered.ravel()
    sums[at[10]] = left
    sums[at[12] :] = weighted.sum(axis=(0, 2))
    kinds = np.arange(len(told))
    _add_kinds(kinds, told, present, days, on_day.events, channels, ladder.kernel.size, at, sums)
    for a in range(classes):
        _quiet_days(a, quiet[a], common.powers[a], ladder.organic, at, sums)
    return math.fsum(likelihoods), _named(sums, ladder), posterior


def log_likelihoods(days: DayKinds, ladder: Ladder) -> Floats:
    """Of each customer, (N,), without its weight."""
    common, on_day, _ = _prepared(days, ladder)
    return np.asarray(_likelihoods(days, ladder, common, on_day))


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
    classes = len(ladder.activity)
    moves = (stages, stages + 1)
    effects = (*moves, channels, ladder.kernel.size)
    return [
        *((stages, stages), (stages, channels), (classes, stages), (classes, stages, channels)),
        *(moves, moves, effects, effects, (stages + 1,), (stages + 1,), (), (), (classes,)),
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

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
from attribution.models.ladder_chances import Chances, Ladder, chances
from attribution.models.ladder_customer import (
    Customers,
    backward_sums,
    forward_items,
    new_work,
)
from attribution.paths import Floats, Integers
from attribution.statistics import Booleans

MOST_NUMBERS = 4_000_000  # that the sums of customers one by one may hold at a time
CHUNKS = 32  # sums are added up in this order whatever the number of threads: the same bits


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


@njit(cache=True, nogil=True)
def _chunk(first, last, customers, ladder, common, at, posterior):  # type: ignore[no-untyped-def]
    """Log-likelihood, sums, sums of runs of customers first up to last; fills their posterior."""
    longest, stages = len(common.powers), len(ladder.contact)
    work = new_work(longest, stages)
    sums = np.zeros(at[-1])
    quiet_sums = np.zeros((longest + 1, stages + 1, stages + 1))
    total = 0.0
    for i in range(first, last):
        items, likelihood = forward_items(i, customers, ladder, common, True, work)
        total += customers.weight[i] * likelihood
        if likelihood > -math.inf:
            backward_sums(
                i, items, customers, ladder, common, work, at, sums, quiet_sums, posterior[i]
            )
    return total, sums, quiet_sums


@njit(cache=True, nogil=True)
def _one_by_one(customers, ladder, common, at):  # type: ignore[no-untyped-def]
    """Log-likelihood, (N,), and sums of every customer, a row each."""
    count, longest, stages = customers.weight.size, len(common.powers), len(ladder.contact)
    work = new_work(longest, stages)
    sums, likelihoods = np.zeros((count, at[-1])), np.zeros(count)
    posterior = np.zeros(stages)
    for i in range(count):
        quiet_sums = np.zeros((2, stages + 1, stages + 1))
        items, likelihoods[i] = forward_items(i, customers, ladder, common, False, work)
        if likelihoods[i] > -math.inf:
            backward_sums(
                i, items, customers, ladder, common, work, at, sums[i], quiet_sums, posterior
            )
            _quiet_days(quiet_sums, common.powers, ladder.organic, at, sums[i])
    return likelihoods * customers.weight, sums


def ladder_pass(days: CustomerDays, ladder: Ladder) -> tuple[float, Sums, Floats]:
    """Log-likelihood of all customers, their expected sums, and their stages at entry (N, J)."""
    customers, common, at = _prepared(days, ladder)
    posterior = np.zeros((days.customers, days.stages))
    cuts = np.linspace(0, days.customers, CHUNKS + 1).astype(np.int64)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(
            pool.map(
                lambda i: _chunk(cuts[i], cuts[i + 1], customers, ladder, common, at, posterior),
                range(CHUNKS),
            )
        )
    sums = np.sum([part[1] for part in found], axis=0)
    _quiet_days(
        np.sum([part[2] for part in found], axis=0), common.powers, ladder.organic, at, sums
    )
    return math.fsum(part[0] for part in found), _named(sums, ladder), posterior


def customer_sums(days: CustomerDays, ladder: Ladder) -> Iterator[tuple[Booleans, Floats, Sums]]:
    """Some customers at a time: which, (N,), their weighted log-likelihoods, (n,), and the sums of
    each alone, every array with n in front.
    """
    row = sum(math.prod(shape) for shape in _shapes(ladder))
    at_once = max(20, MOST_NUMBERS // row)
    for first in range(0, days.customers, at_once):
        part = np.zeros(days.customers, dtype=np.bool_)
        part[first : first + at_once] = True
        customers, common, at = _prepared(days.part(part), ladder)
        likelihoods, sums = _one_by_one(customers, ladder, common, at)
        yield part, likelihoods, _named(sums, ladder)


def _prepared(days: CustomerDays, ladder: Ladder) -> tuple[Customers, Chances, Integers]:
    """What the compiled code takes: customers, chances, and where the parts of the sums begin."""
    customers = Customers(*(getattr(days, name) for name in Customers._fields))
    at = np.concatenate([[0], np.cumsum([math.prod(shape) for shape in _shapes(ladder)])])
    return customers, chances(ladder, int(days.last_day.max()) + 1), at


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

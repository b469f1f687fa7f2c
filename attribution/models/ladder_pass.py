"""One pass of the ladder over all customers: how likely they are, and what they tell of the
parameters. In threads, and added up in the same order whatever their number.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numba import njit

from attribution.customer_days import CustomerDays
from attribution.models.ladder_chances import Chances, DayChances, Ladder, chances, day_chances
from attribution.models.ladder_customer import backward_days, forward_days
from attribution.models.ladder_days import DayKinds, day_kinds
from attribution.models.ladder_sums import Sums, add_kinds, named, quiet_days, shapes_of
from attribution.paths import Floats, Integers
from attribution.statistics import Booleans

MOST_NUMBERS = 4_000_000  # that the sums of customers one by one may hold at a time
NEGLIGIBLE = 1e-9  # share of a customer in a class of activity, not worth a way back through it
CHUNKS = 4  # sums are added up in this order whatever the number of threads: the same bits


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
def _one_by_one(first, last, days, ladder, common, on_day, at, likelihoods, sums):  # type: ignore[no-untyped-def]
    """Fills log-likelihood, (N,), and sums, (N, .), of customers first up to last. No day is in a
    quiet run.
    """
    size, classes = common.powers.shape[2], len(ladder.activity)
    channels, lags, stages = ladder.contact.shape[1], ladder.kernel.size, size - 1
    most = np.diff(days.item_start).max()
    forward, row = np.zeros((classes, 2 * most + 2, size)), np.zeros(days.kind.size, dtype=np.int64)
    quiet, posterior = np.zeros(common.powers.shape), np.zeros((classes, stages))
    for i in range(first, last):
        begin, end = days.item_start[i], days.item_start[i + 1]
        row[begin:end] = np.arange(end - begin)
        told, present = np.zeros((end - begin, stages, size)), np.zeros((classes, most, stages))
        posterior[:] = 0.0
        likelihoods[i], sums[i, at[10]] = _customer(
            i, days, ladder, common, on_day, told, row, present, quiet, forward, posterior
        )
        likelihoods[i] *= days.weight[i]
        for s in range(stages):
            sums[i, at[0] + s * stages + days.first_stage[i]] = (
                days.weight[i] * posterior[:, s].sum()
            )
        sums[i, at[12] :] = days.weight[i] * posterior.sum(axis=1)
        add_kinds(
            days.kind[begin:end], told, present, days, on_day.events, channels, lags, at, sums[i]
        )


def ladder_pass(days: DayKinds, ladder: Ladder) -> tuple[float, Sums, Floats]:
    """Log-likelihood of all customers, their expected sums, and their classes of activity and
    stages at entry, (N, A, J).
    """
    common, on_day, at = _prepared(days, ladder)
    stages, channels = ladder.contact.shape
    classes = len(ladder.activity)
    posterior = np.zeros((days.weight.size, classes, stages))
    likelihoods, left = [], 0.0
    told, present, quiet = (
        np.zeros_like(part) for part in (on_day.moves, on_day.met, common.powers)
    )
    for found in _in_chunks(
        days.weight.size,
        lambda first, last: _chunk(first, last, days, ladder, common, on_day, posterior),
    ):
        likelihoods.append(found[0])
        told += found[1]
        present += found[2]
        quiet += found[3]
        left += found[4]

    def of_kinds(first: int, last: int) -> Floats:
        part, some = np.zeros(at[-1]), slice(first, last)
        add_kinds(
            np.arange(first, last), told[some], present[:, some], days, on_day.events, channels,
            ladder.kernel.size, at, part,
        )  # fmt: skip
        return part

    sums = np.sum(_in_chunks(len(told), of_kinds), axis=0)
    weighted = days.weight[:, None, None] * posterior
    entered = np.zeros((stages, stages))
    np.add.at(entered.T, days.first_stage, weighted.sum(axis=1))
    sums[: at[1]] = entered.ravel()
    sums[at[10]] = left
    sums[at[12] :] = weighted.sum(axis=(0, 2))
    for a in range(classes):
        quiet_days(a, quiet[a], common.powers[a], ladder.organic, at, sums)
    return math.fsum(likelihoods), named(sums, ladder), posterior


def _in_chunks(count: int, work: Callable[[int, int], Any]) -> list[Any]:
    """What `work` finds from one index up to another, in threads; always the same parts."""
    cuts = np.linspace(0, count, CHUNKS + 1).astype(np.int64)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, cuts[:-1], cuts[1:]))


def log_likelihoods(days: DayKinds, ladder: Ladder) -> Floats:
    """Of each customer, (N,), without its weight."""
    common, on_day, _ = _prepared(days, ladder)
    return np.asarray(_likelihoods(days, ladder, common, on_day))


def customer_sums(days: CustomerDays, ladder: Ladder) -> Iterator[tuple[Booleans, Floats, Sums]]:
    """Some customers at a time: which, (N,), their weighted log-likelihoods, (n,), and the sums of
    each alone, every array with n in front.
    """
    row = sum(math.prod(shape) for shape in shapes_of(ladder))
    at_once = max(20, MOST_NUMBERS // row)
    for first in range(0, days.customers, at_once):
        part = np.zeros(days.customers, dtype=np.bool_)
        part[first : first + at_once] = True
        kinds = day_kinds(days.part(part), ladder.kernel.size, one_by_one=True)
        common, on_day, at = _prepared(kinds, ladder)
        likelihoods, sums = np.zeros(kinds.weight.size), np.zeros((kinds.weight.size, at[-1]))
        _in_chunks(
            kinds.weight.size,
            partial(
                _one_by_one, days=kinds, ladder=ladder, common=common, on_day=on_day, at=at,
                likelihoods=likelihoods, sums=sums,
            ),
        )  # fmt: skip
        yield part, likelihoods, named(sums, ladder)


def _prepared(days: DayKinds, ladder: Ladder) -> tuple[Chances, DayChances, Integers]:
    """Chances of all days, chances by kind of day, and where the parts of the sums begin."""
    at = np.concatenate([[0], np.cumsum([math.prod(shape) for shape in shapes_of(ladder)])])
    common = chances(ladder, days.longest)
    return common, day_chances(days, ladder, common), at

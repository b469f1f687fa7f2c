"""One pass of the ladder over all customers: how likely they are, and what they tell of the
parameters. In threads, and added up in the same order whatever their number.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from functools import partial, reduce
from typing import Any

import numpy as np

from attribution.customer_days import CustomerDays
from attribution.models.compiled import compiled
from attribution.models.ladder_chances import Chances, DayChances, Ladder, chances, day_chances
from attribution.models.ladder_customer import backward_days, forward_days
from attribution.models.ladder_days import DayKinds, day_kinds
from attribution.models.ladder_lanes import LANES, lanes, put, scaled, times
from attribution.models.ladder_sums import Places, Sums, add_kinds, named, places_of, quiet_days
from attribution.models.threads import threads
from attribution.paths import Floats
from attribution.statistics import Booleans

MOST_NUMBERS = 4_000_000  # that the sums of customers one by one may hold at a time
NEGLIGIBLE = 1e-9  # share of a customer in a class of activity, not worth a way back through it
CHUNKS = 4  # sums are added up in this order whatever the number of threads: the same bits


@compiled(nogil=True)
def _most_rows(first, last, days):  # type: ignore[no-untyped-def]
    """Rows that the way forward through the days of customers first up to last may need."""
    most = 0
    for i in range(first, last):
        most = max(most, days.item_start[i + 1] - days.item_start[i])
    return 2 * most + 2


@compiled(nogil=True)
def _likelihoods(first, last, days, ladder, common, on_day, found):  # type: ignore[no-untyped-def]
    """Fills the log-likelihoods, (N,), of customers first up to last."""
    forward = np.zeros((_most_rows(first, last, days), common.powers.shape[1], LANES))
    share = np.zeros(LANES)
    for i in range(first, last):
        found[i] = _forward(i, days, ladder, common, on_day, forward, share)


@compiled(nogil=True)
def _forward(i, days, ladder, common, on_day, forward, share):  # type: ignore[no-untyped-def]
    """Log-likelihood of customer i; fills `forward`, and how likely it is of each class."""
    forward_days(
        i, days, ladder.start, ladder.gone, common.powers, on_day.moves, on_day.met, on_day.silent,
        days.kind, forward, share,
    )  # fmt: skip
    most, whole = -math.inf, 0.0
    for a in range(LANES):
        share[a] += common.log_share[a]
        most = max(most, share[a])
    if most == -math.inf:
        return most
    for a in range(LANES):
        share[a] = math.exp(share[a] - most)
        whole += share[a]
    for a in range(LANES):
        share[a] = share[a] / whole if share[a] > NEGLIGIBLE * whole else 0.0
    return most + math.log(whole)


@compiled(nogil=True)
def _customer(  # type: ignore[no-untyped-def]
    i, days, ladder, common, on_day, told, told_row, present, quiet, forward, share, posterior
):
    """Log-likelihood of customer i, and how often it left; adds what it tells of its days, and
    fills its posterior, (J,) of lanes, by stage at entry.
    """
    likelihood = _forward(i, days, ladder, common, on_day, forward, share)
    if likelihood == -math.inf:
        return likelihood, 0.0
    left = backward_days(
        i, days, scaled(lanes(share), days.weight[i]), ladder.gone, common.powers, on_day.moves,
        on_day.met, on_day.silent, days.kind, forward, told, told_row, present, quiet, posterior,
    )  # fmt: skip
    for s in range(len(posterior)):
        put(posterior[s], times(lanes(posterior[s]), lanes(share)))
    return likelihood, left


@compiled(nogil=True)
def _chunk(first, last, days, ladder, common, on_day, posterior):  # type: ignore[no-untyped-def]
    """Log-likelihood and expected moves and presence, on days by kind and in quiet runs by run, of
    customers first up to last, and how often they left; fills their posterior.
    """
    forward = np.zeros((_most_rows(first, last, days), common.powers.shape[1], LANES))
    share = np.zeros(LANES)
    told, present = np.zeros(on_day.moves.shape), np.zeros(on_day.met.shape)
    quiet = np.zeros(common.powers.shape)
    total, left = 0.0, 0.0
    for i in range(first, last):
        found = _customer(
            i, days, ladder, common, on_day, told, days.kind, present, quiet, forward, share,
            posterior[i],
        )  # fmt: skip
        total += days.weight[i] * found[0]
        left += found[1]
    return total, told, present, quiet, left


@compiled(nogil=True)
def _one_by_one(first, last, days, ladder, common, on_day, at, likelihoods, sums):  # type: ignore[no-untyped-def]
    """Fills log-likelihood, (N,), and sums, (N, .), of customers first up to last. No day is in a
    quiet run.
    """
    channels, lags = ladder.contact.shape[1], ladder.kernel.size
    stages, classes = len(ladder.organic), len(ladder.activity)
    rows = _most_rows(first, last, days)
    forward, row = np.zeros((rows, stages + 1, LANES)), np.zeros(days.kind.size, dtype=np.int64)
    quiet, posterior = np.zeros(common.powers.shape), np.zeros((stages, LANES))
    told, present = np.zeros((rows, stages, stages + 1)), np.zeros((rows, stages, LANES))
    share = np.zeros(LANES)
    for i in range(first, last):
        begin, end = days.item_start[i], days.item_start[i + 1]
        for item in range(begin, end):
            row[item] = item - begin
        told[: end - begin] = 0.0
        present[: end - begin] = 0.0
        posterior[:] = 0.0
        weight, mine = days.weight[i], sums[i]
        likelihood, mine[at.left] = _customer(
            i, days, ladder, common, on_day, told, row, present, quiet, forward, share, posterior
        )
        likelihoods[i] = weight * likelihood
        for s in range(stages):
            for a in range(classes):
                mine[at.start + s * stages + days.first_stage[i]] += weight * posterior[s, a]
                mine[at.classes + a] += weight * posterior[s, a]
        add_kinds(
            0, end - begin, days.kind[begin:end], told, present, days, on_day.events,
            (classes, stages, channels, lags), at, mine,
        )  # fmt: skip


def ladder_pass(days: DayKinds, ladder: Ladder) -> tuple[float, Sums, Floats]:
    """Log-likelihood of all customers, their expected sums, and their classes of activity and
    stages at entry, (N, A, J).
    """
    common, on_day, at = prepared(days, ladder)
    stages, channels = len(ladder.organic), ladder.contact.shape[1]
    classes, count = len(ladder.activity), days.weight.size
    posterior = np.zeros((count, stages, LANES))
    parts = in_chunks(
        count, lambda first, last: _chunk(first, last, days, ladder, common, on_day, posterior)
    )
    likelihood, told, present, quiet, left = (
        reduce(operator.add, found) for found in zip(*parts, strict=True)
    )
    every = np.arange(len(told))

    def of_kinds(first: int, last: int) -> Floats:
        part = np.zeros(at.end)
        shape = (classes, stages, channels, ladder.kernel.size)
        add_kinds(first, last, every, told, present, days, on_day.events, shape, at, part)
        return part

    sums = np.sum(in_chunks(len(told), of_kinds), axis=0)
    by_class = posterior[..., :classes].swapaxes(1, 2)
    weighted = days.weight[:, None, None] * by_class
    sums[: at.entry] = np.concatenate(
        [
            np.bincount(days.first_stage, by_stage, minlength=stages)
            for by_stage in weighted.sum(axis=1).T
        ]
    )
    sums[at.left] = left
    sums[at.classes :] = weighted.sum(axis=(0, 2))
    quiet_days(quiet, common.powers, common.organic, classes, at, sums)
    return likelihood, named(sums, ladder), by_class


def in_chunks(count: int, work: Callable[[int, int], Any]) -> list[Any]:
    """What `work` finds from one index up to another, in threads; always the same parts."""
    cuts = np.linspace(0, count, CHUNKS + 1).astype(np.int64)
    return list(threads().map(work, cuts[:-1], cuts[1:]))


def log_likelihoods(days: DayKinds, ladder: Ladder) -> Floats:
    """Of each customer, (N,), without its weight."""
    common, on_day, _ = prepared(days, ladder)
    found = np.zeros(days.weight.size)
    in_chunks(
        found.size,
        lambda first, last: _likelihoods(first, last, days, ladder, common, on_day, found),
    )
    return found


def customer_sums(days: CustomerDays, ladder: Ladder) -> Iterator[tuple[Booleans, Floats, Sums]]:
    """Some customers at a time: which, (N,), their weighted log-likelihoods, (n,), and the sums of
    each alone, every array with n in front.
    """
    at_once = max(20, MOST_NUMBERS // places_of(ladder).end)
    for first in range(0, days.customers, at_once):
        part = np.zeros(days.customers, dtype=np.bool_)
        part[first : first + at_once] = True
        kinds = day_kinds(
            days.part(part), ladder.kernel.size, ladder.week.shape[1], one_by_one=True
        )
        common, on_day, at = prepared(kinds, ladder)
        likelihoods, sums = np.zeros(kinds.weight.size), np.zeros((kinds.weight.size, at.end))
        in_chunks(
            kinds.weight.size,
            partial(
                _one_by_one, days=kinds, ladder=ladder, common=common, on_day=on_day, at=at,
                likelihoods=likelihoods, sums=sums,
            ),
        )  # fmt: skip
        yield part, likelihoods, named(sums, ladder)


def prepared(days: DayKinds, ladder: Ladder) -> tuple[Chances, DayChances, Places]:
    """Chances of all days, chances by kind of day, and where the parts of the sums begin."""
    common = chances(ladder, days.longest)
    return common, day_chances(days, ladder, common), places_of(ladder)

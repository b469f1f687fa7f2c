"""Customers' days, cut into what a pass of the ladder visits: days of some kind, and quiet runs.

Days on which the same channels touched, the same touches still act and the same rungs were recorded
are of one kind: the chances of a move are computed once for all of them, and what they tell of the
parameters is added up once. Days without any of it are quiet, and a run of n of them is one power
of one matrix, or, where weekdays differ, the product of the matrices of its days.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from attribution.customer_days import CustomerDays
from attribution.paths import Floats, Integers
from attribution.statistics import Booleans


class DayKinds(NamedTuple):
    """Days of N customers: I of them are not quiet, and are of P kinds.

    weight, first_stage : (N,) as in CustomerDays
    item_start : (N + 1,) days of customer i are item_start[i] up to item_start[i + 1]
    quiet_before : (I,) run of quiet days before each, quiet_after : (N,) after the last: weekday of
        its first day * (longest + 1) + length, 0 for none
    kind : (I,)
    touch_start : (P + 1,) touches that act on a day of a kind, by channel and age in days:
    touch_channel, touch_lag : (T,)
    rungs : (P,) recorded on such a day, as bits
    is_first, is_last : (P,) whether it is day 0, and whether it is that of the conversion
    weekday : (P,)
    longest : longest run of quiet days
    """

    weight: Floats
    first_stage: Integers
    item_start: Integers
    quiet_before: Integers
    quiet_after: Integers
    kind: Integers
    touch_start: Integers
    touch_channel: Integers
    touch_lag: Integers
    rungs: Integers
    is_first: Booleans
    is_last: Booleans
    weekday: Integers
    longest: int


def day_kinds(
    days: CustomerDays, lags: int, weekdays: int = 1, one_by_one: bool = False
) -> DayKinds:
    """Kinds of days where a touch acts for `lags` days; with `one_by_one`, a quiet day is of a
    kind like any other.

    weekdays : 7, or 1 where all are alike
    """
    span = int(days.last_day.max()) + 1
    first_place = np.arange(days.customers) * span
    touching, codes = _acting(days, lags, span)
    recording = np.repeat(first_place, np.diff(days.record_start)) + days.record_day
    ending = (first_place + days.last_day)[days.converted]
    places = [touching, recording, ending]
    if one_by_one:
        each = np.repeat(first_place, days.last_day + 1)
        places.append(each + _counted(days.last_day + 1))
    is_item = np.zeros(days.customers * span, dtype=np.bool_)
    for some in places:
        is_item[some] = True
    items = np.flatnonzero(is_item)
    rungs = np.zeros(items.size, dtype=np.int64)
    rungs[np.searchsorted(items, recording)] = days.record_rungs
    is_last = np.isin(items, ending)
    is_first = items % span == 0
    item = np.searchsorted(items, touching)
    order = np.lexsort((codes, item))
    starts = np.concatenate([[0], np.cumsum(np.bincount(item, minlength=items.size))])
    customer, day = np.divmod(items, span)
    weekday = (days.first_weekday[customer] + day) % weekdays
    flags = 2 * (2 * (weekdays * rungs + weekday) + is_last) + is_first
    one_of, kind = _alike(flags, starts, codes[order])
    counts = np.diff(starts)[one_of]
    chosen = np.repeat(starts[one_of], counts) + _counted(counts)
    item_start = np.searchsorted(customer, np.arange(days.customers + 1))
    before = np.diff(items, prepend=-1) - 1
    before[item_start[:-1]] = 0  # day 0 has a touch, and is no quiet day
    last = item_start[1:] - 1
    after = days.last_day - day[last]
    longest = max(1, int(before.max()), int(after.max()))
    return DayKinds(
        weight=days.weight,
        first_stage=days.first_stage,
        item_start=item_start,
        quiet_before=_run(weekday - before, before, weekdays, longest),
        quiet_after=_run(weekday[last] + 1, after, weekdays, longest),
        kind=kind,
        touch_start=np.concatenate([[0], np.cumsum(counts)]),
        touch_channel=codes[order][chosen] // lags,
        touch_lag=codes[order][chosen] % lags,
        rungs=rungs[one_of],
        is_first=is_first[one_of],
        is_last=is_last[one_of],
        weekday=weekday[one_of],
        longest=longest,
    )


def _run(weekday: Integers, length: Integers, weekdays: int, longest: int) -> Integers:
    return np.where(length > 0, weekday % weekdays * (longest + 1) + length, 0)


def _acting(days: CustomerDays, lags: int, span: int) -> tuple[Integers, Integers]:
    """Days on which a touch acts, by customer * span + day; and channel * lags + age."""
    customer = np.repeat(np.arange(days.customers), np.diff(days.touch_start))[:, None]
    age = np.arange(lags)
    day = days.touch_day[:, None] + age
    within = day <= days.last_day[customer]
    return (customer * span + day)[within], (days.touch_channel[:, None] * lags + age)[within]


def _alike(flags: Integers, starts: Integers, codes: Integers) -> tuple[Integers, Integers]:
    """Items of the same flags and the same codes: one item of each kind, and the kind of each.

    Code by code, as in a prefix tree: items that agree so far and in the next code stay together.
    """
    together = np.unique(flags, return_inverse=True)[1]
    length = np.diff(starts)
    depth, longer = 0, np.flatnonzero(length)
    while longer.size:
        key = together[longer] * (codes.max() + 1) + codes[starts[longer] + depth]
        taken = together.max() + 1
        together[longer] = taken + np.unique(key, return_inverse=True)[1]
        depth += 1
        longer = longer[length[longer] > depth]
    _, one_of, kind = np.unique(together, return_index=True, return_inverse=True)
    return one_of, kind


def _counted(counts: Integers) -> Integers:
    """0, 1, ... up to each count, one after the other."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)

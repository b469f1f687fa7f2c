"""What a set of channels brings: conversions if only its touches acted, by the g-formula.

Robins 1986, doi 10.1016/0270-0255(86)90088-6. Customers start as they did; on day 0 they are
touched as they were, cut to the set, later by the contact rates of their stage. Because a touch
acts for several days, each stage carries along how likely each channel touched its customers on
each of the last days: to have stayed makes a touch less likely, to have moved more.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from attribution.customer_days import CustomerDays
from attribution.models.compiled import compiled
from attribution.models.ladder_chances import Ladder
from attribution.models.ladder_lanes import (
    LANES,
    ONES,
    ZEROS,
    add,
    all_of,
    in_lanes,
    lanes,
    minus,
    plus,
    put,
    quotient,
    scaled,
    times,
    total,
)
from attribution.models.threads import threads
from attribution.paths import Floats, Integers
from attribution.statistics import Booleans

MOST_EXACT = 12  # channels: 4,096 sets


class Entries(NamedTuple):
    """How customers enter, added up over all that enter alike.

    Attributes
    ----------
    touched : bool array, (E, K)
        Channels of day 0, distinct rows.
    weight : float array, (A, E, J)
        Share of all customers who enter so, by class of activity and stage; sums to 1.
    followed : float array, (D,)
        Share of customers who could be followed through day d.
    weekday : float array, (7,)
        Share of customers by weekday of day 0.
    """

    touched: Booleans
    weight: Floats
    followed: Floats
    weekday: Floats = np.full(7, 1 / 7)


def entries_of(days: CustomerDays, stages: Floats) -> Entries:
    """Of the customers' classes and stages at entry, (N, A, J), as `ladder_pass` gives them."""
    return entries_without(days, stages, 0)[0]


def entries_without(days: CustomerDays, stages: Floats, groups: int) -> list[Entries]:
    """Of all customers, then without each of the replicate groups, G + 1 in all."""
    touched, place = np.unique(days.entries(), axis=0, return_inverse=True)
    weight = np.zeros((groups + 1, len(touched), *stages.shape[1:]))
    ends = np.zeros((groups + 1, days.horizon.max() + 1))
    begun = np.zeros((groups + 1, 7))
    weighted = days.weight[:, None, None] * stages
    np.add.at(weight[-1], place.ravel(), weighted)
    np.add.at(ends[-1], days.horizon, days.weight)
    np.add.at(begun[-1], days.first_weekday, days.weight)
    if groups:
        np.add.at(weight, (days.group, place.ravel()), weighted)
        np.add.at(ends, (days.group, days.horizon), days.weight)
        np.add.at(begun, (days.group, days.first_weekday), days.weight)
    for part in (weight, ends, begun):
        part[:-1] = part[-1] - part[:-1]
    customers = ends.sum(axis=1)
    followed = ends[:, ::-1].cumsum(axis=1)[:, ::-1] / customers[:, None]
    weight = weight.swapaxes(1, 2) / customers[:, None, None, None]
    begun /= customers[:, None]
    return [Entries(touched, weight[g], followed[g], begun[g]) for g in (-1, *range(groups))]


@compiled(error_model="numpy")
def _day(members, alive, met, organic, factor, next_alive, next_met, given):  # type: ignore[no-untyped-def]
    """One day of one set: moves `alive` and `met` on; returns the conversions.

    members : (.,) channels of the set
    alive : (J,) of lanes, met : (J, K, L) of lanes, chance of a touch l days ago given the stage
    factor : (J, J + 1, K, L) 1 - exp(-hazards to stages above k that a touch adds)
    next_met : filled with chance times stage, to be divided by `next_alive`
    given : (K, L) of lanes, P(end below k, and a touch)
    """
    stages, _, lags, _ = met.shape
    converted = ZEROS
    next_alive[:] = 0.0
    next_met[:] = 0.0
    for s in range(stages):
        here, below = lanes(alive[s]), ZEROS  # P(end below k)
        given[:] = 0.0
        for k in range(s, stages):
            hazard = 0.0
            for j in range(k + 1, stages + 1):
                hazard += organic[s, j]
            chance = all_of(math.exp(-hazard))
            for c in members:
                for lag in range(lags):
                    chance = times(chance, _unmoved(lanes(met[s, c, lag]), factor[s, k, c, lag]))
            add(next_alive[k], times(here, minus(chance, below)))
            for c in members:
                for lag in range(lags):
                    f, touch = factor[s, k, c, lag], lanes(met[s, c, lag])
                    moved = quotient(times(chance, scaled(touch, 1.0 - f)), _unmoved(touch, f))
                    add(next_met[k, c, lag], times(here, minus(moved, lanes(given[c, lag]))))
                    put(given[c, lag], moved)
            below = chance
        converted = plus(converted, times(here, minus(ONES, below)))
    return total(converted)


@compiled()
def _unmoved(touch, factor):  # type: ignore[no-untyped-def]
    """Lanes of the chance that a touch of such a chance moves nobody."""
    return minus(ONES, scaled(touch, factor))


@compiled(error_model="numpy")
def _shift(members, alive, met, next_alive, next_met, contact):  # type: ignore[no-untyped-def]
    """The next morning: touches are a day older, today's come by the contact rates."""
    stages, _, lags, _ = met.shape
    for s in range(stages):
        here = lanes(next_alive[s])
        put(alive[s], here)
        for c in members:
            for lag in range(lags - 1, 0, -1):
                put(met[s, c, lag], quotient(lanes(next_met[s, c, lag - 1]), here))
            put(met[s, c, 0], lanes(contact[s, c]))


@compiled()
def _factors(ladder):  # type: ignore[no-untyped-def]
    """1 - exp(-hazards to stages above k that a touch adds), (J, J + 1, K, L)."""
    stages, channels = len(ladder.organic), ladder.contact.shape[1]
    lags = ladder.kernel.size
    factor = np.zeros((stages, stages + 1, channels, lags))
    for s in range(stages):
        for c in range(channels):
            above = 0.0
            for k in range(stages - 1, s - 1, -1):
                above += ladder.effect[s, k + 1, c]
                for lag in range(lags):
                    factor[s, k, c, lag] = -math.expm1(-above * ladder.kernel[lag])
    return factor


@compiled(nogil=True)
def _values(sets, entries, weight, ladder, organic, contact):  # type: ignore[no-untyped-def]
    """Of customers who enter by `weight`, (E, J) of lanes, move by `organic`, (W, J, J + 1), and
    meet `contact`, (W, J, K) of lanes, both by day, again and again.
    """
    weekdays, stages, channels, _ = contact.shape
    lags = ladder.kernel.size
    factor, values = _factors(ladder), np.zeros(len(sets))
    alive, next_alive = np.zeros((stages, LANES)), np.zeros((stages, LANES))
    met = np.zeros((stages, channels, lags, LANES))
    next_met, given = np.zeros(met.shape), np.zeros((channels, lags, LANES))
    today, sum_met = np.zeros(alive.shape), np.zeros(met.shape)
    of_set = np.zeros(channels, dtype=np.int64)
    for n in range(len(sets)):
        size = 0
        for c in range(channels):
            of_set[size] = c
            size += sets[n, c]
        members = of_set[:size]
        met[:] = 0.0
        today[:] = 0.0
        sum_met[:] = 0.0
        for e in range(len(entries.touched)):
            for s in range(stages):
                put(alive[s], lanes(weight[e, s]))
                for c in members:
                    put(met[s, c, 0], ONES if entries.touched[e, c] else ZEROS)
            values[n] += entries.followed[0] * _day(
                members, alive, met, organic[0], factor, next_alive, next_met, given
            )
            for s in range(stages):
                add(today[s], lanes(next_alive[s]))
                for c in members:
                    add(sum_met[s, c, 0], lanes(next_met[s, c, 0]))
        last_alive, last_met = today, sum_met
        for day in range(1, len(entries.followed)):
            w = day % weekdays
            _shift(members, alive, met, last_alive, last_met, contact[w])
            for s in range(stages):
                put(alive[s], scaled(lanes(alive[s]), 1.0 - ladder.gone))
            values[n] += entries.followed[day] * _day(
                members, alive, met, organic[w], factor, next_alive, next_met, given
            )
            last_alive, last_met = next_alive, next_met
    return values


def conversion_chances(ladder: Ladder, entries: Entries, sets: Booleans) -> Floats:
    """Share of customers who convert if only the channels of a set act, for each set.

    Parameters
    ----------
    sets : bool array, (n, K)

    Returns
    -------
    float array, (n,)
    """
    contact_factor, organic_factor = _seasons(ladder.week, entries.weekday)[:, :, None, None]
    organic = organic_factor * ladder.organic
    power = contact_factor[..., None] * ladder.activity  # (W, 1, 1, A)
    chance = np.broadcast_to(ladder.contact, (len(organic[0]), sets.shape[1]))
    contact = in_lanes(-np.expm1(power * np.log1p(-chance)[..., None]))
    weight = in_lanes(np.moveaxis(entries.weight, 0, -1))

    def of_some(part: Booleans) -> Floats:
        return np.asarray(_values(part, entries, weight, ladder, organic, contact))

    parts = np.array_split(np.ascontiguousarray(sets), min(len(sets), 16))
    return np.concatenate(list(threads().map(of_some, parts)))


def _seasons(week: Floats, begun: Floats) -> Floats:
    """Factors of contacts and of organic hazards by day after entry, (2, W), again and again: the
    mean over the weekdays on which customers begin, as if all of them had it.
    """
    weekdays = week.shape[1]
    if weekdays == 1:
        return week
    days = (np.arange(weekdays)[:, None] + np.arange(weekdays)) % weekdays
    return np.asarray((week[:, days] * begun).sum(axis=2))


def all_sets(channels: int) -> Booleans:
    """Every set of channels, (2^K, K); the first is empty, the last is whole."""
    return (np.arange(1 << channels)[:, None] >> np.arange(channels) & 1).astype(np.bool_)


def sets_of_orders(orders: Integers) -> Booleans:
    """The sets that grow as channels join in each order, (n, K) -> (n * (K + 1), K)."""
    count, channels = orders.shape
    joined = np.zeros((count, channels + 1, channels), dtype=np.bool_)
    for place in range(channels):
        joined[:, place + 1] = joined[:, place]
        joined[np.arange(count), place + 1, orders[:, place]] = True
    return joined.reshape(-1, channels)


def shapley_of_orders(orders: Integers, values: Floats) -> Floats:
    """Mean gain of each channel over the orders in which it may join, (K,)."""
    count, channels = orders.shape
    gains = np.diff(values.reshape(count, channels + 1), axis=1)
    total = np.zeros(channels)
    np.add.at(total, orders.ravel(), gains.ravel())
    return np.asarray(total / count)


def antithetic_orders(channels: int, count: int, seed: int) -> Integers:
    """Random orders of the channels, each with its reverse, (2 * count, K)."""
    random = np.random.default_rng(seed)
    orders = np.array([random.permutation(channels) for _ in range(count)])
    return np.concatenate([orders, orders[:, ::-1]])

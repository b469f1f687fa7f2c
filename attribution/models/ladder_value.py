"""What a set of channels brings: conversions if only its touches acted, by the g-formula.

Robins 1986, doi 10.1016/0270-0255(86)90088-6. Customers start as they did; on day 0 they are
touched as they were, cut to the set, later by the contact rates of their stage. Because a touch
acts for several days, each stage carries along how likely each channel touched its customers on
each of the last days: to have stayed makes a touch less likely, to have moved more.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import njit

from attribution.customer_days import CustomerDays
from attribution.models.ladder_chances import Ladder
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
    """

    touched: Booleans
    weight: Floats
    followed: Floats


def entries_of(days: CustomerDays, stages: Floats) -> Entries:
    """Of the customers' classes and stages at entry, (N, A, J), as `ladder_pass` gives them."""
    return entries_without(days, stages, 0)[0]


def entries_without(days: CustomerDays, stages: Floats, groups: int) -> list[Entries]:
    """Of all customers, then without each of the replicate groups, G + 1 in all."""
    touched, place = np.unique(days.entries(), axis=0, return_inverse=True)
    weight = np.zeros((groups + 1, len(touched), *stages.shape[1:]))
    ends = np.zeros((groups + 1, days.horizon.max() + 1))
    weighted = days.weight[:, None, None] * stages
    np.add.at(weight[-1], place.ravel(), weighted)
    np.add.at(ends[-1], days.horizon, days.weight)
    if groups:
        np.add.at(weight, (days.group, place.ravel()), weighted)
        np.add.at(ends, (days.group, days.horizon), days.weight)
    weight[:-1], ends[:-1] = weight[-1] - weight[:-1], ends[-1] - ends[:-1]
    customers = ends.sum(axis=1)
    followed = ends[:, ::-1].cumsum(axis=1)[:, ::-1] / customers[:, None]
    weight = weight.swapaxes(1, 2) / customers[:, None, None, None]
    return [Entries(touched, weight[g], followed[g]) for g in (-1, *range(groups))]


@njit(cache=True)
def _day(  # type: ignore[no-untyped-def]
    members, alive, met, organic, factor, next_alive, next_met, given, moved
):
    """One day of one set: moves `alive` and `met` on; returns the conversions.

    members : (.,) channels of the set
    alive : (J,), met : (J, K, L) chance of a touch l days ago given the stage
    factor : (J, J + 1, K, L) 1 - exp(-hazards to stages above k that a touch adds)
    next_met : filled with chance times stage, to be divided by `next_alive`
    """
    stages, _, lags = met.shape
    converted = 0.0
    next_alive[:] = 0.0
    next_met[:] = 0.0
    for s in range(stages):
        below = 0.0  # P(end below k)
        for c in members:
            for lag in range(lags):
                given[c, lag] = 0.0  # P(end below k, and a touch)
        for k in range(s, stages + 1):
            chance = 1.0
            if k < stages:
                hazard = 0.0
                for j in range(k + 1, stages + 1):
                    hazard += organic[s, j]
                chance = math.exp(-hazard)
                for c in members:
                    for lag in range(lags):
                        chance *= 1.0 - met[s, c, lag] * factor[s, k, c, lag]
            mass = alive[s] * (chance - below)
            if k == stages:
                converted += mass
                break
            next_alive[k] += mass
            for c in members:
                for lag in range(lags):
                    f, m = factor[s, k, c, lag], met[s, c, lag]
                    moved[c, lag] = 0.0
                    if m > 0.0 and m * f < 1.0:
                        moved[c, lag] = chance * m * (1.0 - f) / (1.0 - m * f)
                    next_met[k, c, lag] += alive[s] * (moved[c, lag] - given[c, lag])
                    given[c, lag] = moved[c, lag]
            below = chance
    return converted


@njit(cache=True)
def _shift(members, alive, met, next_alive, next_met, contact):  # type: ignore[no-untyped-def]
    """The next morning: touches are a day older, today's come by the contact rates."""
    stages, _, lags = met.shape
    for s in range(stages):
        alive[s] = next_alive[s]
        for c in members:
            for lag in range(lags - 1, 0, -1):
                met[s, c, lag] = (
                    next_met[s, c, lag - 1] / next_alive[s] if next_alive[s] > 0 else 0.0
                )
            met[s, c, 0] = contact[s, c]


@njit(cache=True, nogil=True)
def _values(sets, entries, weight, ladder, contact):  # type: ignore[no-untyped-def]
    """Of customers of one class, who enter by `weight`, (E, J), and meet `contact`, (J, K)."""
    stages, channels = contact.shape
    lags = ladder.kernel.size
    factor = np.zeros((stages, stages + 1, channels, lags))
    for s in range(stages):
        for c in range(channels):
            above = 0.0
            for k in range(stages - 1, s - 1, -1):
                above += ladder.effect[s, k + 1, c]
                for lag in range(lags):
                    factor[s, k, c, lag] = -math.expm1(-above * ladder.kernel[lag])
    values = np.zeros(len(sets))
    for a in range(len(sets)):
        members = np.flatnonzero(sets[a])
        alive, next_alive, today = np.zeros(stages), np.zeros(stages), np.zeros(stages)
        met = np.zeros((stages, channels, lags))
        next_met, sum_met = np.zeros_like(met), np.zeros_like(met)
        given, moved = np.zeros((channels, lags)), np.zeros((channels, lags))
        for e in range(len(entries.touched)):
            for s in range(stages):
                alive[s] = weight[e, s]
                for channel in members:
                    met[s, channel, 0] = 1.0 if entries.touched[e, channel] else 0.0
            values[a] += entries.followed[0] * _day(
                members, alive, met, ladder.organic, factor, next_alive, next_met, given, moved
            )
            for s in range(stages):
                today[s] += next_alive[s]
                for channel in members:
                    sum_met[s, channel, 0] += next_met[s, channel, 0]
        next_alive[:] = today
        next_met[:] = sum_met
        for day in range(1, len(entries.followed)):
            _shift(members, alive, met, next_alive, next_met, contact)
            for s in range(stages):
                alive[s] *= 1.0 - ladder.gone
            values[a] += entries.followed[day] * _day(
                members, alive, met, ladder.organic, factor, next_alive, next_met, given, moved
            )
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
    contact = [ladder.contact_in(activity) for activity in ladder.activity]

    def of_all(part: Booleans) -> Floats:
        by_class = zip(np.ascontiguousarray(entries.weight), contact, strict=True)
        found = [_values(part, entries, weight, ladder, met) for weight, met in by_class]
        return np.asarray(np.sum(found, axis=0))

    parts = np.array_split(np.ascontiguousarray(sets), min(len(sets), 16))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.concatenate(list(pool.map(of_all, parts)))


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

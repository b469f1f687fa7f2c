"""Parameters of the ladder, and the chances of one customer's day that follow from them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from attribution.models.ladder_days import DayKinds
from attribution.paths import Floats
from attribution.statistics import Booleans

ONE_CLASS = np.ones(1)


class Ladder(NamedTuple):
    """Parameters: J stages below the conversion, K channels, L lags, A classes of activity.

    Customers differ in how often they are met, whatever their stage: a class multiplies all contact
    rates, so that many contacts are not taken for a high stage.

    start : (J, J) share of customers by stage when day 0 begins and highest rung recorded by then
    entry : (J, K) chance that a channel is among the touches of day 0
    contact : (J, K) chance of a touch on a later day, in the first class
    organic : (J, J + 1) hazard of moving from stage s to stage j > s without any touch, per day
    effect : (J, J + 1, K) what a touch adds to it, over all its lags
    kernel : (L,) how the effect spreads over the days after the touch, sums to 1
    recorded : (J + 1,) chance that a passed rung is recorded; the conversion always is
    gone : chance per day to have left in silence
    activity : (A,) contact rates of a class as multiples of those of the first, which has 1
    activity_share : (A,) share of customers in it, sums to 1
    """

    start: Floats
    entry: Floats
    contact: Floats
    organic: Floats
    effect: Floats
    kernel: Floats
    recorded: Floats
    gone: float
    activity: Floats = ONE_CLASS
    activity_share: Floats = ONE_CLASS

    def contact_in(self, activity: float) -> Floats:
        """Chance of a touch on a later day in a class, (J, K)."""
        return np.asarray(-np.expm1(activity * np.log1p(-self.contact)))


class Chances(NamedTuple):
    """What all customers have in common on a day.

    entered : (J,) chance of no touch at all on day 0, entry_odds : (J, K) by which a touch
        multiplies it
    untouched : (A, J) chance of neither a touch on a later day nor having left, contact_odds :
        (A, J, K)
    unseen : (J, J + 1) chance that a move leaves no record
    powers : (A, days + 1, J + 1, J + 1) of the matrix of a quiet day; its last state is gone
    """

    entered: Floats
    entry_odds: Floats
    untouched: Floats
    contact_odds: Floats
    unseen: Floats
    powers: Floats


class DayChances(NamedTuple):
    """Chances by kind of day, P of them.

    moves : (P, J, J + 1) of the move and of its records
    met : (A, P, J) of the day's touches, and of not having left before
    events : (P, J, J + 1) 1 - exp(-hazard)
    silent : (P,) whether customers may have left
    """

    moves: Floats
    met: Floats
    events: Floats
    silent: Booleans


@njit(cache=True)
def move_chances(event, stage, stages, chance):  # type: ignore[no-untyped-def]
    """P(stage -> k) for all k >= stage by the furthest move; event[j] = 1 - exp(-hazard to j)."""
    none_above = 1.0
    for k in range(stages, stage, -1):
        chance[k] = none_above * event[k]
        none_above *= 1.0 - event[k]
    chance[stage] = none_above


@njit(cache=True)
def record_chance(stage, k, rungs, recorded):  # type: ignore[no-untyped-def]
    """Chance of the records of a day on which a customer moves from a stage to k."""
    if rungs >> k:  # a record above what was reached
        return 0.0
    if rungs & ((1 << stage) - 1):  # or of a rung that was passed before
        return 0.0
    chance = 1.0
    for rung in range(stage + 1, min(k, recorded.size - 2) + 1):
        seen = rungs >> (rung - 1) & 1
        chance *= recorded[rung] if seen else 1.0 - recorded[rung]
    return chance


@njit(cache=True)
def chances(ladder, days):  # type: ignore[no-untyped-def]
    """Chances for as many days in a row."""
    stages, classes = len(ladder.contact), len(ladder.activity)
    size = stages + 1
    entered, unseen = np.ones(stages), np.zeros((stages, size))
    untouched = np.zeros((classes, stages))
    odds = np.zeros((classes, *ladder.contact.shape))
    powers = np.zeros((classes, days + 1, size, size))
    for s in range(stages):
        entered[s] = np.prod(1.0 - ladder.entry[s])
        for k in range(s, size):
            unseen[s, k] = record_chance(s, k, 0, ladder.recorded)
    for a in range(classes):
        not_met = (1.0 - ladder.contact) ** ladder.activity[a]
        odds[a] = 1.0 / not_met - 1.0
        quiet, chance = np.zeros((size, size)), np.zeros(size)
        for s in range(stages):
            untouched[a, s] = (1.0 - ladder.gone) * np.prod(not_met[s])
            move_chances(-np.expm1(-ladder.organic[s]), s, stages, chance)
            for k in range(s, stages):  # a conversion is never quiet
                quiet[s, k] = untouched[a, s] * chance[k] * unseen[s, k]
            quiet[s, stages] = ladder.gone
        quiet[stages, stages] = 1.0
        powers[a, 0] = np.eye(size)
        for n in range(1, days + 1):
            powers[a, n] = powers[a, n - 1] @ quiet
    entry_odds = ladder.entry / (1.0 - ladder.entry)
    return Chances(entered, entry_odds, untouched, odds, unseen, powers)


def day_chances(days: DayKinds, ladder: Ladder, common: Chances) -> DayChances:
    return DayChances(*_day_chances(days, ladder, common))


@njit(cache=True)
def _day_chances(days, ladder, common):  # type: ignore[no-untyped-def]
    count, stages, size = len(days.rungs), len(ladder.contact), len(ladder.contact) + 1
    moves, events = np.zeros((2, count, stages, size))
    met = np.ones((len(ladder.activity), count, stages))
    silent = np.zeros(count, dtype=np.bool_)
    chance, hazard = np.zeros(size), np.zeros(size)
    for kind in range(count):
        first, last = days.touch_start[kind], days.touch_start[kind + 1]
        rungs, is_last = days.rungs[kind], days.is_last[kind]
        touched = (days.touch_lag[first:last] == 0).any()
        silent[kind] = not (touched or rungs or is_last)
        _meet(kind, days, common, met)
        for s in range(stages):
            hazard[:] = ladder.organic[s]
            for t in range(first, last):
                channel, lag = days.touch_channel[t], days.touch_lag[t]
                for k in range(s + 1, size):
                    hazard[k] += ladder.effect[s, k, channel] * ladder.kernel[lag]
            for k in range(s + 1, size):
                events[kind, s, k] = -math.expm1(-hazard[k])
            move_chances(events[kind, s], s, stages, chance)
            for k in range(s, size):
                if is_last == (k == stages):
                    seen = common.unseen[s, k]
                    if rungs:
                        seen = record_chance(s, k, rungs, ladder.recorded)
                    moves[kind, s, k] = chance[k] * seen
    return moves, met, events, silent


@njit(cache=True)
def _meet(kind, days, common, met):  # type: ignore[no-untyped-def]
    """Fills the chances of the touches of a kind of day, by class and stage."""
    is_first = days.is_first[kind]
    for a in range(len(met)):
        for s in range(met.shape[2]):
            met[a, kind, s] = common.entered[s] if is_first else common.untouched[a, s]
            for t in range(days.touch_start[kind], days.touch_start[kind + 1]):
                if days.touch_lag[t] == 0:
                    channel = days.touch_channel[t]
                    odds = common.entry_odds if is_first else common.contact_odds[a]
                    met[a, kind, s] *= odds[s, channel]

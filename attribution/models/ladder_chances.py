"""Parameters of the ladder, and the chances of one customer's day that follow from them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from attribution.models.ladder_days import DayKinds
from attribution.paths import Floats
from attribution.statistics import Booleans


class Ladder(NamedTuple):
    """Parameters: J stages below the conversion, K channels, L lags.

    start : (J, J) share of customers by stage when day 0 begins and highest rung recorded by then
    entry : (J, K) chance that a channel is among the touches of day 0
    contact : (J, K) chance of a touch on a later day
    organic : (J, J + 1) hazard of moving from stage s to stage j > s without any touch, per day
    effect : (J, J + 1, K) what a touch adds to it, over all its lags
    kernel : (L,) how the effect spreads over the days after the touch, sums to 1
    recorded : (J + 1,) chance that a passed rung is recorded; the conversion always is
    gone : chance per day to have left in silence
    """

    start: Floats
    entry: Floats
    contact: Floats
    organic: Floats
    effect: Floats
    kernel: Floats
    recorded: Floats
    gone: float


class Chances(NamedTuple):
    """What all customers have in common on a day.

    entered, untouched : (J,) chance of no touch at all on day 0, and on a later day
    entry_odds, contact_odds : (J, K) by which a touch multiplies them
    unseen : (J, J + 1) chance that a move leaves no record
    powers : (days + 1, J + 1, J + 1) of the matrix of a quiet day; its last state is gone
    """

    entered: Floats
    untouched: Floats
    entry_odds: Floats
    contact_odds: Floats
    unseen: Floats
    powers: Floats


class DayChances(NamedTuple):
    """Chances by kind of day, P of them.

    moves : (P, J, J + 1) of the move and of all that was seen
    events : (P, J, J + 1) 1 - exp(-hazard)
    silent : (P,) whether customers may have left
    """

    moves: Floats
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
    stages = len(ladder.contact)
    entered, untouched = np.ones(stages), np.full(stages, 1.0 - ladder.gone)
    for s in range(stages):
        for c in range(ladder.contact.shape[1]):
            entered[s] *= 1.0 - ladder.entry[s, c]
            untouched[s] *= 1.0 - ladder.contact[s, c]
    unseen = np.zeros((stages, stages + 1))
    for s in range(stages):
        for k in range(s, stages + 1):
            unseen[s, k] = record_chance(s, k, 0, ladder.recorded)
    quiet = np.zeros((stages + 1, stages + 1))
    chance = np.zeros(stages + 1)
    for s in range(stages):
        move_chances(-np.expm1(-ladder.organic[s]), s, stages, chance)
        for k in range(s, stages):  # a conversion is never quiet
            quiet[s, k] = untouched[s] * chance[k] * unseen[s, k]
        quiet[s, stages] = ladder.gone
    quiet[stages, stages] = 1.0
    powers = np.zeros((days + 1, stages + 1, stages + 1))
    powers[0] = np.eye(stages + 1)
    for n in range(1, days + 1):
        powers[n] = powers[n - 1] @ quiet
    return Chances(
        entered,
        untouched,
        ladder.entry / (1.0 - ladder.entry),
        ladder.contact / (1.0 - ladder.contact),
        unseen,
        powers,
    )


def day_chances(days: DayKinds, ladder: Ladder, common: Chances) -> DayChances:
    return DayChances(*_day_chances(days, ladder, common))


@njit(cache=True)
def _day_chances(days, ladder, common):  # type: ignore[no-untyped-def]
    count, stages, size = len(days.rungs), len(ladder.contact), len(ladder.contact) + 1
    moves, events = np.zeros((2, count, stages, size))
    silent = np.zeros(count, dtype=np.bool_)
    chance, hazard = np.zeros(size), np.zeros(size)
    for kind in range(count):
        first, last = days.touch_start[kind], days.touch_start[kind + 1]
        rungs, is_first, is_last = days.rungs[kind], days.is_first[kind], days.is_last[kind]
        touched = (days.touch_lag[first:last] == 0).any()
        silent[kind] = not (touched or rungs or is_last)
        odds = common.entry_odds if is_first else common.contact_odds
        for s in range(stages):
            met = common.entered[s] if is_first else common.untouched[s]
            hazard[:] = ladder.organic[s]
            for t in range(first, last):
                channel, lag = days.touch_channel[t], days.touch_lag[t]
                if lag == 0:
                    met *= odds[s, channel]
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
                    moves[kind, s, k] = met * chance[k] * seen
    return moves, events, silent

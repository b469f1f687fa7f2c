"""Parameters of the ladder, and the chances of one customer's day that follow from them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from attribution.models.compiled import compiled
from attribution.models.ladder_days import DayKinds
from attribution.models.ladder_lanes import (
    LANES,
    ZEROS,
    all_of,
    in_lanes,
    lanes,
    plus,
    put,
    scaled,
    times,
)
from attribution.paths import Floats
from attribution.statistics import Booleans

ONE_CLASS = np.ones(1)
ALIKE = np.ones((2, 1))  # weekdays
SURELY = 1e-9  # chance that a class is not met where it is met for certain


class Ladder(NamedTuple):
    """Parameters: J stages below the conversion, K channels, L lags, A classes of activity.

    Customers differ in how often they are met, whatever their stage: a class multiplies all contact
    rates, so that many contacts are not taken for a high stage.

    start : (J, J) share of customers by stage when day 0 begins and highest rung recorded by then
    entry : (S, K) chance that a channel is among the touches of day 0; S is J, or 1 where touches
        are not taken to tell of the stage
    contact : (S, K) chance of a touch on a later day, in the first class
    organic : (J, J + 1) hazard of moving from stage s to stage j > s without any touch, per day
    effect : (J, J + 1, K) what a touch adds to it, over all its lags
    kernel : (L,) how the effect spreads over the days after the touch, sums to 1
    recorded : (J + 1,) chance that a passed rung is recorded; the conversion always is
    gone : chance per day to have left in silence
    activity : (A,) contact rates of a class as multiples of those of the first, which has 1
    activity_share : (A,) share of customers in it, sums to 1
    week : (2, W) contact rates, and organic hazards, by weekday as multiples of those above, each
        with the mean 1. W is 7, or 1 where all weekdays are alike
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
    week: Floats = ALIKE

    def contact_in(self, activity: float) -> Floats:
        """Chance of a touch on a later day in a class, (S, K), on a mean weekday."""
        return np.asarray(-np.expm1(activity * np.log1p(-self.contact)))

    def organic_by_weekday(self) -> Floats:
        """Organic hazards, (W, J, J + 1)."""
        return np.asarray(self.organic * self.week[1][:, None, None])


class Chances(NamedTuple):
    """What all customers have in common on a day; lanes are of the classes of activity.

    log_share : lanes, logarithm of the share of customers in each class
    entered : (J,) chance of no touch at all on day 0, entry_odds : (J, K) by which a touch
        multiplies it
    untouched : (W, J) of lanes, chance of neither a touch on a later day nor having left,
        contact_odds : (W, J, K) of lanes
    organic : (W, J, J + 1) hazards
    unseen : (J, J + 1) chance that a move leaves no record
    powers : (W * (longest + 1), J + 1, J + 1) of lanes, products of the matrices of quiet days, by
        run as in DayKinds; their last state is gone
    """

    log_share: Floats
    entered: Floats
    entry_odds: Floats
    untouched: Floats
    contact_odds: Floats
    organic: Floats
    unseen: Floats
    powers: Floats


class DayChances(NamedTuple):
    """Chances by kind of day, P of them.

    moves : (P, J, J + 1) of the move and of its records
    met : (P, J) of lanes, of the day's touches, and of not having left before
    events : (P, J, J + 1) 1 - exp(-hazard)
    silent : (P,) whether customers may have left; never on the day of a conversion, the only one
        on which `moves` to the conversion are above 0
    """

    moves: Floats
    met: Floats
    events: Floats
    silent: Booleans


@compiled()
def move_chances(event, stage, stages, chance):  # type: ignore[no-untyped-def]
    """P(stage -> k) for all k >= stage by the furthest move; event[j] = 1 - exp(-hazard to j)."""
    none_above = 1.0
    for k in range(stages, stage, -1):
        chance[k] = none_above * event[k]
        none_above *= 1.0 - event[k]
    chance[stage] = none_above


@compiled()
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


def chances(ladder: Ladder, longest: int) -> Chances:
    """Chances for as many quiet days in a row."""
    stages, channels = len(ladder.organic), ladder.contact.shape[1]
    entry, contact = (
        np.broadcast_to(c, (stages, channels)) for c in (ladder.entry, ladder.contact)
    )
    power = ladder.week[0][:, None, None, None] * ladder.activity
    # (W, J, K, A), as far from certain as a contact is in the first class
    unmet = np.maximum((1.0 - contact)[..., None] ** power, SURELY)
    untouched = in_lanes((1.0 - ladder.gone) * np.prod(unmet, axis=2))
    organic = ladder.organic_by_weekday()
    unseen, powers = _quiet(ladder, untouched, organic, longest)
    log_share = np.full(LANES, -np.inf)
    log_share[: ladder.activity.size] = np.log(ladder.activity_share)
    return Chances(
        log_share=log_share,
        entered=np.prod(1.0 - entry, axis=1),
        entry_odds=entry / (1.0 - entry),
        untouched=untouched,
        contact_odds=in_lanes(1.0 / unmet - 1.0),
        organic=organic,
        unseen=unseen,
        powers=powers,
    )


@compiled()
def _quiet(ladder, untouched, organic, longest):  # type: ignore[no-untyped-def]
    """Chances that a move leaves no record, and what runs of quiet days do."""
    weekdays, stages, size = organic.shape
    unseen, quiet = np.zeros((stages, size)), np.zeros((weekdays, size, size, LANES))
    powers = np.zeros((weekdays * (longest + 1), size, size, LANES))
    for s in range(stages):
        for k in range(s, size):
            unseen[s, k] = record_chance(s, k, 0, ladder.recorded)
    for w in range(weekdays):
        _quiet_day(ladder, untouched[w], organic[w], unseen, quiet[w])
        first = w * (longest + 1)
        for a in range(len(ladder.activity)):
            for s in range(size):
                powers[first, s, s, a] = 1.0
    for w in range(weekdays):
        first = w * (longest + 1)
        for n in range(1, longest + 1):
            day = quiet[(w + n - 1) % weekdays]
            for s in range(size):
                for k in range(s, size):
                    ways = ZEROS
                    for j in range(s, k + 1):
                        ways = plus(
                            ways, times(lanes(powers[first + n - 1, s, j]), lanes(day[j, k]))
                        )
                    put(powers[first + n, s, k], ways)
    return unseen, powers


@compiled()
def _quiet_day(ladder, untouched, organic, unseen, quiet):  # type: ignore[no-untyped-def]
    """Fills the matrix of a quiet day, (J + 1, J + 1) of lanes."""
    stages = len(organic)
    chance, event = np.zeros(stages + 1), np.zeros(stages + 1)
    for s in range(stages):
        for k in range(s, stages + 1):
            event[k] = -math.expm1(-organic[s, k])
        move_chances(event, s, stages, chance)
        for a in range(len(ladder.activity)):
            for k in range(s, stages):  # a conversion is never quiet
                quiet[s, k, a] = untouched[s, a] * chance[k] * unseen[s, k]
            quiet[s, stages, a] = ladder.gone
    for a in range(len(ladder.activity)):
        quiet[stages, stages, a] = 1.0


def day_chances(days: DayKinds, ladder: Ladder, common: Chances) -> DayChances:
    return DayChances(*_day_chances(days, ladder, common))


@compiled()
def _day_chances(days, ladder, common):  # type: ignore[no-untyped-def]
    count, stages, size = len(days.rungs), len(ladder.organic), len(ladder.organic) + 1
    moves, events = np.zeros((count, stages, size)), np.zeros((count, stages, size))
    met = np.zeros((count, stages, LANES))
    silent = np.zeros(count, dtype=np.bool_)
    chance, hazard = np.zeros(size), np.zeros(size)
    for kind in range(count):
        rungs, is_last, weekday = days.rungs[kind], days.is_last[kind], days.weekday[kind]
        touched = _meet(kind, days, common, met)
        silent[kind] = not (touched or rungs or is_last)
        for s in range(stages):
            for k in range(s + 1, size):
                hazard[k] = common.organic[weekday, s, k]
            for t in range(days.touch_start[kind], days.touch_start[kind + 1]):
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


@compiled()
def _meet(kind, days, common, met):  # type: ignore[no-untyped-def]
    """Fills the chances of the touches of a kind of day, by stage; whether there is any."""
    is_first, weekday, touched = days.is_first[kind], days.weekday[kind], False
    for s in range(met.shape[1]):
        chance = all_of(common.entered[s]) if is_first else lanes(common.untouched[weekday, s])
        for t in range(days.touch_start[kind], days.touch_start[kind + 1]):
            if days.touch_lag[t] == 0:
                touched, channel = True, days.touch_channel[t]
                if is_first:
                    chance = scaled(chance, common.entry_odds[s, channel])
                else:
                    chance = times(chance, lanes(common.contact_odds[weekday, s, channel]))
        put(met[kind, s], chance)
    return touched

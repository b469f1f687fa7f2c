"""Forward and backward through one customer's days (Rabiner 1989, doi 10.1109/5.18626).

Compiled, like all that visits customers one by one. Days without a touch, without one still acting,
and without a record are all alike: a run of n of them is one power of one matrix, and the sums over
its days are added at the end of a pass.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from attribution.models.ladder_chances import move_chances, record_chance
from attribution.paths import Floats, Integers
from attribution.statistics import Booleans

RUN = -1  # stands for the first touch of an item that is a run of quiet days


class Customers(NamedTuple):
    """The arrays of `CustomerDays`, as compiled code takes them."""

    weight: Floats
    first_stage: Integers
    last_day: Integers
    converted: Booleans
    touch_start: Integers
    touch_day: Integers
    touch_channel: Integers
    record_start: Integers
    record_day: Integers
    record_rungs: Integers


class Work(NamedTuple):
    """One customer's days, cut into items: one day each, or a run of quiet ones.

    items : (days, 4) first touch that still acts and the one after the last, record, day; a run has
        RUN and its length
    moves : (days, J, J + 1) chance of the move and of all that was seen
    events : (days, J, J + 1) 1 - exp(-hazard)
    forward : (days + 1, J + 1) share of each state before the item; the last state is gone, or
        after the last day of a converted customer the conversion
    """

    items: Integers
    moves: Floats
    events: Floats
    forward: Floats


@njit(cache=True)
def new_work(days, stages):  # type: ignore[no-untyped-def]
    return Work(
        np.zeros((days, 4), dtype=np.int64),
        np.zeros((days, stages, stages + 1)),
        np.zeros((days, stages, stages + 1)),
        np.zeros((days + 1, stages + 1)),
    )


@njit(cache=True)
def forward_items(i, customers, ladder, common, runs, work):  # type: ignore[no-untyped-def]
    """Number of items and log-likelihood of customer i; -inf where it is impossible."""
    stages, lags = len(ladder.contact), ladder.kernel.size
    size = stages + 1
    chance, hazard = np.zeros(size), np.zeros(size)
    touch_day, last_day = customers.touch_day, customers.last_day[i]
    first = last = customers.touch_start[i]
    touches = customers.touch_start[i + 1]
    record, records = customers.record_start[i], customers.record_start[i + 1]
    # arrays by names of their own: a compiled loop pays for every look into a tuple
    items, moves, events, forward = work.items, work.moves, work.events, work.forward
    touch_channel, record_day = customers.touch_channel, customers.record_day
    organic, effect, kernel, gone = ladder.organic, ladder.effect, ladder.kernel, ladder.gone
    recorded, unseen, powers = ladder.recorded, common.unseen, common.powers
    entry_odds, contact_odds = common.entry_odds, common.contact_odds
    converted = customers.converted[i]
    forward[0, stages] = 0.0
    for s in range(stages):
        forward[0, s] = ladder.start[s, customers.first_stage[i]]
    count, day, likelihood = 0, 0, 0.0
    while day <= last_day:
        while last < touches and touch_day[last] <= day:
            last += 1
        while first < last and touch_day[first] <= day - lags:
            first += 1
        has_record = record < records and record_day[record] == day
        is_end = converted and day == last_day
        if first == last and not has_record and not is_end:
            length = 1
            if runs:
                until = last_day if converted else last_day + 1
                if last < touches:
                    until = min(until, touch_day[last])
                if record < records:
                    until = min(until, record_day[record])
                length = until - day
            for k in range(size):
                forward[count + 1, k] = 0.0
                for s in range(k + 1):
                    forward[count + 1, k] += forward[count, s] * powers[length, s, k]
            items[count, 0], items[count, 1] = RUN, length
            day += length
        else:
            rungs = customers.record_rungs[record] if has_record else 0
            record += has_record
            for s in range(stages):
                met = common.entered[s] if day == 0 else common.untouched[s]
                hazard[:] = organic[s]
                for t in range(first, last):
                    c, lag = touch_channel[t], day - touch_day[t]
                    if lag == 0:
                        met *= entry_odds[s, c] if day == 0 else contact_odds[s, c]
                    for k in range(s + 1, size):
                        hazard[k] += effect[s, k, c] * kernel[lag]
                for k in range(s + 1, size):
                    events[count, s, k] = -math.expm1(-hazard[k])
                move_chances(events[count, s], s, stages, chance)
                for k in range(s, size):
                    moves[count, s, k] = 0.0
                    if is_end == (k == stages):
                        seen = unseen[s, k]
                        if has_record:
                            seen = record_chance(s, k, rungs, recorded)
                        moves[count, s, k] = met * chance[k] * seen
            touched = last > first and touch_day[last - 1] == day
            silent = not (touched or has_record or is_end)
            for k in range(size):
                total = 0.0
                for s in range(min(k + 1, stages)):
                    total += forward[count, s] * moves[count, s, k]
                forward[count + 1, k] = total
            if not is_end:
                total = forward[count, stages]
                for s in range(stages):
                    total += forward[count, s] * gone
                forward[count + 1, stages] = total if silent else 0.0
            items[count, 0], items[count, 1] = first, last
            items[count, 2], items[count, 3] = rungs, day
            day += 1
        scale = forward[count + 1].sum()
        if scale <= 0.0:
            return count, -math.inf
        forward[count + 1] /= scale
        likelihood += math.log(scale)
        count += 1
    return count, likelihood


@njit(cache=True)
def backward_sums(i, count, customers, ladder, common, work, at, sums, quiet_sums, posterior):  # type: ignore[no-untyped-def]
    """Adds customer i's expected sums; fills its stages at entry."""
    stages = len(ladder.contact)
    size = stages + 1
    items, moves, events, forward = work.items, work.moves, work.events, work.forward
    touch_day, touch_channel, powers = customers.touch_day, customers.touch_channel, common.powers
    weight, converted, last_day = customers.weight[i], customers.converted[i], customers.last_day[i]
    lags, gone = ladder.kernel.size, ladder.gone
    backward, before = np.ones(size), np.zeros(size)
    if converted:
        backward[:stages] = 0.0
    for item in range(count - 1, -1, -1):
        if items[item, 0] == RUN:
            length = items[item, 1]
            norm = 0.0
            for s in range(size):
                before[s] = 0.0
                for k in range(s, size):
                    before[s] += powers[length, s, k] * backward[k]
                norm += forward[item, s] * before[s]
            for s in range(size):
                share = weight * forward[item, s] / norm
                for k in range(size):
                    quiet_sums[length, s, k] += share * backward[k]
        else:
            norm = _day_sums(
                item, converted and items[item, 3] == last_day, weight, touch_day, touch_channel,
                gone, lags, items, moves, events, forward, backward, before, at, sums,
            )  # fmt: skip
        for s in range(size):
            backward[s] = before[s] / norm
    total = 0.0
    for s in range(stages):
        total += forward[0, s] * backward[s]
    for s in range(stages):
        posterior[s] = forward[0, s] * backward[s] / total
        sums[at[0] + s * stages + customers.first_stage[i]] += weight * posterior[s]


@njit(cache=True)
def _day_sums(  # type: ignore[no-untyped-def]
    item, is_end, weight, touch_day, touch_channel, gone_rate, lags, items, moves, events, forward,
    backward, before, at, sums,
):  # fmt: skip
    """Adds one day that is not quiet; fills `before`, returns its normaliser.

    It takes arrays and not the tuples that hold them: a compiled loop pays for every look into one.
    """
    stages = events.shape[1]
    channels = (at[2] - at[1]) // stages
    first, last, rungs, day = items[item, 0], items[item, 1], items[item, 2], items[item, 3]
    touched = last > first and touch_day[last - 1] == day
    gone = 0.0 if touched or rungs or is_end else gone_rate
    before[stages] = 0.0 if touched or rungs or is_end else backward[stages]
    norm = forward[item, stages] * before[stages]
    for s in range(stages):
        before[s] = gone * backward[stages]
        for k in range(s, stages + 1):
            before[s] += moves[item, s, k] * backward[k]
        if is_end:
            before[s] = moves[item, s, stages] * backward[stages]
        norm += forward[item, s] * before[s]
    for s in range(stages):
        scaled = weight * forward[item, s] / norm
        if scaled == 0.0:
            continue
        present = 0.0
        for k in range(s, stages + 1):
            present += scaled * moves[item, s, k] * backward[k]
        if day > 0:
            sums[at[2] + s] += present
            sums[at[10]] += scaled * gone * backward[stages]
            sums[at[11]] += present
        part = at[1] if day == 0 else at[3]
        for t in range(last - 1, first - 1, -1):
            if touch_day[t] < day:
                break
            sums[part + s * channels + touch_channel[t]] += present
        at_risk = scaled * moves[item, s, s] * backward[s]
        for j in range(s + 1, stages + 1):
            moved = scaled * moves[item, s, j] * backward[j]
            caused = moved / events[item, s, j] if moved > 0.0 else 0.0
            at_risk += moved
            place = s * (stages + 1) + j
            sums[at[4] + place] += caused
            sums[at[5] + place] += at_risk
            for t in range(first, last):
                lag = day - touch_day[t]
                cell = (place * channels + touch_channel[t]) * lags + lag
                sums[at[6] + cell] += caused
                sums[at[7] + cell] += at_risk
            for rung in range(s + 1, min(j, stages - 1) + 1):
                sums[at[9] + rung] += moved
                if rungs >> (rung - 1) & 1:
                    sums[at[8] + rung] += moved
    return norm

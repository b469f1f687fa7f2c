"""Forward and backward through one customer's days (Rabiner 1989, doi 10.1109/5.18626).

Compiled, like all that visits customers one by one. Classes of activity lie side by side in lanes:
each lane goes its own way, as if there were no other class. States are the stages and, last, gone;
on the day of a conversion alone the last state is the conversion, and no one can have left.
"""

from __future__ import annotations

import math

import numpy as np

from attribution.models.compiled import compiled
from attribution.models.ladder_lanes import (
    LANES,
    ONES,
    ZEROS,
    add,
    lanes,
    plus,
    put,
    quotient,
    scaled,
    times,
    total,
)

SMALL = 1e-200  # a product of chances is kept above it


@compiled(error_model="numpy")
def forward_days(i, days, begin, gone, powers, moves, met, silent, kind, forward, likelihood):  # type: ignore[no-untyped-def]
    """Fills the log-likelihood of customer i by class, -inf where it is impossible.

    Parameters
    ----------
    begin : (J, J) share of customers by stage and highest rung recorded when day 0 begins
    powers : (W * (longest + 1), J + 1, J + 1) of lanes, what runs of quiet days do
    moves : (P, J, J + 1) chance of the move and of its records, by kind of day
    met : (P, J) of lanes, chance of the day's touches
    silent : (P,) whether a customer may have left on such a day
    kind : (I,) kind of each day
    forward : (2 * days + 2, J + 1) of lanes
        Filled with the share of each state before each run of quiet days and each other day.
    likelihood : lanes
    """
    stages, size = moves.shape[1], moves.shape[2]
    product, row = ONES, 0
    put(likelihood, ZEROS)
    put(forward[0, stages], ZEROS)
    for s in range(stages):
        put(forward[0, s], scaled(ONES, begin[s, days.first_stage[i]]))
    last = days.item_start[i + 1]
    for item in range(days.item_start[i], last + 1):
        run = days.quiet_before[item] if item < last else days.quiet_after[i]
        if run:
            for k in range(size):
                mass = ZEROS
                for s in range(k + 1):
                    mass = plus(mass, times(lanes(forward[row, s]), lanes(powers[run, s, k])))
                put(forward[row + 1, k], mass)
            row += 1
            product = _to_one(forward[row], product)
        if item == last:
            break
        day = kind[item]
        for k in range(size):
            mass = ZEROS
            for s in range(min(k + 1, stages)):
                here = times(lanes(forward[row, s]), lanes(met[day, s]))
                mass = plus(mass, scaled(here, moves[day, s, k]))
            put(forward[row + 1, k], mass)
        if silent[day]:
            left = ZEROS
            for s in range(stages):
                left = plus(left, lanes(forward[row, s]))
            put(forward[row + 1, stages], plus(scaled(left, gone), lanes(forward[row, stages])))
        row += 1
        product = _to_one(forward[row], product)
        if _is_small(product):
            product = _logged(product, likelihood)
    _logged(product, likelihood)


@compiled(error_model="numpy")
def _to_one(states, product):  # type: ignore[no-untyped-def]
    """Scales the states of each lane to the sum 1; returns the product with what it was."""
    mass = ZEROS
    for k in range(len(states)):
        mass = plus(mass, lanes(states[k]))
    each = quotient(ONES, mass)
    for k in range(len(states)):
        put(states[k], times(lanes(states[k]), each))
    return times(product, mass)


@compiled()
def _is_small(product):  # type: ignore[no-untyped-def]
    """Whether some lane is nearly, but not, 0."""
    is_small = False
    for a in range(LANES):
        is_small |= 0.0 < product[a] < SMALL
    return is_small


@compiled(error_model="numpy")
def _logged(product, likelihood):  # type: ignore[no-untyped-def]
    """Adds the logarithms of a product to the likelihood, and begins another."""
    for a in range(LANES):
        likelihood[a] += math.log(product[a]) if product[a] > 0.0 else -math.inf
    return ONES


@compiled(error_model="numpy")
def backward_days(  # type: ignore[no-untyped-def]
    i, days, weight, gone, powers, moves, met, silent, kind, forward, told, told_row, present,
    quiet_sums, posterior,
):  # fmt: skip
    """Adds what customer i's days tell, fills its stages at entry, returns how often it left.

    weight : lanes, customers that it stands for, by how likely it is of each class
    told : (., J, J + 1) expected moves, added to row `told_row[item]` for each day
    present : (., J) of lanes, expected customers who have not left, to the same row
    quiet_sums : (W * (longest + 1), J + 1, J + 1) of lanes, sums of a b' / (a T b), by run, with
        mass a before and b after it
    posterior : (J,) of lanes, in each lane with the sum 1
    """
    stages, size = moves.shape[1], moves.shape[2]
    left = 0.0
    backward, before = np.ones((size, LANES)), np.zeros((size, LANES))
    first, last = days.item_start[i], days.item_start[i + 1]
    row = last - first + (days.quiet_after[i] > 0)
    for item in range(first, last):
        row += days.quiet_before[item] > 0
    for item in range(last, first - 1, -1):
        if item < last:
            row -= 1
            left += _back_a_day(
                forward[row], kind[item], told_row[item], weight, gone, moves, met, silent, told,
                present, backward, before,
            )  # fmt: skip
        run = days.quiet_before[item] if item < last else days.quiet_after[i]
        if run:
            row -= 1
            _back_a_run(forward[row], weight, powers[run], quiet_sums[run], backward, before)
    mass = ZEROS
    for s in range(stages):
        mass = plus(mass, times(lanes(forward[0, s]), lanes(backward[s])))
    for s in range(stages):
        put(posterior[s], quotient(times(lanes(forward[0, s]), lanes(backward[s])), mass))
    return left


@compiled(error_model="numpy")
def _back_a_run(states, weight, power, quiet_sums, backward, before):  # type: ignore[no-untyped-def]
    """Back over a run of quiet days, from the states before it."""
    size, mass = len(states), ZEROS
    for s in range(size):
        ahead = ZEROS
        for k in range(s, size):
            ahead = plus(ahead, times(lanes(power[s, k]), lanes(backward[k])))
        put(before[s], ahead)
        mass = plus(mass, times(lanes(states[s]), ahead))
    each = quotient(ONES, mass)
    for s in range(size):
        here = times(lanes(states[s]), times(weight, each))
        for k in range(s, size):
            add(quiet_sums[s, k], times(here, lanes(backward[k])))
    for s in range(size):
        put(backward[s], times(lanes(before[s]), each))


@compiled(error_model="numpy")
def _back_a_day(  # type: ignore[no-untyped-def]
    states, day, to, weight, gone, moves, met, silent, told, present, backward, before
):
    """Back over a day of a kind, from the states before it; returns how often the customer left."""
    stages, size = moves.shape[1], moves.shape[2]
    ahead = lanes(backward[stages]) if silent[day] else ZEROS
    leaving, mass, left = scaled(ahead, gone), times(lanes(states[stages]), ahead), ZEROS
    for s in range(stages):
        stays = ZEROS
        for k in range(s, size):
            stays = plus(stays, scaled(lanes(backward[k]), moves[day, s, k]))
        stays = times(lanes(met[day, s]), stays)
        put(before[s], stays)
        mass = plus(mass, times(lanes(states[s]), plus(stays, leaving)))
    each = quotient(ONES, mass)
    for s in range(stages):
        here = times(lanes(states[s]), times(weight, each))
        add(present[to, s], times(here, lanes(before[s])))
        left = plus(left, times(here, leaving))
        here = times(here, lanes(met[day, s]))
        for k in range(s, size):
            told[to, s, k] += moves[day, s, k] * total(times(here, lanes(backward[k])))
    for s in range(stages):
        put(backward[s], times(plus(lanes(before[s]), leaving), each))
    put(backward[stages], times(ahead, each))
    return total(left)

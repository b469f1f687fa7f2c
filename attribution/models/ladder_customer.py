"""Forward and backward through one customer's days (Rabiner 1989, doi 10.1109/5.18626).

Compiled, like all that visits customers one by one. A state is a stage, or at last gone, and a
class of activity, which never changes: classes lie side by side in lanes. After the last day of a
converted customer the last state is the conversion.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from attribution.models.ladder_lanes import (
    LANES,
    NONE,
    by,
    of_block,
    of_cell,
    of_row,
    plus,
    times,
    to_block,
    to_cell,
    to_row,
    total,
)

SMALL = 1e-200  # a product of chances is kept above it


@njit(cache=True, error_model="numpy")
def forward_days(i, days, begin, share, gone, powers, moves, met, silent, kind, forward):  # type: ignore[no-untyped-def]
    """Log-likelihood of customer i, -inf where it is impossible.

    Parameters
    ----------
    begin : (J, J) share of customers by stage and highest rung recorded when day 0 begins
    share : lanes, share of customers by class
    powers : (longest + 1, J + 1, J + 1) of lanes, of the matrix of a quiet day
    moves : (P, J, J + 1) chance of the move and of its records, by kind of day
    met : (P, J) of lanes, chance of the day's touches
    silent : (P,) whether a customer may have left on such a day
    kind : (I,) kind of each day
    forward : (2 * days + 2, J + 1) of lanes
        Filled with the share of each state before each run of quiet days and each other day.
    """
    stages, size = moves.shape[1], moves.shape[2]
    likelihood, product, row = 0.0, 1.0, 0
    to_cell(forward, 0, stages, NONE)
    for s in range(stages):
        to_cell(forward, 0, s, by(share, begin[s, days.first_stage[i]]))
    last = days.item_start[i + 1]
    for item in range(days.item_start[i], last + 1):
        length = days.quiet_before[item] if item < last else days.quiet_after[i]
        if length:
            for k in range(size):
                mass = NONE
                for s in range(k + 1):
                    here = of_cell(forward, row, s)
                    mass = plus(mass, times(here, of_block(powers, length, s, k)))
                to_cell(forward, row + 1, k, mass)
            row += 1
            product = _scaled(forward, row, product)
        if item == last or product == 0.0:
            break
        at = kind[item]
        for k in range(size):
            mass = NONE
            for s in range(min(k + 1, stages)):
                here = times(of_cell(forward, row, s), of_cell(met, at, s))
                mass = plus(mass, by(here, moves[at, s, k]))
            to_cell(forward, row + 1, k, mass)
        if silent[at]:
            left = NONE
            for s in range(stages):
                left = plus(left, of_cell(forward, row, s))
            left = plus(by(left, gone), of_cell(forward, row, stages))
            to_cell(forward, row + 1, stages, left)
        row += 1
        product = _scaled(forward, row, product)
        if product < SMALL:
            likelihood += math.log(product) if product > 0.0 else -math.inf
            product = 1.0 if product > 0.0 else 0.0
    return likelihood + math.log(product) if product > 0.0 else -math.inf


@njit(cache=True, error_model="numpy")
def _scaled(forward, row, product):  # type: ignore[no-untyped-def]
    """Scales a row to the sum 1; returns the product with what it was, 0 where nothing is left."""
    size, whole = forward.shape[1], NONE
    for k in range(size):
        whole = plus(whole, of_cell(forward, row, k))
    mass = total(whole)
    if mass <= 0.0:
        return 0.0
    for k in range(size):
        to_cell(forward, row, k, by(of_cell(forward, row, k), 1.0 / mass))
    return product * mass


@njit(cache=True, error_model="numpy")
def backward_days(  # type: ignore[no-untyped-def]
    i, days, weight, gone, powers, moves, met, silent, kind, forward, told, told_row, present,
    quiet_sums, posterior,
):  # fmt: skip
    """Adds what customer i's days tell, fills its stages at entry, returns how often it left.

    weight : customers that it stands for
    told : (., J, J + 1) expected moves, added to row `told_row[item]` for each day
    present : (., J) of lanes, expected customers who have not left, to the same row
    quiet_sums : (longest + 1, J + 1, J + 1) of lanes, sums of a b' / (a T^n b), by length n of the
        run, with mass a before and b after it
    posterior : (J,) of lanes
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
                row, kind[item], told_row[item], weight, gone, moves, met, silent, forward, told,
                present, backward, before,
            )  # fmt: skip
        length = days.quiet_before[item] if item < last else days.quiet_after[i]
        if length:
            row -= 1
            mass = NONE
            for s in range(size):
                ahead = NONE
                for k in range(s, size):
                    ahead = plus(ahead, times(of_block(powers, length, s, k), of_row(backward, k)))
                to_row(before, s, ahead)
                mass = plus(mass, times(of_cell(forward, row, s), ahead))
            scale = 1.0 / total(mass)
            for s in range(size):
                here = by(of_cell(forward, row, s), weight * scale)
                for k in range(s, size):
                    ends = times(here, of_row(backward, k))
                    former = of_block(quiet_sums, length, s, k)
                    to_block(quiet_sums, length, s, k, plus(former, ends))
            for s in range(size):
                to_row(backward, s, by(of_row(before, s), scale))
    mass = NONE
    for s in range(stages):
        mass = plus(mass, times(of_cell(forward, 0, s), of_row(backward, s)))
    for s in range(stages):
        here = times(of_cell(forward, 0, s), of_row(backward, s))
        to_row(posterior, s, by(here, 1.0 / total(mass)))
    return left


@njit(cache=True, error_model="numpy")
def _back_a_day(  # type: ignore[no-untyped-def]
    row, at, to, weight, gone, moves, met, silent, forward, told, present, backward, before
):
    """Back over a day that is not quiet; returns how often the customer left on it."""
    stages, size = moves.shape[1], moves.shape[2]
    ahead = of_row(backward, stages) if silent[at] else NONE
    leaving, mass, left = by(ahead, gone), times(of_cell(forward, row, stages), ahead), NONE
    for s in range(stages):
        stays = NONE
        for k in range(s, size):
            stays = plus(stays, by(of_row(backward, k), moves[at, s, k]))
        stays = times(of_cell(met, at, s), stays)
        to_row(before, s, stays)
        mass = plus(mass, times(of_cell(forward, row, s), plus(stays, leaving)))
    scale = 1.0 / total(mass)
    for s in range(stages):
        here = by(of_cell(forward, row, s), weight * scale)
        stays = of_row(before, s)
        to_cell(present, to, s, plus(of_cell(present, to, s), times(here, stays)))
        left = plus(left, times(here, leaving))
        here = times(here, of_cell(met, at, s))
        for k in range(s, size):
            told[to, s, k] += moves[at, s, k] * total(times(here, of_row(backward, k)))
    for s in range(stages):
        to_row(backward, s, by(plus(of_row(before, s), leaving), scale))
    to_row(backward, stages, by(ahead, scale))
    return total(left)

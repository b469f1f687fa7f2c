"""Forward and backward through one customer's days (Rabiner 1989, doi 10.1109/5.18626).

Compiled, like all that visits customers one by one. States are the stages and, last, gone: after
the last day of a converted customer the last state is the conversion.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

SMALL = 1e-200  # a product of chances is kept above it


@njit(cache=True, error_model="numpy")
def forward_days(i, days, begin, gone, powers, moves, met, silent, kind, forward):  # type: ignore[no-untyped-def]
    """Log-likelihood of customer i, -inf where it is impossible.

    Parameters
    ----------
    begin : (J, J) share of customers by stage and highest rung recorded when day 0 begins
    powers : (longest + 1, J + 1, J + 1) of the matrix of a quiet day
    moves : (P, J, J + 1) chance of the move and of its records, by kind of day
    met : (P, J) chance of the day's touches
    silent : (P,) whether a customer may have left on such a day
    kind : (I,) kind of each day
    forward : (2 * days + 2, J + 1)
        Filled with the share of each state before each run of quiet days and each other day.
    """
    stages, size = moves.shape[1], moves.shape[2]
    likelihood, product, row = 0.0, 1.0, 0
    forward[0, stages] = 0.0
    for s in range(stages):
        forward[0, s] = begin[s, days.first_stage[i]]
    last = days.item_start[i + 1]
    for item in range(days.item_start[i], last + 1):
        length = days.quiet_before[item] if item < last else days.quiet_after[i]
        if length:
            total = 0.0
            for k in range(size):
                share = 0.0
                for s in range(k + 1):
                    share += forward[row, s] * powers[length, s, k]
                forward[row + 1, k] = share
                total += share
            row += 1
            product = _scaled(forward, row, total, product)
        if item == last or product == 0.0:
            break
        at, total = kind[item], 0.0
        for k in range(size):
            forward[row + 1, k] = 0.0
        for s in range(stages):
            here = forward[row, s] * met[at, s]
            for k in range(s, size):
                forward[row + 1, k] += here * moves[at, s, k]
        if silent[at]:
            left = forward[row, stages]
            for s in range(stages):
                left += forward[row, s] * gone
            forward[row + 1, stages] = left
        row += 1
        for k in range(size):
            total += forward[row, k]
        product = _scaled(forward, row, total, product)
        if product < SMALL:
            likelihood += math.log(product) if product > 0.0 else -math.inf
            product = 1.0 if product > 0.0 else 0.0
    return likelihood + math.log(product) if product > 0.0 else -math.inf


@njit(cache=True, error_model="numpy", inline="always")
def _scaled(forward, row, total, product):  # type: ignore[no-untyped-def]
    """Scales a row to the sum 1; returns the product with what it was, 0 where nothing is left."""
    if total <= 0.0:
        return 0.0
    by = 1.0 / total
    for k in range(forward.shape[1]):
        forward[row, k] *= by
    return product * total


@njit(cache=True, error_model="numpy")
def backward_days(  # type: ignore[no-untyped-def]
    i, days, weight, gone, powers, moves, met, silent, kind, forward, told, told_row, present,
    quiet_sums, posterior,
):  # fmt: skip
    """Adds what customer i's days tell, fills its stages at entry, returns how often it left.

    weight : customers that it stands for
    told : (., J, J + 1) expected moves, added to row `told_row[item]` for each day
    present : (., J) expected customers who have not left, to the same row
    quiet_sums : (longest + 1, J + 1, J + 1) sums of a b' / (a T^n b), by length n of the run, with
        mass a before and b after it
    """
    stages, size = moves.shape[1], moves.shape[2]
    left = 0.0
    backward, before = np.ones(size), np.zeros(size)
    first, last = days.item_start[i], days.item_start[i + 1]
    row = last - first + (days.quiet_after[i] > 0)
    for item in range(first, last):
        row += days.quiet_before[item] > 0
    for item in range(last, first - 1, -1):
        if item < last:
            row -= 1
            at, to = kind[item], told_row[item]
            ahead = backward[stages] if silent[at] else 0.0
            norm = forward[row, stages] * ahead
            for s in range(stages):
                stays = 0.0
                for k in range(s, size):
                    stays += moves[at, s, k] * backward[k]
                before[s] = met[at, s] * stays
                norm += forward[row, s] * (before[s] + gone * ahead)
            by = 1.0 / norm
            for s in range(stages):
                scaled = weight * forward[row, s] * by
                present[to, s] += scaled * before[s]
                left += scaled * gone * ahead
                scaled *= met[at, s]
                for k in range(s, size):
                    told[to, s, k] += scaled * moves[at, s, k] * backward[k]
            for s in range(stages):
                backward[s] = (before[s] + gone * ahead) * by
            backward[stages] = ahead * by
        length = days.quiet_before[item] if item < last else days.quiet_after[i]
        if length:
            row -= 1
            norm = 0.0
            for s in range(size):
                before[s] = 0.0
                for k in range(s, size):
                    before[s] += powers[length, s, k] * backward[k]
                norm += forward[row, s] * before[s]
            by = 1.0 / norm
            for s in range(size):
                scaled = weight * forward[row, s] * by
                for k in range(s, size):
                    quiet_sums[length, s, k] += scaled * backward[k]
            for s in range(size):
                backward[s] = before[s] * by
    total = 0.0
    for s in range(stages):
        total += forward[0, s] * backward[s]
    for s in range(stages):
        posterior[s] = forward[0, s] * backward[s] / total
    return left

"""Forward and backward through one customer's days (Rabiner 1989, doi 10.1109/5.18626).

Compiled, like all that visits customers one by one. States are the stages and, last, gone: after
the last day of a converted customer the last state is the conversion.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(cache=True)
def forward_days(i, days, start, gone, powers, moves, silent, kind, forward):  # type: ignore[no-untyped-def]
    """Log-likelihood of customer i, -inf where it is impossible.

    Parameters
    ----------
    moves : (., J, J + 1) chance of the move and of all that was seen, by kind of day
    silent : (.,) whether a customer may have left on such a day
    kind : (I,) row of `moves` for each day
    forward : (2 * days + 2, J + 1)
        Filled with the share of each state before each run of quiet days, and after it.
    """
    stages, size = moves.shape[1], moves.shape[2]
    likelihood, row = 0.0, 0
    forward[0, stages] = 0.0
    for s in range(stages):
        forward[0, s] = start[s, days.first_stage[i]]
    for item in range(days.item_start[i], days.item_start[i + 1]):
        likelihood += _quiet_run(days.quiet_before[item], powers, forward[row], forward[row + 1])
        row += 1
        move, before, after = moves[kind[item]], forward[row], forward[row + 1]
        for k in range(size):
            after[k] = 0.0
            for s in range(min(k + 1, stages)):
                after[k] += before[s] * move[s, k]
        if silent[kind[item]]:
            after[stages] = before[stages]
            for s in range(stages):
                after[stages] += before[s] * gone
        likelihood += _scaled(after)
        row += 1
        if likelihood == -math.inf:
            return likelihood
    return likelihood + _quiet_run(days.quiet_after[i], powers, forward[row], forward[row + 1])


@njit(cache=True)
def _quiet_run(length, powers, before, after):  # type: ignore[no-untyped-def]
    if length == 0:
        after[:] = before
        return 0.0
    for k in range(len(after)):
        after[k] = 0.0
        for s in range(k + 1):
            after[k] += before[s] * powers[length, s, k]
    return _scaled(after)


@njit(cache=True)
def _scaled(shares):  # type: ignore[no-untyped-def]
    """Scales to the sum 1; returns the logarithm of what it was."""
    total = shares.sum()
    if total <= 0.0:
        return -math.inf
    shares /= total
    return math.log(total)


@njit(cache=True)
def backward_days(  # type: ignore[no-untyped-def]
    i, days, gone, powers, moves, silent, kind, forward, joint, joint_row, quiet_sums, posterior
):
    """Adds what customer i's days tell, fills its stages at entry, returns how often it left.

    joint : (., J, J + 1) expected moves, added to row `joint_row[item]` for each day
    quiet_sums : (longest + 1, J + 1, J + 1) sums of a b' / (a T^n b), by length n of the run, with
        mass a before and b after it
    """
    stages, size = moves.shape[1], moves.shape[2]
    weight, left = days.weight[i], 0.0
    backward, before = np.ones(size), np.zeros(size)
    first, last = days.item_start[i], days.item_start[i + 1]
    row = 2 * (last - first)
    _back_through_run(
        days.quiet_after[i], powers, weight, forward[row], backward, before, quiet_sums
    )
    for item in range(last - 1, first - 1, -1):
        row -= 1
        here, at = forward[row], kind[item]
        move, told, ahead = moves[at], joint[joint_row[item]], backward[stages]
        before[stages] = ahead if silent[at] else 0.0
        norm = here[stages] * before[stages]
        for s in range(stages):
            before[s] = gone * ahead if silent[at] else 0.0
            for k in range(s, size):
                before[s] += move[s, k] * backward[k]
            norm += here[s] * before[s]
        for s in range(stages):
            scaled = weight * here[s] / norm
            for k in range(s, size):
                told[s, k] += scaled * move[s, k] * backward[k]
            if silent[at]:
                left += scaled * gone * ahead
            backward[s] = before[s] / norm
        backward[stages] = before[stages] / norm
        row -= 1
        _back_through_run(
            days.quiet_before[item], powers, weight, forward[row], backward, before, quiet_sums
        )
    total = 0.0
    for s in range(stages):
        total += forward[0, s] * backward[s]
    for s in range(stages):
        posterior[s] = forward[0, s] * backward[s] / total
    return left


@njit(cache=True)
def _back_through_run(length, powers, weight, here, backward, before, quiet_sums):  # type: ignore[no-untyped-def]
    size = len(backward)
    if length == 0:
        return
    power, told = powers[length], quiet_sums[length]
    norm = 0.0
    for s in range(size):
        before[s] = 0.0
        for k in range(s, size):
            before[s] += power[s, k] * backward[k]
        norm += here[s] * before[s]
    for s in range(size):
        share = weight * here[s] / norm
        for k in range(s, size):
            told[s, k] += share * backward[k]
        backward[s] = before[s] / norm

"""How well a ladder foresees what customers do next, given how they were met.

A ladder is there to say what moves customers, and most of its likelihood is of something else: of
how they are met. Where customers are met differently for reasons that no stage knows, hidden stages
explain that, at the price of the moves; so forms are judged by the moves.
"""

from __future__ import annotations

import math

import numpy as np

from attribution.customer_days import CustomerDays
from attribution.models.compiled import compiled
from attribution.models.ladder_chances import Ladder
from attribution.models.ladder_days import day_kinds
from attribution.models.ladder_lanes import (
    LANES,
    ZEROS,
    add,
    lanes,
    plus,
    put,
    scaled,
    times,
    total,
)
from attribution.models.ladder_pass import in_chunks, prepared
from attribution.paths import Floats


def foresight(days: CustomerDays, ladder: Ladder) -> Floats:
    """Log-chance of each customer's moves and records, (N,), without its weight.

    Day by day, given the touches up to that day and all that was seen before it; -inf where the
    ladder says that it cannot be.
    """
    kinds = day_kinds(days, ladder.kernel.size, ladder.week.shape[1], one_by_one=True)
    common, on_day, _ = prepared(kinds, ladder)
    begin = ladder.start[..., None] * np.exp(common.log_share)
    found = np.zeros(days.customers)
    in_chunks(
        found.size,
        lambda first, last: _foresee(first, last, kinds, ladder.gone, begin, on_day, found),
    )
    return found


@compiled(nogil=True, error_model="numpy")
def _foresee(first, last, days, gone, begin, on_day, found):  # type: ignore[no-untyped-def]
    """Fills the log-chances of customers first up to last.

    begin : (J, J) of lanes, share of customers by stage, highest rung recorded and class
    """
    stages = len(begin)
    now, then = np.zeros((stages + 1, LANES)), np.zeros((stages + 1, LANES))
    for i in range(first, last):
        now[:] = 0.0
        for s in range(stages):
            put(now[s], lanes(begin[s, days.first_stage[i]]))
        found[i] = 0.0
        for item in range(days.item_start[i], days.item_start[i + 1]):
            met, seen = _day(days.kind[item], days, gone, on_day, now, then)
            if seen == 0.0 or met == 0.0:
                found[i] = -math.inf
                break
            found[i] += math.log(seen) - math.log(met)
            now[:] = then / seen


@compiled(error_model="numpy")
def _day(kind, days, gone, on_day, now, then):  # type: ignore[no-untyped-def]
    """Chances of the day's touches, and of these and what was seen of its moves; fills the states
    after it from those before it.
    """
    stages = len(now) - 1
    left, met = ZEROS, ZEROS
    then[:] = 0.0
    for s in range(stages):
        here = times(lanes(now[s]), lanes(on_day.met[kind, s]))
        left, met = plus(left, lanes(now[s])), plus(met, here)
        for k in range(s, stages + 1):
            add(then[k], scaled(here, on_day.moves[kind, s, k]))
    touched = days.is_first[kind]
    for t in range(days.touch_start[kind], days.touch_start[kind + 1]):
        touched |= days.touch_lag[t] == 0
    if not touched:  # whoever has left is not met either
        left = plus(scaled(left, gone), lanes(now[stages]))
        met = plus(met, left)
        if on_day.silent[kind]:
            put(then[stages], left)
    seen = 0.0
    for k in range(stages + 1):
        seen += total(lanes(then[k]))
    return total(met), seen

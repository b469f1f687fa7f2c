"""What days tell of the ladder's parameters: expected sums, and what a day adds to them."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from attribution.models.compiled import compiled
from attribution.models.ladder_chances import Ladder
from attribution.paths import Floats


class Sums(NamedTuple):
    """Expected sums over customers and days, weighted.

    start : (J, J)
    entry : (J, K) first days with a touch of the channel
    days : (W, A, J) later days alive by weekday and class of activity, contact : (W, A, J, K) those
        with a touch
    organic_moves, organic_days : (W, J, J + 1) moves / (1 - exp(-hazard)), and days at risk
    effect_moves, effect_days : (J, J + 1, K, L) the same on days l after a touch of the channel
    recorded, passed : (J + 1,)
    left, stayed : () how often customers left in silence, and how often they could have and did not
    classes : (A,) customers
    """

    start: Floats
    entry: Floats
    days: Floats
    contact: Floats
    organic_moves: Floats
    organic_days: Floats
    effect_moves: Floats
    effect_days: Floats
    recorded: Floats
    passed: Floats
    left: Floats
    stayed: Floats
    classes: Floats


class Places(NamedTuple):
    """Where each part of `Sums` begins in a row of numbers, and where the row ends."""

    start: int
    entry: int
    days: int
    contact: int
    organic_moves: int
    organic_days: int
    effect_moves: int
    effect_days: int
    recorded: int
    passed: int
    left: int
    stayed: int
    classes: int
    end: int


def places_of(ladder: Ladder) -> Places:
    return Places(*accumulate((math.prod(shape) for shape in shapes_of(ladder)), initial=0))


@compiled()
def quiet_days(quiet_sums, powers, organic, classes, at, sums):  # type: ignore[no-untyped-def]
    """Adds the days inside all runs, class by class.

    A run of n days with mass a before and b after it made s -> k on its day t with the expectation
    (a T^t)[s] T[s, k] (T^(n-1-t) b)[k] / (a T^n b); `quiet_sums` has the sum of a b' / (a T^n b).
    All lengths together from the longest on: what is left of a longer run is one day shorter. Where
    weekdays differ, so does T, and this goes by the weekday on which runs begin.
    """
    weekdays, size = len(organic), organic.shape[2]
    rows = len(powers) // weekdays  # runs that begin on a weekday
    for a in range(classes):
        crossed = np.zeros((weekdays, size, size))
        for w in range(weekdays):
            longer = np.zeros((size, size))
            for length in range(rows - 1, 0, -1):
                after = powers[(w + length) % weekdays * rows + 1]  # of the day after these
                for s in range(size):
                    for j in range(size):  # in this order: only what is not yet replaced is read
                        longer[s, j] *= after[j, j, a]
                        for k in range(j + 1, size):
                            longer[s, j] += longer[s, k] * after[j, k, a]
                        longer[s, j] += quiet_sums[w * rows + length, s, j, a]
                before, on = powers[w * rows + length - 1], crossed[(w + length - 1) % weekdays]
                for s in range(size):
                    for j in range(s + 1):
                        for k in range(size):
                            on[s, k] += before[j, s, a] * longer[j, k]
        for w in range(weekdays):
            for s in range(size):
                for k in range(size):
                    crossed[w, s, k] *= powers[w * rows + 1, s, k, a]
            _add_crossed(w, a, crossed[w], organic, classes, at, sums)


@compiled()
def _add_crossed(w, a, crossed, organic, classes, at, sums):  # type: ignore[no-untyped-def]
    """Adds quiet days of a weekday and class on which so many went from one state to another."""
    _, stages, size = organic.shape
    for s in range(stages):
        present = 0.0
        for k in range(s, stages):
            present += crossed[s, k]
        sums[at.days + (w * classes + a) * stages + s] += present
        sums[at.left] += crossed[s, stages]
        sums[at.stayed] += present
        at_risk, row = crossed[s, s], (w * stages + s) * size
        for j in range(s + 1, stages):
            moved = crossed[s, j]
            at_risk += moved
            if moved > 0.0:
                sums[at.organic_moves + row + j] += moved / -math.expm1(-organic[w, s, j])
            sums[at.organic_days + row + j] += at_risk
            for rung in range(s + 1, j + 1):
                sums[at.passed + rung] += moved
        sums[at.organic_days + row + stages] += at_risk


@compiled()
def add_kinds(first, last, kinds, told, present, days, events, shape, at, sums):  # type: ignore[no-untyped-def]
    """Adds days, rows first up to last, of the given kinds, on which so many were present, (., J)
    of lanes, and `told` moved.

    shape : A, J, K, L
    """
    for row in range(first, last):
        for s in range(events.shape[1]):
            _add_contacts(kinds[row], s, present[row, s], days, shape, at, sums)
            _add_moves(kinds[row], s, told[row, s], days, events, shape, at, sums)


@compiled()
def _add_contacts(kind, s, present, days, shape, at, sums):  # type: ignore[no-untyped-def]
    classes, stages, channels, _ = shape
    for a in range(classes):
        if present[a] == 0.0:
            continue
        place = (days.weekday[kind] * classes + a) * stages + s
        contact = at.contact + place * channels
        if days.is_first[kind]:
            contact = at.entry + s * channels
        else:
            sums[at.days + place] += present[a]
            sums[at.stayed] += present[a]
        for t in range(days.touch_start[kind], days.touch_start[kind + 1]):
            if days.touch_lag[t] == 0:
                sums[contact + days.touch_channel[t]] += present[a]


@compiled()
def _add_moves(kind, s, told, days, events, shape, at, sums):  # type: ignore[no-untyped-def]
    _, stages, channels, lags = shape
    rungs, at_risk = days.rungs[kind], told[s]
    for j in range(s + 1, stages + 1):
        moved = told[j]
        at_risk += moved
        if at_risk == 0.0:
            continue
        caused = moved / events[kind, s, j] if moved > 0.0 else 0.0
        place = s * (stages + 1) + j
        organic = days.weekday[kind] * stages * (stages + 1) + place
        sums[at.organic_moves + organic] += caused
        sums[at.organic_days + organic] += at_risk
        for t in range(days.touch_start[kind], days.touch_start[kind + 1]):
            cell = (place * channels + days.touch_channel[t]) * lags + days.touch_lag[t]
            sums[at.effect_moves + cell] += caused
            sums[at.effect_days + cell] += at_risk
        for rung in range(s + 1, min(j, stages - 1) + 1):
            sums[at.passed + rung] += moved
            if rungs >> (rung - 1) & 1:
                sums[at.recorded + rung] += moved


def shapes_of(ladder: Ladder) -> list[tuple[int, ...]]:
    """Of the parts of a row of sums, in the order of `Sums`."""
    stages, channels = len(ladder.organic), ladder.contact.shape[1]
    classes, weekdays = len(ladder.activity), ladder.week.shape[1]
    moves = (stages, stages + 1)
    effects = (*moves, channels, ladder.kernel.size)
    return [
        *((stages, stages), (stages, channels)),
        *((weekdays, classes, stages), (weekdays, classes, stages, channels)),
        *(
            (weekdays, *moves),
            (weekdays, *moves),
            effects,
            effects,
            (stages + 1,),
            (stages + 1,),
            (),
            (),
            (classes,),
        ),
    ]


def named(rows: Floats, ladder: Ladder) -> Sums:
    shapes = shapes_of(ladder)
    cuts = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    parts = np.split(rows, cuts, axis=-1)
    return Sums(
        *(
            part.reshape((*rows.shape[:-1], *shape))
            for part, shape in zip(parts, shapes, strict=True)
        )
    )

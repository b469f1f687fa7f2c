"""Four numbers side by side, one for each class of activity.

The last axis of an array of lanes has LANES places; those beyond the classes hold zeros. Compiled
code takes lanes out of an array as a tuple, computes with it, and puts it back.
"""

from __future__ import annotations

import numpy as np

from attribution.models.compiled import compiled
from attribution.paths import Floats

LANES = 4
LEAST = 1e-300
ZEROS, ONES = (0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0)


def in_lanes(values: Floats) -> Floats:
    """An array of classes on its last axis as an array of lanes, its own memory."""
    classes = values.shape[-1]
    if classes > LANES:
        raise ValueError(f"{classes} classes of activity, and there are {LANES} lanes")
    lanes = np.zeros((*values.shape[:-1], LANES))
    lanes[..., :classes] = values
    return lanes


@compiled()
def lanes(cell):  # type: ignore[no-untyped-def]
    return cell[0], cell[1], cell[2], cell[3]


@compiled()
def put(cell, x):  # type: ignore[no-untyped-def]
    cell[0], cell[1], cell[2], cell[3] = x


@compiled()
def add(cell, x):  # type: ignore[no-untyped-def]
    put(cell, plus(lanes(cell), x))


@compiled()
def plus(x, y):  # type: ignore[no-untyped-def]
    return x[0] + y[0], x[1] + y[1], x[2] + y[2], x[3] + y[3]


@compiled()
def minus(x, y):  # type: ignore[no-untyped-def]
    return x[0] - y[0], x[1] - y[1], x[2] - y[2], x[3] - y[3]


@compiled()
def times(x, y):  # type: ignore[no-untyped-def]
    return x[0] * y[0], x[1] * y[1], x[2] * y[2], x[3] * y[3]


@compiled(error_model="numpy")
def quotient(x, y):  # type: ignore[no-untyped-def]
    """x / y, 0 where y is not above 0 or so near it that the quotient might be infinite."""
    return (
        x[0] / y[0] if y[0] > LEAST else 0.0,
        x[1] / y[1] if y[1] > LEAST else 0.0,
        x[2] / y[2] if y[2] > LEAST else 0.0,
        x[3] / y[3] if y[3] > LEAST else 0.0,
    )


@compiled()
def all_of(number):  # type: ignore[no-untyped-def]
    return number, number, number, number


@compiled()
def scaled(x, factor):  # type: ignore[no-untyped-def]
    return x[0] * factor, x[1] * factor, x[2] * factor, x[3] * factor


@compiled()
def total(x):  # type: ignore[no-untyped-def]
    return (x[0] + x[1]) + (x[2] + x[3])

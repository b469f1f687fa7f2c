"""Four numbers side by side, one for each class of activity: what a processor multiplies at once.

The last axis of an array of lanes has LANES places; those beyond the classes hold zeros. Compiled
code holds lanes as tuples, which stay in registers.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from attribution.paths import Floats

LANES = 4
NONE, ALL = (0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0)
LEAST = 1e-300


def in_lanes(values: Floats) -> Floats:
    """An array of classes on its last axis as an array of lanes, its own memory."""
    lanes = np.zeros((*values.shape[:-1], LANES))
    lanes[..., : values.shape[-1]] = values
    return lanes


@njit(cache=True)
def of_row(a, i):  # type: ignore[no-untyped-def]
    return a[i, 0], a[i, 1], a[i, 2], a[i, 3]


@njit(cache=True)
def of_cell(a, i, j):  # type: ignore[no-untyped-def]
    return a[i, j, 0], a[i, j, 1], a[i, j, 2], a[i, j, 3]


@njit(cache=True)
def of_block(a, i, j, k):  # type: ignore[no-untyped-def]
    return a[i, j, k, 0], a[i, j, k, 1], a[i, j, k, 2], a[i, j, k, 3]


@njit(cache=True)
def to_row(a, i, x):  # type: ignore[no-untyped-def]
    a[i, 0], a[i, 1], a[i, 2], a[i, 3] = x


@njit(cache=True)
def to_cell(a, i, j, x):  # type: ignore[no-untyped-def]
    a[i, j, 0], a[i, j, 1], a[i, j, 2], a[i, j, 3] = x


@njit(cache=True)
def to_block(a, i, j, k, x):  # type: ignore[no-untyped-def]
    a[i, j, k, 0], a[i, j, k, 1], a[i, j, k, 2], a[i, j, k, 3] = x


@njit(cache=True)
def plus(x, y):  # type: ignore[no-untyped-def]
    return x[0] + y[0], x[1] + y[1], x[2] + y[2], x[3] + y[3]


@njit(cache=True)
def minus(x, y):  # type: ignore[no-untyped-def]
    return x[0] - y[0], x[1] - y[1], x[2] - y[2], x[3] - y[3]


@njit(cache=True)
def over(x, y):  # type: ignore[no-untyped-def]
    """A quotient, 0 where both are."""
    return (
        x[0] / max(y[0], LEAST),
        x[1] / max(y[1], LEAST),
        x[2] / max(y[2], LEAST),
        x[3] / max(y[3], LEAST),
    )


@njit(cache=True)
def times(x, y):  # type: ignore[no-untyped-def]
    return x[0] * y[0], x[1] * y[1], x[2] * y[2], x[3] * y[3]


@njit(cache=True)
def by(x, factor):  # type: ignore[no-untyped-def]
    return x[0] * factor, x[1] * factor, x[2] * factor, x[3] * factor


@njit(cache=True)
def total(x):  # type: ignore[no-untyped-def]
    return (x[0] + x[1]) + (x[2] + x[3])

"""What every model returns, and the checks that all statistics share.

SQL reduces journeys to counts (transitions.py, coalitions.py), or these modules do it for a path
file. No model sees a journey.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from attribution.errors import InvalidPaths
from attribution.paths import Floats, Integers, amounts

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ChannelCredit:
    """What every model returns: credit of the journeys with touches, channels in sorted order.

    Attributes
    ----------
    conversions, revenue : float array, (K,)
        With the baseline they sum to the conversions and the revenue of the statistics.
    removal_effect : float array, (K,), or None
        Fractions in [0, 1], where the model has them.
    incremental : float array, (K,), or None
        Conversions that would be lost without the channel alone, where the model says what causes
        them: comparable with a holdout test, and no credit, for they do not add up.
    diagnostics : mapping of str to float or str
    baseline_conversions, baseline_revenue : float
        What the model says would have come without any channel; part of the sums.
    baseline_name : str
        How that row is called in every table.
    """

    conversions: Floats
    revenue: Floats
    removal_effect: Floats | None = None
    incremental: Floats | None = None
    diagnostics: Mapping[str, float | str] = field(default_factory=dict)
    baseline_conversions: float = 0.0
    baseline_revenue: float = 0.0
    baseline_name: str = "(baseline)"


def whole_numbers(name: str, values: npt.ArrayLike, size: int) -> Integers:
    """Copy `values` to a read-only int array of shape (size,); raise InvalidPaths otherwise."""
    numbers = amounts(name, values, size, -np.inf)
    if (numbers != np.rint(numbers)).any():
        raise InvalidPaths(f"{name}: holds a fraction where a whole number belongs")
    whole = numbers.astype(np.int64)
    whole.setflags(write=False)
    return whole


def take_columns(table: str, frame: pd.DataFrame, names: Sequence[str]) -> list[npt.NDArray[Any]]:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise InvalidPaths(f"{table}: no column {', '.join(missing)}")
    return [frame[name].to_numpy() for name in names]


def freeze(counts: object, name: str, value: npt.NDArray[Any]) -> None:
    """Set an attribute of a frozen dataclass, in its own __post_init__."""
    object.__setattr__(counts, name, value)  # the one way into a frozen dataclass

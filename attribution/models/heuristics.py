"""Rules of thumb: each touch of a converting path gets a weight from its place alone.

`time_decay` needs the time of each touch, which aggregated paths do not hold; SQL computes it.
"""

import numpy as np
import numpy.typing as npt

from attribution.errors import UsageError
from attribution.paths import Integers, Paths, add_up
from attribution.statistics import ChannelCredit


def first_touch(paths: Paths) -> ChannelCredit:
    """All credit of a path to its first touch."""
    position, _ = _places(paths)
    return _credit(paths, position == 0)


def last_touch(paths: Paths) -> ChannelCredit:
    """All credit of a path to its last touch."""
    position, length = _places(paths)
    return _credit(paths, position == length - 1)


def last_non_direct(paths: Paths, *, direct_channel: str = "direct") -> ChannelCredit:
    """All credit of a path to its last touch that is not direct; to its last where all are.

    Where no channel is called `direct_channel` this is `last_touch`, and the diagnostics say so:
    the file may spell it otherwise.
    """
    position, length = _places(paths)
    diagnostics: dict[str, float | str] = {}
    if direct_channel in paths.channels:
        direct = paths.touches == paths.channels.index(direct_channel)
    else:
        direct = np.zeros(paths.touches.size, dtype=np.bool_)
        diagnostics["direct_channel"] = "not among the channels"
    # A later touch ranks higher, and one that is not direct above all that are.
    rank = position + np.where(direct, 0, length)
    highest = np.full(len(paths.steps), -1)
    np.maximum.at(highest, _owners(paths), rank)
    return _credit(paths, rank == highest[_owners(paths)], diagnostics)


def linear(paths: Paths) -> ChannelCredit:
    """Even credit over the touches of a path; a repeated channel counts each time."""
    _, length = _places(paths)
    return _credit(paths, 1 / length)


def position_based(paths: Paths, *, first: float = 0.4, last: float = 0.4) -> ChannelCredit:
    """Credit `first` and `last` to the ends of a path, the rest evenly to the touches between.

    Two touches share as first : last, a single one has all. U is .4/.4, J .2/.6, inverse J .6/.2.

    Parameters
    ----------
    first, last : float
        Fractions in [0, 1] with 0 < first + last <= 1.

    Raises
    ------
    UsageError
        Where the fractions are out of range.
    """
    if not (first >= 0 and last >= 0 and 0 < first + last <= 1):
        raise UsageError(
            f"position_based: first={first:g} and last={last:g}: give two fractions, not below 0, "
            "whose sum is above 0 and at most 1"
        )
    position, length = _places(paths)
    middle = max(1 - first - last, 0.0) / np.maximum(length - 2, 1)
    weight = np.where(position == 0, first, np.where(position == length - 1, last, middle))
    weight[length == 2] /= first + last
    weight[length == 1] = 1.0
    return _credit(paths, weight)


def _owners(paths: Paths) -> Integers:
    """Which path each touch belongs to."""
    return np.repeat(np.arange(len(paths.steps)), paths.lengths)


def _places(paths: Paths) -> tuple[Integers, Integers]:
    """Position of each touch in its path, from 0, and the length of that path."""
    first = np.cumsum(paths.lengths) - paths.lengths
    position = np.arange(paths.touches.size) - np.repeat(first, paths.lengths)
    return position, np.repeat(paths.lengths, paths.lengths)


def _credit(
    paths: Paths,
    weight: npt.NDArray[np.bool_] | npt.NDArray[np.float64],
    diagnostics: dict[str, float | str] | None = None,
) -> ChannelCredit:
    """Credit by one weight per touch, which sum to 1 in each path."""
    owner, n = _owners(paths), len(paths.channels)
    conversions = add_up(paths.touches, weight * paths.conversions[owner], n)
    revenue = add_up(paths.touches, weight * paths.revenue[owner], n)
    return ChannelCredit(conversions, revenue, diagnostics=diagnostics or {})

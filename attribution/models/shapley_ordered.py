"""The even split over channels, told apart by the position at which a channel came in."""

from dataclasses import dataclass

import numpy as np

from attribution.errors import NoConversions
from attribution.paths import Floats, Integers, Paths, add_up


@dataclass(frozen=True, eq=False)
class PositionCredit:
    """Credit per channel and position, a row each, sorted by channel and then by position.

    Attributes
    ----------
    channel_index : int array, (n,)
        Index into the channels of the paths.
    position : int array, (n,)
        1 for the first distinct channel of a path, 2 for the second, and so on.
    conversions, revenue : float array, (n,)
        Sums over the positions of a channel are its credit by the game `conversions`.
    """

    channel_index: Integers
    position: Integers
    conversions: Floats
    revenue: Floats


def shapley_ordered(paths: Paths) -> PositionCredit:
    """Shapley value of the game v(S) = conversions of journeys inside S, by order of appearance.

    A converting path with |U| distinct channels pays each of them conversions / |U|, as `shapley`
    does; here at the position where the channel first appears among the distinct channels. Only
    channels and positions of converting paths have a row.

    Parameters
    ----------
    paths : Paths
        Nulls do not enter this game.

    Raises
    ------
    NoConversions
        Where no path with a touch converts.

    References
    ----------
    Zhao, Mahboobi, Bagheri 2018, doi 10.48550/arXiv.1804.05327.
    """
    if not paths.conversions.sum() > 0:
        raise NoConversions(
            "no journey with a touch converts: shapley_ordered has nothing to credit"
        )
    size = len(paths.channels)
    path = np.repeat(np.arange(len(paths.steps)), paths.lengths)
    _, first = np.unique(path * size + paths.touches, return_index=True)
    first.sort()  # first touches of each channel, path after path, in the order of the path
    path, channel = path[first], paths.touches[first]
    distinct = np.bincount(path, minlength=len(paths.steps))
    position = np.arange(path.size) - (np.cumsum(distinct) - distinct)[path]
    longest = int(distinct.max())
    key, row = np.unique(
        (channel * longest + position)[paths.conversions[path] > 0], return_inverse=True
    )

    def split(values: Floats) -> Floats:
        share = (values / distinct)[path]
        return add_up(row, share[paths.conversions[path] > 0], key.size)

    return PositionCredit(
        channel_index=key // longest,
        position=key % longest + 1,
        conversions=split(paths.conversions),
        revenue=split(paths.revenue),
    )

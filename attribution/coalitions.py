"""Sets of channels that journeys touched, counted by customer group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from attribution.errors import InvalidPaths
from attribution.paths import Floats, Integers, Paths, add_up, amounts, check_channels
from attribution.statistics import Booleans, freeze, take_columns, whole_numbers


@dataclass(frozen=True, eq=False)
class CoalitionCounts:
    """What became of the journeys that touched exactly the channels of a set.

    Attributes
    ----------
    channels : tuple of str, (K,)
        Sorted and unique.
    members : bool array, (n, K)
        Channels of each coalition, at least one.
    replicate_group : int array, (n,)
        Group of customers that the count comes from; a coalition has a row per group.
    conversions, nulls : float array, (n,)
        Journeys, >= 0.
    revenue : float array, (n,)
        Money of the conversions.

    Raises
    ------
    InvalidPaths
        Where shapes are wrong, a number is not finite, a count is negative or a coalition empty.
    """

    channels: tuple[str, ...]
    members: Booleans
    replicate_group: Integers
    conversions: Floats
    nulls: Floats
    revenue: Floats

    def __post_init__(self) -> None:
        check_channels(self.channels, "coalitions")
        members = np.array(self.members)
        size = len(members)
        if members.dtype != np.bool_ or members.shape != (size, len(self.channels)):
            raise InvalidPaths(
                f"coalitions: members is {members.dtype} of shape {members.shape}, "
                f"not bool of ({size}, {len(self.channels)})"
            )
        members.setflags(write=False)
        freeze(self, "members", members)
        groups = whole_numbers("coalitions: replicate_group", self.replicate_group, size)
        freeze(self, "replicate_group", groups)
        freeze(self, "conversions", amounts("coalitions: conversions", self.conversions, size))
        freeze(self, "nulls", amounts("coalitions: nulls", self.nulls, size))
        freeze(self, "revenue", amounts("coalitions: revenue", self.revenue, size, -np.inf))
        for wrong, what in (
            (~members.any(axis=1), "has no channel"),
            ((self.revenue != 0) & (self.conversions == 0), "has revenue without a conversion"),
        ):
            if wrong.any():
                raise InvalidPaths(f"coalitions: row {int(np.argmax(wrong))} {what}")


def coalition_counts(paths: Paths) -> CoalitionCounts:
    """Channel sets of aggregated paths that have steps, as one replicate group."""
    n = len(paths.channels)
    contains = np.zeros((len(paths.steps), n), dtype=np.bool_)
    contains[np.repeat(np.arange(len(paths.steps)), paths.lengths), paths.touches] = True
    # Eight channels a byte: comparing whole rows of booleans would cost eight times the memory.
    packed, place = np.unique(np.packbits(contains, axis=1), axis=0, return_inverse=True)
    members = np.unpackbits(packed, axis=1, count=n).astype(np.bool_)

    def total(values: Floats) -> Floats:
        return add_up(place, values, len(members))

    return CoalitionCounts(
        channels=paths.channels,
        members=members,
        replicate_group=np.zeros(len(members), dtype=np.int64),
        conversions=total(paths.conversions),
        nulls=total(paths.nulls),
        revenue=total(paths.revenue),
    )


def read_coalition_counts(
    channels: Sequence[str], coalitions: pd.DataFrame, members: pd.DataFrame
) -> CoalitionCounts:
    """Coalitions of one goal from the warehouse's two tables.

    Parameters
    ----------
    channels : sequence of str, (K,)
        Sorted; a channel_index 0..K-1 is a position in it.
    coalitions : columns coalition_id, replicate_group, conversions, nulls, revenue
    members : columns coalition_id, channel_index
        Rows of coalitions that are not in `coalitions` (those of another goal) are left alone.
    """
    names = ("coalition_id", "replicate_group", "conversions", "nulls", "revenue")
    ids, *counts = take_columns("coalition_counts", coalitions, names)
    member_ids, index = take_columns(
        "coalition_members", members, ("coalition_id", "channel_index")
    )
    channel = whole_numbers("coalition_members: channel_index", index, len(members))
    if channel.size and not 0 <= channel.min() <= channel.max() < len(channels):
        raise InvalidPaths(
            f"coalition_members: channel_index runs from {channel.min()} to {channel.max()}, "
            f"and there are {len(channels)} channels"
        )
    place, unique_ids = pd.factorize(ids, use_na_sentinel=False)
    row = pd.Index(unique_ids).get_indexer(pd.Index(member_ids))
    known = row >= 0
    contains = np.zeros((len(unique_ids), len(channels)), dtype=np.bool_)
    contains[row[known], channel[known]] = True
    return CoalitionCounts(tuple(channels), contains[place], *counts)


def join_coalitions(parts: Sequence[CoalitionCounts]) -> CoalitionCounts:
    """Counts of several replicate groups, of the same channels; part g becomes group g."""
    sizes = [len(part.members) for part in parts]

    def joined(name: str) -> Floats:
        return np.concatenate([getattr(part, name) for part in parts])

    return CoalitionCounts(
        channels=parts[0].channels,
        members=np.concatenate([part.members for part in parts]),
        replicate_group=np.repeat(np.arange(len(parts)), sizes),
        conversions=joined("conversions"),
        nulls=joined("nulls"),
        revenue=joined("revenue"),
    )

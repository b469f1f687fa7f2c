"""What crosses the border: counts that the models read, and the credit that they return.

SQL reduces journeys to these counts, or `transition_counts` and `coalition_counts` do it for a path
file. No model sees a journey.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from attribution.errors import InvalidPaths
from attribution.paths import Floats, Integers, Paths, add_up, amounts, check_channels

# Codes of the states that are no channel. They are negative so that they also index the last rows
# and columns of the dense matrix, behind the K channels.
START, CONVERSION, NULL = -1, -2, -3
STATE_NAMES = {START: "(start)", CONVERSION: "(conversion)", NULL: "(null)"}

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TransitionCounts:
    """Transitions between the states of a first-order chain, in coordinate form.

    Attributes
    ----------
    channels : tuple of str, (K,)
        Sorted and unique.
    source, target : int array, (m,)
        State codes: 0..K-1 index `channels`; START, CONVERSION, NULL are -1, -2, -3.
    replicate_group : int array, (m,)
        Group of customers that the count comes from.
    journeys : float array, (m,)
        Journeys that made the transition, >= 0, once per passage.
    revenue : float array, (m,)
        Money of the conversions, on transitions into CONVERSION only.

    Raises
    ------
    InvalidPaths
        Where shapes or codes are wrong, a number is not finite, a count is negative, journeys
        appear or vanish in a channel, or a journey touches no channel at all.
    """

    channels: tuple[str, ...]
    source: Integers
    target: Integers
    replicate_group: Integers
    journeys: Floats
    revenue: Floats

    def __post_init__(self) -> None:
        check_channels(self.channels, "transitions")
        size = np.size(self.source)
        for name in ("source", "target", "replicate_group"):
            _set(self, name, whole_numbers(f"transitions: {name}", getattr(self, name), size))
        _set(self, "journeys", amounts("transitions: journeys", self.journeys, size))
        _set(self, "revenue", amounts("transitions: revenue", self.revenue, size, -np.inf))
        self._check_states()
        self._check_revenue()
        self._check_flow()

    def _check_states(self) -> None:
        source, target, n = self.source, self.target, len(self.channels)
        ends = np.isin(target, (CONVERSION, NULL))
        for wrong, what in (
            ((source < NULL) | (source >= n), "the source is no state"),
            ((target < NULL) | (target >= n), "the target is no state"),
            (np.isin(source, (CONVERSION, NULL)), "nothing leaves an absorbing state"),
            (target == START, "nothing enters (start)"),
            ((source == START) & ends, "a journey without a touch is not part of the chain"),
        ):
            self._refuse(wrong, what)

    def _check_revenue(self) -> None:
        paid = self.revenue != 0
        self._refuse(paid & (self.target != CONVERSION), "revenue stands at conversions only")
        self._refuse(paid & (self.journeys == 0), "revenue without a conversion")

    def _check_flow(self) -> None:
        weights, n = self.weights(), len(self.channels)
        entering, leaving = weights[:, :n].sum(axis=0), weights[:n].sum(axis=1)
        torn = np.abs(entering - leaving) > 1e-9 * np.maximum(entering, leaving)
        if torn.any():
            worst = int(np.argmax(np.abs(entering - leaving)))
            raise InvalidPaths(
                f"transitions: {entering[worst]:.12g} journeys enter {self.channels[worst]!r} and "
                f"{leaving[worst]:.12g} leave it: each journey must run from (start) to an end"
            )

    def _refuse(self, wrong: Booleans, what: str) -> None:
        if wrong.any():
            row = int(np.argmax(wrong))
            source, target = self._state(self.source[row]), self._state(self.target[row])
            raise InvalidPaths(f"transitions: row {row}, {source} to {target}: {what}")

    def _state(self, code: int) -> str:
        known = 0 <= code < len(self.channels)
        return repr(self.channels[code]) if known else STATE_NAMES.get(int(code), str(code))

    @property
    def conversions(self) -> float:
        """C: journeys that end in (conversion)."""
        return float(self.journeys[self.target == CONVERSION].sum())

    @property
    def nulls(self) -> float:
        """N: journeys that end in (null)."""
        return float(self.journeys[self.target == NULL].sum())

    def weights(self) -> Floats:
        """Journeys per transition over all groups, (K+3, K+3), indexed by the state codes."""
        weights = np.zeros((len(self.channels) + 3,) * 2)
        np.add.at(weights, (self.source, self.target), self.journeys)
        return weights

    def revenue_after(self) -> Floats:
        """Revenue of the conversions that follow directly on each channel, (K,)."""
        paid = self.target == CONVERSION
        return add_up(self.source[paid], self.revenue[paid], len(self.channels))


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
        _set(self, "members", members)
        groups = whole_numbers("coalitions: replicate_group", self.replicate_group, size)
        _set(self, "replicate_group", groups)
        _set(self, "conversions", amounts("coalitions: conversions", self.conversions, size))
        _set(self, "nulls", amounts("coalitions: nulls", self.nulls, size))
        _set(self, "revenue", amounts("coalitions: revenue", self.revenue, size, -np.inf))
        for wrong, what in (
            (~members.any(axis=1), "has no channel"),
            ((self.revenue != 0) & (self.conversions == 0), "has revenue without a conversion"),
        ):
            if wrong.any():
                raise InvalidPaths(f"coalitions: row {int(np.argmax(wrong))} {what}")


@dataclass(frozen=True, eq=False)
class ChannelCredit:
    """What every model returns: credit of the journeys with touches, channels in sorted order.

    Attributes
    ----------
    conversions, revenue : float array, (K,)
        They sum to the conversions and the revenue of the statistics.
    removal_effect : float array, (K,), or None
        Fractions in [0, 1], where the model has them.
    diagnostics : mapping of str to float or str
    """

    conversions: Floats
    revenue: Floats
    removal_effect: Floats | None = None
    diagnostics: Mapping[str, float | str] = field(default_factory=dict)


def transition_counts(paths: Paths) -> TransitionCounts:
    """Transitions of aggregated paths, as one replicate group.

    Each path weighs conversions + nulls along its steps; it enters CONVERSION with its conversions
    and NULL with its nulls. Transitions without weight are left out; paths without steps are no
    part of the chain.
    """
    weight = paths.conversions + paths.nulls
    last = np.cumsum(paths.lengths) - 1
    first = last - paths.lengths + 1
    inner = np.delete(np.arange(paths.touches.size), last)  # touches that another one follows
    owner = np.repeat(np.arange(weight.size), paths.lengths)
    ending, none = paths.touches[last], np.zeros(weight.size)
    source = [np.full(weight.size, START), paths.touches[inner], ending, ending]
    target = [
        paths.touches[first],
        paths.touches[inner + 1],
        np.full(weight.size, CONVERSION),
        np.full(weight.size, NULL),
    ]
    journeys = [weight, weight[owner[inner]], paths.conversions, paths.nulls]
    revenue = [none, np.zeros(inner.size), paths.revenue, none]

    states = len(paths.channels) + 3
    cell = (np.concatenate(source) % states) * states + np.concatenate(target) % states
    cells, place = np.unique(cell, return_inverse=True)
    summed = add_up(place, np.concatenate(journeys), cells.size)
    paid = add_up(place, np.concatenate(revenue), cells.size)
    cells, summed, paid = cells[summed > 0], summed[summed > 0], paid[summed > 0]
    codes = np.append(np.arange(len(paths.channels)), (NULL, CONVERSION, START))
    return TransitionCounts(
        channels=paths.channels,
        source=codes[cells // states],
        target=codes[cells % states],
        replicate_group=np.zeros(cells.size, dtype=np.int64),
        journeys=summed,
        revenue=paid,
    )


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


def read_transition_counts(channels: Sequence[str], frame: pd.DataFrame) -> TransitionCounts:
    """Transitions of one goal from the warehouse's table.

    Parameters
    ----------
    channels : sequence of str, (K,)
        Sorted; a state code 0..K-1 is a position in it.
    frame : columns replicate_group, from_state, to_state, journeys, revenue
        States as codes, so that a channel may be called anything, `(start)` included.
    """
    names = ("from_state", "to_state", "replicate_group", "journeys", "revenue")
    return TransitionCounts(tuple(channels), *_columns("transition_counts", frame, names))


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
    ids, *counts = _columns("coalition_counts", coalitions, names)
    member_ids, index = _columns("coalition_members", members, ("coalition_id", "channel_index"))
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


def whole_numbers(name: str, values: npt.ArrayLike, size: int) -> Integers:
    """Copy `values` to a read-only int array of shape (size,); raise InvalidPaths otherwise."""
    numbers = amounts(name, values, size, -np.inf)
    if (numbers != np.rint(numbers)).any():
        raise InvalidPaths(f"{name}: holds a fraction where a whole number belongs")
    whole = numbers.astype(np.int64)
    whole.setflags(write=False)
    return whole


def _columns(table: str, frame: pd.DataFrame, names: Sequence[str]) -> list[npt.NDArray[Any]]:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise InvalidPaths(f"{table}: no column {', '.join(missing)}")
    return [frame[name].to_numpy() for name in names]


def _set(counts: object, name: str, value: npt.NDArray[Any]) -> None:
    object.__setattr__(counts, name, value)  # the one way into a frozen dataclass

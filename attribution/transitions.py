"""Transitions between the states of a Markov chain, counted by customer group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from attribution.errors import InvalidPaths
from attribution.paths import Floats, Integers, Paths, add_up, amounts, check_channels
from attribution.statistics import Booleans, freeze, take_columns, whole_numbers

# Codes of the states that are no channel. They are negative so that they also index the last rows
# and columns of the dense matrix, behind the K channels.
START, CONVERSION, NULL = -1, -2, -3
STATE_NAMES = {START: "(start)", CONVERSION: "(conversion)", NULL: "(null)"}


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
            freeze(self, name, whole_numbers(f"transitions: {name}", getattr(self, name), size))
        freeze(self, "journeys", amounts("transitions: journeys", self.journeys, size))
        freeze(self, "revenue", amounts("transitions: revenue", self.revenue, size, -np.inf))
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
    return TransitionCounts(tuple(channels), *take_columns("transition_counts", frame, names))

"""Transitions between the states of a Markov chain, counted by customer group."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from attribution.errors import InvalidPaths, ModelError
from attribution.paths import Floats, Integers, Paths, add_up, amounts, check_channels
from attribution.statistics import Booleans, freeze, take_columns, whole_numbers

# Codes of the states that are no touch. They are negative so that at order 1 they also index the
# last rows and columns of the dense matrix, behind the K channels.
START, CONVERSION, NULL = -1, -2, -3
STATE_NAMES = {START: "(start)", CONVERSION: "(conversion)", NULL: "(null)"}
ENDS = (NULL, CONVERSION)

ORDERS = range(1, 5)
DIGIT = 8  # bits per touch in a code
MOST_CHANNELS = 240  # that fit a digit beside the padding; the coalitions of the line end there too


@dataclass(frozen=True, eq=False)
class TransitionCounts:
    """Transitions between the states of a chain of a given order, in coordinate form.

    A state is the last `order` touches. Its code is the sum over i = 0..order-1 of
    (channel index + 1) * 256^i, less 1, where i = 0 is the last touch and the places before the
    first touch count 0. So (start) is -1 at every order, and at order 1 a state is a channel.

    Attributes
    ----------
    channels : tuple of str, (K,)
        Sorted and unique; at most 240 above order 1.
    source, target : int array, (m,)
        State codes; START, CONVERSION, NULL are -1, -2, -3.
    replicate_group : int array, (m,)
        Group of customers that the count comes from.
    journeys : float array, (m,)
        Journeys that made the transition, >= 0, once per passage.
    revenue : float array, (m,)
        Money of the conversions, on transitions into CONVERSION only.
    order : int
        Touches that a state remembers, 1..4.

    Raises
    ------
    InvalidPaths
        Where shapes or codes are wrong, a target does not remember the touches of its source, a
        number is not finite, a count is negative, journeys appear or vanish in a state, or a
        journey touches no channel at all.
    """

    channels: tuple[str, ...]
    source: Integers
    target: Integers
    replicate_group: Integers
    journeys: Floats
    revenue: Floats
    order: int = 1

    def __post_init__(self) -> None:
        check_channels(self.channels, "transitions")
        self._check_order()
        size = np.size(self.source)
        for name in ("source", "target", "replicate_group"):
            freeze(self, name, whole_numbers(f"transitions: {name}", getattr(self, name), size))
        freeze(self, "journeys", amounts("transitions: journeys", self.journeys, size))
        freeze(self, "revenue", amounts("transitions: revenue", self.revenue, size, -np.inf))
        self._check_states()
        self._check_revenue()
        self._check_flow()

    def _check_order(self) -> None:
        if self.order not in ORDERS:
            raise InvalidPaths(f"transitions: order {self.order!r}: a chain has order 1, 2, 3 or 4")
        if self.order > 1 and len(self.channels) > MOST_CHANNELS:
            raise InvalidPaths(
                f"transitions: {len(self.channels)} channels: a chain of order {self.order} takes "
                f"{MOST_CHANNELS}: group channels, or choose order 1"
            )

    def _check_states(self) -> None:
        ends, leaves_an_end = np.isin(self.target, ENDS), np.isin(self.source, ENDS)
        before = _touches(self.source, self.order)
        after = _touches(self.target, self.order)
        forgets = (after[:, 1:] != before[:, :-1]).any(axis=1)
        for wrong, what in (
            (~(self._known(self.source, before) | leaves_an_end), "the source is no state"),
            (~(self._known(self.target, after) | ends), "the target is no state"),
            (leaves_an_end, "nothing leaves an absorbing state"),
            (self.target == START, "nothing enters (start)"),
            ((self.source == START) & ends, "a journey without a touch is not part of the chain"),
            (forgets & ~ends, "the target does not remember the touches of the source"),
        ):
            self._refuse(wrong, what)

    def _known(self, codes: Integers, touches: Integers) -> Booleans:
        """Whether codes are (start) or touches without a gap, (m,)."""
        gap = (touches[:, 1:] > 0) & (touches[:, :-1] == 0)
        inside = (touches <= len(self.channels)).all(axis=1)
        known: Booleans = (codes >= START) & inside & ~gap.any(axis=1)
        return known

    def _check_revenue(self) -> None:
        paid = self.revenue != 0
        self._refuse(paid & (self.target != CONVERSION), "revenue stands at conversions only")
        self._refuse(paid & (self.journeys == 0), "revenue without a conversion")

    def _check_flow(self) -> None:
        with np.errstate(over="ignore"):
            entering = add_up(self.target_place, self.journeys, self.states.size)[3:]
            leaving = add_up(self.source_place, self.journeys, self.states.size)[3:]
            totals = (entering.sum(), leaving.sum(), self.conversions, self.nulls)
        if not np.isfinite(totals).all():
            raise InvalidPaths("transitions: journeys too many to add up: check the counts")
        torn = np.abs(entering - leaving) > 1e-9 * np.maximum(entering, leaving)
        if torn.any():
            worst = int(np.argmax(np.abs(entering - leaving)))
            raise InvalidPaths(
                f"transitions: {entering[worst]:.12g} journeys enter "
                f"{self.state_name(self.states[3 + worst])} and {leaving[worst]:.12g} leave it: "
                "each journey must run from (start) to an end"
            )

    def _refuse(self, wrong: Booleans, what: str) -> None:
        if wrong.any():
            row = int(np.argmax(wrong))
            source, target = self.state_name(self.source[row]), self.state_name(self.target[row])
            raise InvalidPaths(f"transitions: row {row}, {source} to {target}: {what}")

    def state_name(self, code: int) -> str:
        """A state for messages, on one line: its touches in the order they came."""
        code = int(code)
        if code in STATE_NAMES:
            return STATE_NAMES[code]
        codes = np.array([code])
        touches = _touches(codes, self.order)
        if not self._known(codes, touches)[0]:
            return str(code)
        return " > ".join(repr(self.channels[touch - 1]) for touch in touches[0, ::-1] if touch)

    @property
    def conversions(self) -> float:
        """C: journeys that end in (conversion)."""
        return float(self.journeys[self.target == CONVERSION].sum())

    @property
    def nulls(self) -> float:
        """N: journeys that end in (null)."""
        return float(self.journeys[self.target == NULL].sum())

    @cached_property
    def states(self) -> Integers:
        """NULL, CONVERSION, START, then the touch states in use; at order 1 all K channels."""
        always = np.arange(NULL, len(self.channels) if self.order == 1 else 0)
        used = [np.unique(codes) for codes in (self.source, self.target)]
        return np.unique(np.concatenate([always, *used]))

    @cached_property
    def source_place(self) -> Integers:
        """Place of each source in `states`, (m,)."""
        return np.searchsorted(self.states, self.source)

    @cached_property
    def target_place(self) -> Integers:
        """Place of each target in `states`, (m,)."""
        return np.searchsorted(self.states, self.target)

    def last_channel(self) -> Integers:
        """Channel index of the last touch of each touch state, (states - 3,)."""
        return _touches(self.states[3:], self.order)[:, 0] - 1

    def weights(self) -> Floats:
        """Journeys per transition at order 1, (K+3, K+3), indexed by the codes, over all groups."""
        size = len(self.channels) + 3
        return add_up(self._cells(), self.journeys, size**2).reshape(size, size)

    def group_weights(self, groups: range) -> Floats:
        """The same in each of some consecutive groups, (groups, K+3, K+3)."""
        size = len(self.channels) + 3
        rows = (self.replicate_group >= groups.start) & (self.replicate_group < groups.stop)
        cells = self._cells()[rows] + (self.replicate_group[rows] - groups.start) * size**2
        summed = add_up(cells, self.journeys[rows], len(groups) * size**2)
        return summed.reshape(len(groups), size, size)

    def _cells(self) -> Integers:
        size = len(self.channels) + 3
        return self.source % size * size + self.target % size

    def revenue_after(self) -> Floats:
        """Revenue of the conversions directly after each touch state, (states - 3,); see `states`.

        At order 1 that is after each channel, (K,).
        """
        paid = self.target == CONVERSION
        return add_up(self.source_place[paid], self.revenue[paid], self.states.size)[3:]


def transition_counts(paths: Paths, order: int = 1) -> TransitionCounts:
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
    states = _states_of(paths.touches, np.arange(paths.touches.size) - first[owner], order)
    ending, none = states[last], np.zeros(weight.size)
    source = [np.full(weight.size, START), states[inner], ending, ending]
    target = [
        states[first],
        states[inner + 1],
        np.full(weight.size, CONVERSION),
        np.full(weight.size, NULL),
    ]
    journeys = [weight, weight[owner[inner]], paths.conversions, paths.nulls]
    revenue = [none, np.zeros(inner.size), paths.revenue, none]
    return _added_up(
        paths.channels,
        order,
        np.concatenate(source),
        np.concatenate(target),
        np.zeros(inner.size + 3 * weight.size, dtype=np.int64),
        np.concatenate(journeys),
        np.concatenate(revenue),
    )


def read_transition_counts(
    channels: Sequence[str], frame: pd.DataFrame, order: int = 1
) -> TransitionCounts:
    """Transitions of one goal from the warehouse's table.

    Parameters
    ----------
    channels : sequence of str, (K,)
        Sorted; a channel index is a position in it.
    frame : columns replicate_group, from_state, to_state, journeys, revenue
        States as codes, so that a channel may be called anything, `(start)` included.
    order : int
        That the codes are of, 1..4.
    """
    names = ("from_state", "to_state", "replicate_group", "journeys", "revenue")
    source, target, group, journeys, revenue = take_columns("transition_counts", frame, names)
    return TransitionCounts(tuple(channels), source, target, group, journeys, revenue, order)


def join_transitions(parts: Sequence[TransitionCounts]) -> TransitionCounts:
    """Counts of several parts of the customers as one; part g becomes replicate group g.

    Raises InvalidPaths where there is no part, or channels or orders differ.
    """
    if len({(part.channels, part.order) for part in parts}) != 1:
        raise InvalidPaths("transitions: the parts to join are not of the same channels and order")
    return TransitionCounts(
        parts[0].channels,
        np.concatenate([part.source for part in parts]),
        np.concatenate([part.target for part in parts]),
        np.repeat(np.arange(len(parts)), [part.source.size for part in parts]),
        np.concatenate([part.journeys for part in parts]),
        np.concatenate([part.revenue for part in parts]),
        parts[0].order,
    )


def lower_order(transitions: TransitionCounts, order: int) -> TransitionCounts:
    """The counts of a chain that remembers fewer touches, exactly, group by group.

    Raises ModelError where `order` is above that of the counts.
    """
    if order == transitions.order:
        return transitions
    if order not in range(1, transitions.order):
        raise ModelError(
            f"markov: order {order} cannot be had from transitions counted at order "
            f"{transitions.order}: count them at order {order}"
        )
    return _added_up(
        transitions.channels,
        order,
        newest(transitions.source, order),
        newest(transitions.target, order),
        transitions.replicate_group,
        transitions.journeys,
        transitions.revenue,
    )


def newest(codes: Integers, order: int) -> Integers:
    """States of a higher order cut to their last `order` touches, (m,); codes < 0 stay."""
    return np.where(codes < 0, codes, ((codes + 1) & ((1 << DIGIT * order) - 1)) - 1)


def _touches(codes: Integers, order: int) -> Integers:
    """Channel index + 1 of each remembered touch, newest first, 0 before the first, (m, order).

    The oldest takes all that is left of the code, so a code out of range shows as no channel.
    """
    touches = ((codes + 1)[:, None] >> (DIGIT * np.arange(order))) & ((1 << DIGIT) - 1)
    touches[:, -1] = (codes + 1) >> (DIGIT * (order - 1))
    return touches


def _states_of(touches: Integers, position: Integers, order: int) -> Integers:
    """State after each touch, (touches,); position counts the touches before it in its path."""
    codes = touches.copy()
    for back in range(1, order):
        follows = np.flatnonzero(position >= back)
        codes[follows] += (touches[follows - back] + 1) << (DIGIT * back)
    return codes


def _added_up(
    channels: tuple[str, ...],
    order: int,
    source: Integers,
    target: Integers,
    group: Integers,
    journeys: Floats,
    revenue: Floats,
) -> TransitionCounts:
    """Counts with each transition once per group, and those without weight left out."""
    # The last touch of a target says it all, its older ones stand in the source: so the key stays
    # below 2^32 * 2^8 * groups.
    last = np.where(target < 0, target, _touches(target, order)[:, 0] - 1)
    groups, member = np.unique(group, return_inverse=True)
    key = (source * (len(channels) + 3) + last) * groups.size + member
    keys, place = np.unique(key, return_inverse=True)
    row = np.empty(keys.size, dtype=np.int64)
    row[place] = np.arange(key.size)  # any row of each transition
    summed = add_up(place, journeys, keys.size)
    some, paid = row[summed > 0], add_up(place, revenue, keys.size)
    return TransitionCounts(
        channels,
        source[some],
        target[some],
        group[some],
        summed[summed > 0],
        paid[summed > 0],
        order,
    )

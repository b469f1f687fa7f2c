"""Chains that remember several touches: solving one by sweeps, and choosing how many."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from attribution.errors import ConvergenceError, ModelError, ModelRefused
from attribution.paths import Floats, Integers, add_up
from attribution.transitions import NULL, START, TransitionCounts, lower_order, newest

TOLERANCE = 1e-12  # share of the outcome that may still be under way when a solve ends
MOST_SWEEPS = 20_000
PATIENCE = 10  # sweeps in which the first-order correction must halve the error
BLOCK = 32  # channels removed in one solve: their columns of visits stay in the cache
LOOPS = "markov: some journeys go round and never end: check the transitions"

ENDS = START - NULL  # the states before (start) in TransitionCounts.states, no part of a Chain
NONE = np.empty(0, dtype=np.int64)

Correction = Callable[[Floats], Floats]


@dataclass(frozen=True, eq=False)
class Chain:
    """A chain of any order, without steps from a state to itself: they change no journey's fate.

    Its states are (start), the first, and the touch states of the counts, in their order.

    Attributes
    ----------
    arrivals : sparse matrix, (S, S)
        Journeys that come to the state of the row from that of the column.
    through : float array, (S,)
        Journeys that leave each state; 1 for a channel of order 1 that none does.
    last : int array, (S,)
        Channel of the last touch; K for (start).
    channels : int
        K.
    """

    arrivals: Any
    through: Floats
    last: Integers
    channels: int

    def backwards(self) -> "Chain":
        """The chain of the same journeys told from their ends to (start)."""
        return replace(self, arrivals=self.arrivals.T.tocsr())

    def blocks(self) -> Iterator[Integers]:
        """Channels 0..K-1, some at a time."""
        for first in range(0, self.channels, BLOCK):
            yield np.arange(first, min(first + BLOCK, self.channels))

    def own(self, channels: Integers) -> tuple[Integers, Integers]:
        """States of some channels, sorted, and the column of each state's channel among them."""
        rows = np.flatnonzero(np.isin(self.last, channels))
        return rows, np.searchsorted(channels, self.last[rows])

    @cached_property
    def onward(self) -> Any:
        """Probability to come to the state of the row from that of the column, (S, S)."""
        onward = self.arrivals.copy()
        onward.data /= self.through[onward.indices]
        return onward

    @cached_property
    def by_channel(self) -> Any:
        """Adds up states by the channel of their last touch, (K + 1, S)."""
        states = np.arange(self.last.size)
        shape = (self.channels + 1, states.size)
        return sparse.csr_matrix((np.ones(states.size), (self.last, states)), shape)

    @cached_property
    def first_order_visits(self) -> Floats:
        """Visits that one to the channel of the column brings to that of the row, (K+1, K+1).

        In the chain that remembers the last touch alone and has the same journeys.
        """
        arrivals = (self.by_channel @ self.arrivals @ self.by_channel.T).toarray()
        through = self.by_channel @ self.through
        through[through == 0] = 1.0
        try:
            return np.linalg.inv(np.eye(self.channels + 1) - arrivals / through)
        except np.linalg.LinAlgError as error:
            raise ModelError(LOOPS) from error


@dataclass(frozen=True, eq=False)
class Solved:
    """Numbers per state and removed channel, (S, C), with the bound of their error."""

    values: Floats
    error: float
    sweeps: int


def chain_of(transitions: TransitionCounts) -> Chain:
    """The chain of checked counts; ModelError where journeys go round apart from (start)."""
    size, some = transitions.states.size - ENDS, transitions.journeys > 0
    source, target = transitions.source_place[some] - ENDS, transitions.target_place[some] - ENDS
    journeys, moves = transitions.journeys[some], source != target
    through = add_up(source[moves], journeys[moves], size)
    inner = moves & (target > 0)
    arrivals = sparse.csr_matrix((journeys[inner], (target[inner], source[inner])), (size, size))
    # What enters a state leaves it too, so a part without (start) holds its journeys for ever.
    _, part = connected_components(arrivals, directed=False)
    if (part[source] != part[0]).any():
        raise ModelError(LOOPS)
    last = np.append(len(transitions.channels), transitions.last_channel())
    return Chain(arrivals, np.where(through > 0, through, 1.0), last, len(transitions.channels))


def visits(chain: Chain, entry: Floats, worth: Floats, without: Integers = NONE) -> Solved:
    """Visits to each state while journeys avoid a channel, for several channels at once.

    Journeys enter the chain by `entry`, end on their first touch of the avoided channel, and that
    touch is counted: v = entry + onward (M v), where M masks the states of that channel. Sweeps
    v <- entry + onward (M v) come to it from below, each by one touch of every journey. After each,
    the first-order chain, solved at once, foresees where the visits that still move lead to, as in
    aggregation and disaggregation (Stewart 1994, Introduction to the Numerical Solution of Markov
    Chains, chapter 6). Where it misleads, sweeps alone go on.

    Parameters
    ----------
    chain : Chain
    entry : float array, (S, 1) or (S, C)
        Journeys that begin in each state.
    worth : float array, (S, M)
        What a journey in each state still brings at most, by the chain with all channels.
    without : int array, (C,)
        Channels to avoid, sorted, each in a column of its own. None: nothing is avoided.

    Returns
    -------
    Solved
        values (S, C). What the visits to the avoided channel bring in all, in any of the M, is off
        by `error` <= TOLERANCE at most, rounding apart: the worth of the visits that the last sweep
        still moved, since a journey brings the worth of its state but once.

    Raises
    ------
    ConvergenceError
        Where it is more after MOST_SWEEPS sweeps.
    """
    own = chain.own(without)
    correct = _first_order_correction(chain, without) if without.size else None
    weigh = sparse.csr_matrix(worth.T)  # sparse products stay in one thread: two only wait here
    kept = np.zeros((entry.shape[0], without.size or entry.shape[1]))
    left, before = np.empty_like(kept), np.inf
    for sweep in range(1, MOST_SWEEPS + 1):
        arrived = chain.onward @ kept
        arrived += entry
        np.subtract(arrived, kept, out=left)
        left[own] = 0.0
        error = float((weigh @ np.abs(left)).max())
        if error <= TOLERANCE:
            return Solved(arrived, error, sweep)
        if sweep % PATIENCE == 0:
            if error > before / 2:  # the first-order chain misleads
                correct = None
            before = error
        kept += left
        if correct is not None:
            kept += correct(left)
    raise ConvergenceError(
        f"markov: after {MOST_SWEEPS} sweeps {error:.1g} of the outcome is still under way, more "
        f"than {TOLERANCE:g}: journeys hardly ever end: shorten the lookback, or choose order 1"
    )


def _first_order_correction(chain: Chain, without: Integers) -> Correction:
    """What visits that move on lead to by the first-order chain, beyond themselves."""
    onward, column = chain.first_order_visits, np.arange(without.size)
    share = (chain.through / (chain.by_channel @ chain.through)[chain.last])[:, None]
    back = onward[:, without] / onward[without, without]
    lead = sparse.csr_matrix(onward)

    def correct(moving: Floats) -> Floats:
        moved = chain.by_channel @ moving
        brought = lead @ moved
        brought -= back * brought[without, column]  # less what went through the avoided channel
        brought[without, column] = 0.0
        added: Floats = (brought - moved)[chain.last]
        added *= share
        return added

    return correct


def state_values(chain: Chain, reward: Floats, without: Integers = NONE) -> Solved:
    """Expected reward of a journey from each state on, the avoided channel never touched.

    Parameters
    ----------
    reward : float array, (S, M)
        Total won right after each state, > 0 in sum; M = 1 where channels are avoided.
    without : int array, (C,)
        As in `visits`; 0 is then the value of the avoided channel's own states.

    Returns
    -------
    Solved
        values (S, M) or (S, C). They are the visits of the chain told backwards from the reward;
        `error` is relative to the value of (start).
    """
    total = reward.sum(axis=0)
    solved = visits(chain.backwards(), reward / total, np.ones((chain.last.size, 1)), without)
    values = solved.values * total / chain.through[:, None]
    if without.size:
        values[chain.own(without)] = 0.0
    return replace(solved, values=values)


def passing(chain: Chain, seen: Floats, worth: Floats, channels: Integers) -> Floats:
    """What the first touches of each channel bring, (M, C).

    seen : (S, C), of `visits` without these channels; worth : (S, M), what a visit brings.
    """
    rows, column = chain.own(channels)
    first = seen[rows, column]
    brought = [add_up(column, first * worth[rows, m], channels.size) for m in range(worth.shape[1])]
    return np.array(brought)


@dataclass(frozen=True, eq=False)
class OrderChoice:
    """How well chains of each order foretell journeys that they have not seen.

    Attributes
    ----------
    order : int
        The lowest whose log-likelihood is within one standard error of the best.
    orders : tuple of int, (m,)
        1..m, those tried.
    log_likelihood : float array, (m,)
        Mean over held-out journeys, in nats per journey, < 0.
    standard_error : float array, (m,)
        Of that mean, by the spread of the folds.
    """

    order: int
    orders: tuple[int, ...]
    log_likelihood: Floats
    standard_error: Floats


def choose_order(transitions: TransitionCounts, folds: int = 10) -> OrderChoice:
    """Choose the order of a chain by cross-validation over customers.

    Each fold of the replicate groups is foretold by a chain of the others' journeys. What a state
    has not seen falls back on the state that remembers one touch less, at last on equal chances:
    p_k(t | s) = (n_st + p_{k-1}(t | s)) / (n_s + 1), p_0 = 1 / (K + 2).

    Parameters
    ----------
    transitions : TransitionCounts
        Of the highest order to try.
    folds : int
        Replicate group g is in fold g % folds.

    Returns
    -------
    OrderChoice

    Raises
    ------
    ModelError
        Where fewer than two folds hold journeys.

    References
    ----------
    MacKay, Bauman Peto 1995, A hierarchical Dirichlet language model, doi
    10.1017/S1351324900000218. Breiman, Friedman, Olshen, Stone 1984, Classification and Regression
    Trees, section 3.4.3, for the rule of one standard error.
    """
    starts = transitions.source == START
    journeys = add_up(
        transitions.replicate_group[starts] % folds, transitions.journeys[starts], folds
    )
    used = journeys > 0
    if used.sum() < 2:
        raise ModelRefused(
            "markov: an order is chosen over replicate groups, and there are too few"
        )
    likelihoods = _held_out(transitions, folds)[:, used]  # of each order and fold, (m, F)
    total, n = journeys.sum(), int(used.sum())
    mean = likelihoods.sum(axis=1) / total
    apart = ((likelihoods - mean[:, None] * journeys[used]) ** 2).sum(axis=1)
    error = np.sqrt(apart * n / (n - 1)) / total
    best = int(np.argmax(mean))
    order = 1 + int(np.argmax(mean >= mean[best] - error[best]))
    return OrderChoice(order, tuple(range(1, mean.size + 1)), mean, error)


def _held_out(transitions: TransitionCounts, folds: int) -> Floats:
    """Log-likelihood of each fold's journeys by the others', per order, (m, folds)."""
    likelihoods = []
    chance = np.full((folds, 1), 1 / (len(transitions.channels) + 2))
    lower, lower_keys = transitions, NONE
    for order in range(1, transitions.order + 1):
        counts = lower_order(transitions, order)
        size = counts.states.size
        keys, cell = np.unique(
            counts.source_place * size + counts.target_place, return_inverse=True
        )
        source, target = np.divmod(keys, size)
        cell += counts.replicate_group % folds * keys.size
        held = add_up(cell, counts.journeys, folds * keys.size).reshape(folds, -1)
        seen = np.maximum(held.sum(axis=0) - held, 0.0)
        state = np.arange(folds)[:, None] * size + source
        leaving = add_up(state.ravel(), seen.ravel(), folds * size)
        back = np.zeros_like(keys)
        if order > 1:
            back = np.searchsorted(lower_keys, _keys_in(lower, counts.states[[source, target]]))
        chance = (seen + chance[:, back]) / (leaving[state] + 1.0)
        likelihoods.append((held * np.log(chance)).sum(axis=1))
        lower, lower_keys = counts, keys
    return np.array(likelihoods)


def _keys_in(lower: TransitionCounts, ends: Integers) -> Integers:
    """Transitions of a higher order, (2, E) codes, as keys source * S + target of the lower one."""
    source, target = np.searchsorted(lower.states, newest(ends, lower.order))
    keys: Integers = source * lower.states.size + target
    return keys

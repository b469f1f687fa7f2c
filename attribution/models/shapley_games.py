"""Games on conversion rates: of all journeys inside a set of channels, and of exactly a set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from attribution.coalitions import CoalitionCounts
from attribution.errors import ModelError, NoConversions, UsageError
from attribution.models.shapley_sets import (
    MOST_CHANNELS,
    Sets,
    local_shapley,
    ratio,
    shapley_values,
    shapley_weights,
    subset_sums,
)
from attribution.paths import Floats, Integers, add_up
from attribution.statistics import Booleans

Singles = npt.NDArray[np.float32]

BLOCK = 1 << 22  # numbers worked on at once, so that memory does not follow the data
CACHED = 1 << 17  # the same where it pays that they stay in the cache

GAMES = ("conversions", "rate", "exact_rate", "model")


def check_question(coalitions: CoalitionCounts, game: str) -> None:
    """Raise UsageError where there is no such game, NoConversions where there is no credit."""
    if game not in GAMES:
        raise UsageError(f"shapley has no game {game!r}: choose one of {', '.join(GAMES)}")
    if not coalitions.conversions.sum() > 0:
        raise NoConversions("no journey with a touch converts: shapley has nothing to credit")


@dataclass(frozen=True, eq=False)
class Solution:
    """A game's credit of the channels touched, (k,), which sums to the totals with the baseline.

    standard_error : largest over channels, of a share of the conversions; None where exact.
    """

    conversions: Floats
    revenue: Floats
    baseline: float = 0.0
    baseline_revenue: float = 0.0
    standard_error: float | None = None


def rate(sets: Sets, permutations: int, seed: int) -> Solution:
    """v(S) = conversions / journeys over journeys inside S; scaled by all journeys.

    v(all) = C / J, so that J times the values sum to C; revenue in place of conversions, to R.
    Exact to MOST_CHANNELS, sampled beyond.
    """
    outcomes = np.stack([sets.conversions, sets.revenue])
    journeys = float(sets.journeys.sum())
    if len(sets.channels) <= MOST_CHANNELS:
        values = shapley_values(rate_game(sets.table(outcomes), sets.table(sets.journeys)))
        return Solution(*(values * journeys))
    if permutations == 0:
        raise ModelError(
            f"shapley: game rate is exact to {MOST_CHANNELS} channels and journeys touched "
            f"{len(sets.channels)}: set permutations above 0 to sample orders of them"
        )
    values, error = _sampled_rate(sets, outcomes, permutations, seed)
    conversions, revenue = values * journeys
    share = float(error.max()) * journeys / float(sets.conversions.sum())
    return Solution(conversions, revenue, standard_error=share)


def rate_game(outcome: Floats, journeys: Floats) -> Floats:
    """v (..., 2^K) from what came of the journeys of exactly each set, (..., 2^K) both."""
    return ratio(subset_sums(outcome), subset_sums(journeys))


def _sampled_rate(
    sets: Sets, outcomes: Floats, permutations: int, seed: int
) -> tuple[Floats, Floats]:
    """Mean of what channels add along random orders, and its standard error on conversions.

    Every order is walked forwards and backwards: what is early in one is late in the other, so
    that their mean varies less (antithetic sampling).

    outcomes (m, n), the first one conversions. Returns (m, k) and (k,).
    Castro, Gomez, Tejada 2009, doi 10.1016/j.cor.2008.04.004.
    """
    random = np.random.default_rng(seed)
    size = len(sets.channels)
    larger_first = np.argsort(-sets.members.sum(axis=1), kind="stable")
    members = _by_place(sets.members[larger_first])
    counts = np.vstack([outcomes, sets.journeys])[:, larger_first]
    mean, spread = np.zeros((len(outcomes), size)), np.zeros(size)
    for drawn in _batches(permutations, CACHED // counts.shape[1]):
        rank = random.permuted(np.tile(np.arange(size, dtype=np.int16), (drawn, 1)), axis=1)
        added = _added_along(rank, members, counts)
        added += _added_along(size - 1 - rank, members, counts)
        added /= 2
        mean += added.sum(axis=1)
        spread += (added[0] ** 2).sum(axis=0)
    mean /= permutations
    variance = np.maximum(spread / permutations - mean[0] ** 2, 0.0) / (permutations - 1)
    return mean, np.sqrt(variance)


def _batches(total: int, most: int) -> Iterator[int]:
    """`total` in portions of at most `most`, and at least 1."""
    most = max(1, most)
    for start in range(0, total, most):
        yield min(most, total - start)


def _by_place(members: Booleans) -> list[Integers]:
    """First member of every set, second member of those that have two, and so on; largest first."""
    sizes = members.sum(axis=1)
    _, member = np.nonzero(members)
    starts = np.cumsum(sizes) - sizes
    return [
        member[starts[: np.count_nonzero(sizes > place)] + place] for place in range(sizes.max())
    ]


def _added_along(rank: Integers, members: Sequence[Integers], counts: Floats) -> Floats:
    """What each channel adds to v when it joins, in several orders at once, (m, orders, k).

    rank : (orders, k), of each channel.
    members : of each set, as `_by_place` has them.
    counts : (m + 1, n), outcomes of each set, and its journeys as the last row.
    """
    # A set lies inside the first channels of an order as soon as its last member does.
    last = rank[:, members[0]]
    for member in members[1:]:
        np.maximum(last[:, : member.size], rank[:, member], out=last[:, : member.size])
    orders, size = rank.shape
    at = (last + size * np.arange(orders)[:, None]).ravel()
    *outcomes, journeys = (
        add_up(at, np.tile(values, orders), orders * size).reshape(orders, size).cumsum(axis=1)
        for values in counts
    )
    value = ratio(np.stack(outcomes), journeys)
    return np.take_along_axis(np.diff(value, axis=-1, prepend=0.0), rank[None], axis=-1)


def exact_rate(sets: Sets) -> Solution:
    """v(S) = conversions / journeys of exactly S, 0 where unseen; a local game per converting set.

    Players of the game of T are its members, and its values are scaled by journeys of exactly T,
    so that they sum to the conversions of T. Exact at any number of channels, since only
    converting sets have a value other than 0: beyond MOST_CHANNELS by pairs of them.
    """
    sets = sets.converting()
    rates = ratio(np.stack([sets.conversions, sets.revenue]), sets.journeys)
    if len(sets.channels) <= MOST_CHANNELS:
        return Solution(*local_shapley(sets.table(rates), sets.table(sets.journeys)))
    both = np.tile(sets.journeys[:, None], 2)
    return Solution(*local_shapley_by_pairs(sets.members, rates.T, both))


def local_shapley_by_pairs(members: Booleans, game: Floats, journeys: Floats) -> Floats:
    """`local_shapley` of sparse games on any number of channels, from pairs of nested sets.

    phi_i = sum over T of journeys(T) times the sum over S inside T of v(S) by `shapley_weights`.

    Parameters
    ----------
    members : bool array, (n, k)
        Distinct sets, none empty; v is 0 on all others.
    game, journeys : float array, (n, m)
        m games, v and journeys of each set.

    Returns
    -------
    float array, (m, k)
    """
    sizes = members.sum(axis=1)
    both, absent = _weights_by_size(int(sizes.max(initial=1)))
    given, taken = np.zeros_like(game), np.zeros_like(game)
    for above, below in _candidates(members):
        inside = _intersections(members, above, below) == sizes[below]
        t, s = np.nonzero(inside)
        at = sizes[above][t], sizes[below][s]
        given[below] += sparse.csr_array((both[at], (s, t)), inside.T.shape) @ journeys[above]
        taken[above] += sparse.csr_array((absent[at], (t, s)), inside.shape) @ game[below]
    values: Floats = (given * game - taken * journeys).T @ members
    return values


def pairs_to_compare(members: Booleans) -> int:
    """How many pairs of sets `local_shapley_by_pairs` looks at: some 8 ns each."""
    return int(np.bincount(_rarest(members), minlength=members.shape[1]) @ members.sum(axis=0))


def _candidates(members: Booleans) -> Iterator[tuple[Integers, Integers]]:
    """Blocks (rows of T, rows of S) that hold every pair of sets with S inside T once.

    A T that contains S contains the rarest channel of S: that leaves few T to look at.
    """
    rarest = _rarest(members)
    for channel in range(members.shape[1]):
        above = np.flatnonzero(members[:, channel])
        below = np.flatnonzero(rarest == channel)
        step = max(1, BLOCK // max(1, above.size))
        for start in range(0, below.size, step):
            yield above, below[start : start + step]


def _rarest(members: Booleans) -> Integers:
    """Member of each set that the fewest sets contain, (n,)."""
    order = members.sum(axis=0).argsort(kind="stable")
    rarest: Integers = order[members[:, order].argmax(axis=1)]
    return rarest


def _intersections(members: Booleans, above: Integers, below: Integers) -> Singles:
    """Channels that each T shares with each S, as a product of matrices."""
    single = np.float32  # half the cost, and exact for counts
    return members[above].astype(single) @ members[below].T.astype(single)


def _weights_by_size(largest: int) -> tuple[Floats, Floats]:
    """`shapley_weights` of every number of players t in row t, (largest + 1, largest + 1)."""
    both, absent = np.zeros((2, largest + 1, largest + 1))
    for players in range(1, largest + 1):
        both[players, : players + 1], absent[players, : players + 1] = shapley_weights(players)
    return both, absent

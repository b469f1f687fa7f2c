"""Sets of channels as bit masks, and games on all of them at once.

A game on K channels is an array over its 2^K sets: bit i of the position says whether channel i is
in. Leading axes, where there are any, hold several games.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attribution.coalitions import CoalitionCounts
from attribution.paths import Floats, Integers, add_up
from attribution.statistics import Booleans

MOST_CHANNELS = 20  # 2^20 sets: 8 MiB a game, and some hundredths of a second a transform


@dataclass(frozen=True, eq=False)
class Sets:
    """The distinct channel sets of all journeys, over all replicate groups.

    Attributes
    ----------
    channels : int array, (k,)
        Positions, among all channels, of those that a journey touched. Any other changes no game:
        left out, it gets exactly 0 and does not make the games larger.
    members : bool array, (n, k)
    conversions, nulls, revenue : float array, (n,)
    place : int array, (rows of the coalition counts,)
        Set that each row belongs to, or -1 where it counts no journey.
    """

    channels: Integers
    members: Booleans
    conversions: Floats
    nulls: Floats
    revenue: Floats
    place: Integers

    @property
    def journeys(self) -> Floats:
        return self.conversions + self.nulls

    def converting(self) -> Sets:
        """Only the sets that convert, on the same channels."""
        won = self.conversions > 0
        renumbered = np.append(np.where(won, np.cumsum(won) - 1, -1), -1)
        return Sets(
            channels=self.channels,
            members=self.members[won],
            conversions=self.conversions[won],
            nulls=self.nulls[won],
            revenue=self.revenue[won],
            place=renumbered[self.place],  # the last one stands for place -1
        )

    def table(self, values: Floats) -> Floats:
        """Values of the sets (..., n) as a game (..., 2^k), 0 for sets that no journey has."""
        game = np.zeros((*values.shape[:-1], 1 << len(self.channels)))
        game[..., channel_masks(self.members)] = values
        return game

    def spread(self, values: Floats, channels: int) -> Floats:
        """Values of the channels touched (..., k) over all of them, (..., channels)."""
        wide = np.zeros((*values.shape[:-1], channels))
        wide[..., self.channels] = values
        return wide


def distinct_sets(coalitions: CoalitionCounts) -> Sets:
    """Rows that count journeys, added up to one entry per distinct set."""
    counted = coalitions.conversions + coalitions.nulls > 0
    channels = np.flatnonzero(coalitions.members[counted].any(axis=0))
    contains = coalitions.members[np.ix_(counted, channels)]
    first, which = _same_sets(contains)
    place = np.full(counted.size, -1)
    place[counted] = which

    def total(values: Floats) -> Floats:
        return add_up(which, values[counted], first.size)

    return Sets(
        channels=channels,
        members=contains[first],
        conversions=total(coalitions.conversions),
        nulls=total(coalitions.nulls),
        revenue=total(coalitions.revenue),
        place=place,
    )


def _same_sets(members: Booleans) -> tuple[Integers, Integers]:
    """First row of each distinct set, and the set of each row; the order of rows does not count."""
    first = which = np.zeros(len(members), dtype=np.int64)
    packed = np.packbits(members, axis=1)
    for start in range(0, packed.shape[1], 7):  # seven bytes at a time are a whole number
        word = packed[:, start : start + 7] @ (256 ** np.arange(7))[: packed.shape[1] - start]
        codes, code = np.unique(word, return_inverse=True)
        _, first, which = np.unique(
            which * codes.size + code, return_index=True, return_inverse=True
        )
    return first, which


def channel_masks(members: Booleans) -> Integers:
    """Position of each set in a game, (n,), from its channels (n, k); k at most 62."""
    masks: Integers = members @ (1 << np.arange(members.shape[1]))
    return masks


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """numerator / denominator, 0 where there is nothing to divide by."""
    whole = np.broadcast_to(denominator, numerator.shape)
    return np.divide(numerator, whole, out=np.zeros_like(numerator), where=whole > 0)


def subset_sums(game: Floats) -> Floats:
    """Zeta transform (..., 2^K): for each S the sum of the game over all sets inside S."""
    sums = game.copy()
    for without, within in _halves(sums):
        within += without
    return sums


def superset_sums(game: Floats) -> Floats:
    """For each S the sum of the game over all sets that contain S, (..., 2^K)."""
    sums = game.copy()
    for without, within in _halves(sums):
        without += within
    return sums


def dividends(game: Floats) -> Floats:
    """Harsanyi dividends (..., 2^K), of which the game is the subset sums: Moebius transform.

    Harsanyi 1963, doi 10.2307/2525487.
    """
    rest = game.copy()
    for without, within in _halves(rest):
        within -= without
    return rest


def _halves(game: Floats) -> list[tuple[Floats, Floats]]:
    """Views of a game, channel by channel: the sets without it, and the same sets with it."""
    views = []
    for channel in range(_players(game)):
        pairs = game.reshape(*game.shape[:-1], -1, 2, 1 << channel)
        views.append((pairs[..., 0, :], pairs[..., 1, :]))
    return views


def _players(game: Floats) -> int:
    return int(game.shape[-1]).bit_length() - 1


def set_sizes(channels: int) -> Integers:
    """Channels in each set, (2^channels,)."""
    return np.bitwise_count(np.arange(1 << channels)).astype(np.int64)


def member_sums(game: Floats) -> Floats:
    """For each channel the sum of the game over the sets that contain it, (..., K)."""
    sums = np.empty((*game.shape[:-1], _players(game)))
    for channel in reversed(range(_players(game))):
        halves = game.reshape(*game.shape[:-1], 2, -1)
        sums[..., channel] = halves[..., 1, :].sum(axis=-1)
        game = halves.sum(axis=-2)  # the remaining channels do not care whether this one is in
    return sums


def shapley_weights(players: int) -> tuple[Floats, Floats]:
    """What v(S) weighs in the Shapley value of channels, by the size s = 0..players of S.

    With t players the value of i is the sum over S of a(s) v(S) where i is in S, and of -b(s) v(S)
    where it is not; a(s) = (s-1)! (t-s)! / t! and b(s) = s! (t-s-1)! / t!.

    Returns
    -------
    both, absent : float array, (players + 1,)
        a + b and b: every S counts -b for all channels, and a + b on top for its members.
    """
    both, absent = np.zeros(players + 1), np.zeros(players + 1)
    both[players] = 1 / players
    for size in range(players):
        absent[size] = 1 / (players * math.comb(players - 1, size))
    for size in range(1, players):
        both[size] = 1 / ((players - 1) * math.comb(players - 2, size - 1))
    return both, absent


def shapley_values(game: Floats) -> Floats:
    """Shapley values of games with any v(S), exact.

    Two weighted sums over the 2^K sets serve all channels, so that it costs no more than a
    transform. v(empty) need not be 0; the values sum to v(all) - v(empty).

    Parameters
    ----------
    game : float array, (..., 2^K), K >= 1

    Returns
    -------
    float array, (..., K)

    References
    ----------
    Shapley 1953, doi 10.1515/9781400881970-018.
    """
    sizes = set_sizes(_players(game))
    both, absent = shapley_weights(_players(game))
    outside: Floats = (game * absent[sizes]).sum(axis=-1, keepdims=True)
    return member_sums(game * both[sizes]) - outside


def local_shapley(game: Floats, journeys: Floats) -> Floats:
    """Shapley values of a game of its own for each set T, cut to T, times the journeys of T, added.

    The Shapley value shares the dividend d(S) evenly over S, so phi_i = sum over S containing i of
    d(S) / |S| * J(S), J(S) the journeys of all T that contain S: three transforms instead of a
    game for each T.

    Parameters
    ----------
    game, journeys : float array, (..., 2^K)

    Returns
    -------
    float array, (..., K)
        They sum to the sum over T of journeys(T) * (v(T) - v(empty)).
    """
    sizes = np.maximum(set_sizes(_players(game)), 1)  # no channel is in the empty set
    return member_sums(dividends(game) * superset_sums(journeys) / sizes)

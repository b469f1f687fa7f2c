"""Shapley shares without each group of customers, for intervals by the jackknife."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from attribution.coalitions import CoalitionCounts
from attribution.errors import InvalidPaths
from attribution.intervals import one_step
from attribution.models.shapley_games import (
    check_question,
    local_shapley_by_pairs,
    pairs_to_compare,
    rate,
    rate_game,
)
from attribution.models.shapley_model import fit, predictions
from attribution.models.shapley_sets import (
    MOST_CHANNELS,
    Sets,
    channel_masks,
    distinct_sets,
    local_shapley,
    ratio,
    set_sizes,
    shapley_values,
    shapley_weights,
    subset_sums,
    superset_sums,
)
from attribution.paths import Floats, add_up

MOST_REFITTED = 16  # channels of game rate: 100 fits of 2^16 sets take some tenths of a second
MOST_REGRESSED = 12  # channels of game model: 100 regressions take some seconds
MOST_PAIRS = 10**9  # of converting sets: some ten seconds


def shapley_replicates(
    coalitions: CoalitionCounts, groups: int, *, game: str = "conversions"
) -> Floats | None:
    """Shares of the conversions credited by `shapley`, with one replicate group left out at a time.

    `conversions` and `exact_rate` are refitted at any number of channels, `rate` to 16 that
    journeys touched and `model` to 12. From 17 to 20, `rate` goes one step along its gradient:
    share minus `rate_influence` (infinitesimal jackknife), which agrees with refits to first order.

    Parameters
    ----------
    coalitions : CoalitionCounts
    groups : int
        G; replicate groups are numbered 0..G-1.
    game : str
        As for `shapley`.

    Returns
    -------
    float array, (G, K), or None
        Rows sum to 1, less the share of the baseline for `model`. A row is NaN where the other
        groups hold no conversion, or for `model` only conversions. None where refits would be too
        dear and there is no gradient: `rate` beyond 20 channels, `model` beyond 12, `exact_rate`
        beyond some 10^5 converting sets.

    Raises
    ------
    UsageError
        Where there is no such game.
    NoConversions
        Where no journey with a touch converts.
    InvalidPaths
        Where a replicate group is none of 0..G-1.
    """
    check_question(coalitions, game)
    _check_groups(coalitions, groups)
    if game == "conversions":
        return _even_split_without(coalitions, groups)
    sets = distinct_sets(coalitions)
    shares = _shares_without(sets, coalitions, groups, game)
    if shares is None:
        return None
    wide = sets.spread(shares, len(coalitions.channels))
    wide[np.isnan(shares).any(axis=1)] = np.nan
    return wide


def _check_groups(coalitions: CoalitionCounts, groups: int) -> None:
    group = coalitions.replicate_group
    if group.size and not 0 <= group.min() <= group.max() < groups:
        raise InvalidPaths(
            f"coalitions: replicate_group runs from {group.min()} to {group.max()}, "
            f"and there are {groups} groups"
        )


def _even_split_without(coalitions: CoalitionCounts, groups: int) -> Floats:
    """The even split adds up over journeys, so that a group is left out by subtraction, (G, K)."""
    row, channel = np.nonzero(coalitions.members)
    size = coalitions.members.sum(axis=1)
    at = coalitions.replicate_group[row] * len(coalitions.channels) + channel
    credit = (coalitions.conversions / size)[row]
    own = add_up(at, credit, groups * len(coalitions.channels)).reshape(groups, -1)
    rest = own.sum(axis=0) - own
    return _normalised(rest, rest.sum(axis=1))


def _shares_without(
    sets: Sets, coalitions: CoalitionCounts, groups: int, game: str
) -> Floats | None:
    """Shares of the channels touched, (G, k)."""
    size = len(sets.channels)
    if game == "exact_rate":
        sets = sets.converting()
        if pairs_to_compare(sets.members) > MOST_PAIRS:
            return None
        return _exact_rate_without(sets, *_left(sets, coalitions, groups))
    if game == "model":
        if size > MOST_REGRESSED:
            return None
        return _model_without(sets, *_left(sets, coalitions, groups))
    if size <= MOST_REFITTED:
        return _rate_without(sets, *_left(sets, coalitions, groups))
    if size <= MOST_CHANNELS:
        values = rate(sets, permutations=0, seed=0).conversions
        share: Floats = values / values.sum()
        return one_step(share, _rate_influence(sets, coalitions, groups))
    return None


def _left(sets: Sets, coalitions: CoalitionCounts, groups: int) -> tuple[Floats, Floats]:
    """Conversions and nulls of each set without each group, (G, n)."""
    counted = sets.place >= 0
    size = len(sets.members)
    at = coalitions.replicate_group[counted] * size + sets.place[counted]

    def rest(values: Floats) -> Floats:
        own = add_up(at, values[counted], groups * size).reshape(groups, size)
        left: Floats = own.sum(axis=0) - own  # exactly 0 where one group alone has the set
        return left

    return rest(coalitions.conversions), rest(coalitions.nulls)


def _normalised(values: Floats, total: Floats) -> Floats:
    """values (G, k) / total (G,), NaN where a total is 0."""
    whole = np.broadcast_to(total[:, None], values.shape)
    return np.divide(values, whole, out=np.full_like(values, np.nan), where=whole > 0)


def _rate_without(sets: Sets, conversions: Floats, nulls: Floats) -> Floats:
    shares = np.full((len(conversions), len(sets.channels)), np.nan)
    for group, (won, lost) in enumerate(zip(conversions, nulls, strict=True)):
        if won.any():
            game = rate_game(sets.table(won), sets.table(won + lost))
            shares[group] = shapley_values(game) / game[-1]
    return shares


def _exact_rate_without(sets: Sets, conversions: Floats, nulls: Floats) -> Floats:
    journeys = np.where(conversions > 0, conversions + nulls, 0.0)
    rates = ratio(conversions, journeys)
    values = local_shapley_by_pairs(sets.members, rates.T, journeys.T)
    return _normalised(values, conversions.sum(axis=1))


def _model_without(sets: Sets, conversions: Floats, nulls: Floats) -> Floats:
    shares = np.full((len(conversions), len(sets.channels)), np.nan)
    for group, (won, lost) in enumerate(zip(conversions, nulls, strict=True)):
        if won.any() and lost.any():
            intercept, slopes = fit(sets.members, won, lost)
            game = predictions(intercept, slopes)
            journeys = sets.table(won + lost)
            values = local_shapley(game, journeys)
            shares[group] = values / (values.sum() + game[0] * journeys.sum())
    return shares


def rate_influence(coalitions: CoalitionCounts, groups: int) -> Floats:
    """Derivative of the shares of game `rate` by the weight of each replicate group, at weight 1.

    One gradient over the 2^k sets, contracted with the counts of each group: the infinitesimal
    jackknife. As shares do not change when all weights do, its columns sum to 0.

    Parameters
    ----------
    coalitions : CoalitionCounts
        With a conversion, and at most 20 channels that journeys touched.
    groups : int
        G; replicate groups are numbered 0..G-1.

    Returns
    -------
    float array, (G, K)

    References
    ----------
    Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, chapter 6,
    doi 10.1137/1.9781611970319.
    """
    _check_groups(coalitions, groups)
    sets = distinct_sets(coalitions)
    return sets.spread(_rate_influence(sets, coalitions, groups), len(coalitions.channels))


def _rate_influence(sets: Sets, coalitions: CoalitionCounts, groups: int) -> Floats:
    """On the channels touched, (G, k).

    share_i = phi_i / v(all), and one more journey inside S moves v(S) by (c - v(S)) / J(S), c = 1
    where it converts.
    """
    journeys = subset_sums(sets.table(sets.journeys))
    game = ratio(subset_sums(sets.table(sets.conversions)), journeys)
    moves = ratio(np.ones_like(journeys), journeys)
    share = shapley_values(game) / game[-1]

    def slopes(move: Floats) -> Floats:
        """Change of the shares by one more count of each set, (n, k)."""
        changed: Floats = (_value_slopes(sets, move) - share * move[-1]) / game[-1]
        return changed

    counted = sets.place >= 0
    at = coalitions.replicate_group[counted], sets.place[counted]

    def by_group(counts: Floats) -> sparse.csr_array:
        return sparse.csr_array((counts[counted], at), (groups, len(sets.members)))

    influence: Floats = by_group(coalitions.conversions) @ slopes(moves)
    influence += by_group(coalitions.conversions + coalitions.nulls) @ slopes(-game * moves)
    return influence


def _value_slopes(sets: Sets, move: Floats) -> Floats:
    """Change of the Shapley values where one more count of a set T moves v(S) of all S around T.

    move (2^k,), by how much v(S) moves. The sets S around T that contain i are those around T + i,
    so that two sums over supersets serve all channels. Returns (n, k).
    """
    size = len(sets.channels)
    both, absent = (weights[set_sizes(size)] for weights in shapley_weights(size))
    masks = channel_masks(sets.members)
    joined = masks[:, None] | (1 << np.arange(size))
    slopes: Floats = superset_sums(both * move)[joined]
    slopes -= superset_sums(absent * move)[masks, None]
    return slopes

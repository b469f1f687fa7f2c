"""The simple probabilistic model of Shao and Li: rates of channels and of pairs of channels."""

import numpy as np

from attribution.coalitions import CoalitionCounts
from attribution.errors import NoConversions
from attribution.paths import Floats
from attribution.statistics import Booleans, ChannelCredit

BLOCK = 1 << 16  # rows worked on at once, so that memory follows the channels and not the rows


def shao_li(coalitions: CoalitionCounts) -> ChannelCredit:
    """Credit each converting journey by first and second order conversion rates.

    In a journey that touched the set T, channel i of T weighs

        C_i = p(y|i) + 1 / (2 N) * sum over j of [p(y|i,j) - p(y|i) - p(y|j)],

    j over the N = |T| - 1 other channels of the journey; C_i = p(y|i) where there are none. p(y|i)
    and p(y|i,j) are the conversions over all journeys, nulls included, that touched i (and j).
    Negative weights are cut at 0 and the rest normalised inside the journey.

    The weights of a journey sum to its p(y|i,j), summed over ordered pairs, over 2 N. That is above
    0, because the journey itself converts, so that some weight is positive. Where rounding leaves
    none (rates many orders of magnitude apart) the journey is split evenly.

    Parameters
    ----------
    coalitions : CoalitionCounts
        Over all replicate groups, with nulls: without them every rate is 1, and the split even.

    Returns
    -------
    ChannelCredit
        (K,) conversions >= 0, and revenue in the same proportions of each journey. Diagnostics are
        fractions of the conversions, in [0, 1]: `cut_share`, of journeys where a negative weight
        was cut; `even_share`, of journeys that were split evenly for want of a positive one.

    Raises
    ------
    NoConversions
        Where no journey with a touch converts.

    References
    ----------
    Shao, Li 2011, doi 10.1145/2020408.2020453, section 3.2.
    """
    converted = float(coalitions.conversions.sum())
    if not converted > 0:
        raise NoConversions("no journey with a touch converts: shao_li has nothing to credit")
    pairs = pair_rates(coalitions)
    won = np.flatnonzero(coalitions.conversions > 0)
    credit = np.zeros((2, len(coalitions.channels)))
    cut = even = 0.0
    for start in range(0, won.size, BLOCK):
        rows = won[start : start + BLOCK]
        members = coalitions.members[rows]
        weights = _weights(members, pairs)
        positive = np.where(weights > 0, weights, 0.0)
        none = ~positive.any(axis=1)
        positive[none] = members[none]
        shares = positive / positive.sum(axis=1, keepdims=True)
        outcome = np.stack([coalitions.conversions[rows], coalitions.revenue[rows]])
        credit += outcome @ shares
        cut += float(outcome[0] @ (weights < 0).any(axis=1))
        even += float(outcome[0] @ none)
    return ChannelCredit(
        conversions=credit[0],
        revenue=credit[1],
        diagnostics={"cut_share": cut / converted, "even_share": even / converted},
    )


def pair_rates(coalitions: CoalitionCounts) -> Floats:
    """Conversion rate of the journeys that touched both channels, (K, K), in [0, 1].

    The diagonal holds the rates of single channels; 0 where no journey touched both.
    """
    size = len(coalitions.channels)
    conversions, journeys = np.zeros((size, size)), np.zeros((size, size))
    for start in range(0, len(coalitions.members), BLOCK):
        rows = slice(start, start + BLOCK)
        members = coalitions.members[rows].astype(np.float64)
        won, lost = coalitions.conversions[rows], coalitions.nulls[rows]
        conversions += members.T @ (members * won[:, None])
        journeys += members.T @ (members * (won + lost)[:, None])
    conversions[journeys > 0] /= journeys[journeys > 0]
    return conversions


def _weights(members: Booleans, pairs: Floats) -> Floats:
    """C_i of every coalition, (n, K), 0 for channels that are not in it."""
    contains = members.astype(np.float64)
    single = np.diag(pairs)
    others = contains.sum(axis=1, keepdims=True) - 1
    both = contains @ (pairs - np.diag(single))  # sum over j of p(y|i,j)
    rest = contains @ single[:, None] - single  # sum over j of p(y|j), for i in the coalition
    second_order = both - others * single - rest
    weights: Floats = contains * (single + second_order / (2 * np.maximum(others, 1)))
    return weights

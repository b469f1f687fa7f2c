"""Shapley values of the game that channels play for conversions."""

import numpy as np

from attribution.coalitions import CoalitionCounts
from attribution.paths import Floats, add_up
from attribution.statistics import ChannelCredit


def shapley(coalitions: CoalitionCounts) -> ChannelCredit:
    """Shapley value of the game v(S) = conversions of journeys whose channels all lie in S.

    The value is exact at any number of channels, because it has a closed form: **the even split of
    each journey over its distinct channels**, phi_i = sum over T containing i of conv(T) / |T|.
    That is a theorem and no approximation. v is the sum over T of conv(T) times the game that pays
    1 to every S that contains T; there the members of T are interchangeable and everyone else is a
    dummy, so each member gets 1 / |T|, and the Shapley value adds up over games.

    Parameters
    ----------
    coalitions : CoalitionCounts
        Over all replicate groups; nulls do not enter this game.

    Returns
    -------
    ChannelCredit
        (K,) conversions >= 0, and revenue by the same game on revenue.

    References
    ----------
    Shapley 1953, doi 10.1515/9781400881970-018; for attribution Zhao, Mahboobi, Bagheri 2018,
    doi 10.48550/arXiv.1804.05327.
    """
    row, channel = np.nonzero(coalitions.members)
    size = coalitions.members.sum(axis=1)

    def split(values: Floats) -> Floats:
        return add_up(channel, (values / size)[row], len(coalitions.channels))

    return ChannelCredit(split(coalitions.conversions), split(coalitions.revenue))

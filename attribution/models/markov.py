"""First-order Markov chain over touches: credit by what is lost without a channel."""

import math

import numpy as np

from attribution.errors import ModelError, NoConversions
from attribution.paths import Floats
from attribution.statistics import ChannelCredit
from attribution.transitions import CONVERSION, START, TransitionCounts


def markov(transitions: TransitionCounts) -> ChannelCredit:
    """Credit in proportion to removal effects, of conversions and apart from that of revenue.

    Parameters
    ----------
    transitions : TransitionCounts
        Over all replicate groups. Transitions of converting journeys alone ignore the nulls.

    Returns
    -------
    ChannelCredit
        (K,) conversions and revenue, >= 0; removal effects on conversions; diagnostic `base`.
        Revenue is credited as conversions are, with the expected revenue on conversion from each
        last touch as the reward; all of it is 0 where there is none.

    Raises
    ------
    NoConversions
        Where no journey converts.
    ModelError
        Where conversions after some channel bring net revenue below 0, which has no removal effect.

    References
    ----------
    Anderl, Becker, von Wangenheim, Schumann 2016, doi 10.1016/j.ijresmar.2016.03.001.
    """
    base, effects = removal_effects(transitions)
    revenue = _reward(transitions)
    if revenue.any():
        _, revenue_effects = _effects(transitions.weights(), revenue)
        revenue = revenue.sum() * (revenue_effects / revenue_effects.sum())
    return ChannelCredit(
        conversions=transitions.conversions * (effects / effects.sum()),
        revenue=revenue,
        removal_effect=effects,
        diagnostics={"base": base},
    )


def removal_effects(transitions: TransitionCounts) -> tuple[float, Floats]:
    """Share of conversions lost when a channel's touches lead nowhere.

    Every entry into channel c goes to (null) instead. With N = (I - Q)^-1 over the channels and
    B = N R their probabilities to convert, RE_c = N[start, c] / N[c, c] * B[c] / base: the
    probability to visit c and convert, over that to convert. One dense inverse serves all channels.

    Parameters
    ----------
    transitions : TransitionCounts
        Over all replicate groups.

    Returns
    -------
    base : float
        Probability that a journey converts, in (0, 1]; conversions / (conversions + nulls).
    effects : float array, (K,)
        Fractions in [0, 1], channels in sorted order; 0 for a channel without weight.

    Raises
    ------
    NoConversions
        Where no journey converts.
    ModelError
        Where the chain does not return the conversion rate of its own journeys.

    References
    ----------
    Anderl, Becker, von Wangenheim, Schumann 2016, doi 10.1016/j.ijresmar.2016.03.001.
    """
    converted = transitions.conversions
    if not converted > 0:
        raise NoConversions("no journey with a touch converts: markov has nothing to credit")
    weights = transitions.weights()
    base, effects = _effects(weights, weights[: len(transitions.channels), CONVERSION])
    expected = converted / (converted + transitions.nulls)
    if not math.isclose(base, expected, rel_tol=1e-9):
        raise ModelError(
            f"markov: the chain converts {base:.12g} of its journeys and the counts say "
            f"{expected:.12g}: the transitions do not stem from whole journeys"
        )
    return base, effects


def _effects(weights: Floats, reward: Floats) -> tuple[float, Floats]:
    """Expected reward of a journey, and the share of it that passes through each channel.

    weights (K+3, K+3) in journeys; reward (K,), the total won right after each channel.
    """
    n = reward.size
    leaving = weights.sum(axis=1)
    leaving[leaving == 0] = 1.0  # a state without weight stays a row of zeros, I - Q regular
    probabilities = weights / leaving[:, None]
    try:
        fundamental = np.linalg.inv(np.eye(n) - probabilities[:n, :n])
    except np.linalg.LinAlgError as error:
        raise ModelError("markov: some journeys go round and never end: check them") from error
    visits = probabilities[START, :n] @ fundamental
    value = fundamental @ (reward / leaving[:n])
    base = float(probabilities[START, :n] @ value)
    effects = visits / np.diag(fundamental) * value / base
    return base, np.clip(effects, 0.0, 1.0)  # beyond by rounding only


def _reward(transitions: TransitionCounts) -> Floats:
    """Revenue won right after each channel, (K,); net of refunds it must not be below 0."""
    revenue = transitions.revenue_after()
    rounding = 1e-9 * float(np.abs(transitions.revenue).sum())
    worst = int(np.argmin(revenue))
    if revenue[worst] < -rounding:
        raise ModelError(
            f"markov: conversions right after {transitions.channels[worst]!r} bring a net revenue "
            f"of {revenue[worst]:g}: markov cannot credit a loss, leave the refunds out"
        )
    return np.maximum(revenue, 0.0)

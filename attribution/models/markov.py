"""Markov chain over touches: credit by what is lost without a channel."""

import math
import warnings
from collections.abc import Callable

import numpy as np
from scipy import sparse

from attribution.errors import InvalidPaths, ModelError, ModelRefused, NoConversions
from attribution.models.markov_order import (
    ENDS,
    LOOPS,
    chain_of,
    passing,
    state_values,
    visits,
)
from attribution.paths import Floats, add_up
from attribution.statistics import ChannelCredit
from attribution.transitions import CONVERSION, START, TransitionCounts

BATCH_BYTES = 64e6  # of the matrices inverted at a time


def markov(transitions: TransitionCounts) -> ChannelCredit:
    """Credit in proportion to removal effects, of conversions and apart from that of revenue.

    Parameters
    ----------
    transitions : TransitionCounts
        Of any order, over all replicate groups. Transitions of converting journeys alone ignore
        the nulls; where no journey is null, a UserWarning says what that means.

    Returns
    -------
    ChannelCredit
        (K,) conversions and revenue, >= 0; removal effects on conversions. Revenue is credited as
        conversions are, with the expected revenue on conversion from each state as the reward; all
        of it is 0 where there is none. Diagnostics: `base`, the probability to convert; `order`;
        `every_journey_converts`, 1 where it does. Above order 1 also `states`, (start) and those of
        touches; `residual`, which bounds the error of an effect, rounding apart; `iterations`, the
        sweeps of the slowest solve.

    Raises
    ------
    NoConversions
        Where no journey converts.
    ModelError
        Where conversions after some state bring net revenue below 0, which has no removal effect;
        where journeys never end, or the chain does not return their conversion rate.
    ConvergenceError
        Above order 1, where the sweeps come to no answer.

    References
    ----------
    Anderl, Becker, von Wangenheim, Schumann 2016, doi 10.1016/j.ijresmar.2016.03.001.
    """
    effects, diagnostics = _effects(transitions)
    if transitions.nulls == 0:
        diagnostics["every_journey_converts"] = 1.0
        warnings.warn(
            "markov: every journey converts, so a removal effect is only the share of journeys "
            "through the channel: count journeys without a conversion too",
            stacklevel=2,
        )
    credit = effects / effects.sum(axis=1, keepdims=True)
    paid = credit[1] if len(credit) > 1 else np.zeros_like(credit[0])
    return ChannelCredit(
        conversions=transitions.conversions * credit[0],
        revenue=transitions.revenue.sum() * paid,
        removal_effect=effects[0],
        diagnostics=diagnostics,
    )


def removal_effects(transitions: TransitionCounts) -> tuple[float, Floats]:
    """Share of conversions lost when a channel's touches lead nowhere.

    Every entry into a state whose last touch is channel c goes to (null) instead. What is lost is
    what passes through c: RE_c = P(touch c and convert) / P(convert).

    Parameters
    ----------
    transitions : TransitionCounts
        Of any order, over all replicate groups.

    Returns
    -------
    base : float
        Probability that a journey converts, in (0, 1]; conversions / (conversions + nulls).
    effects : float array, (K,)
        Fractions in [0, 1], channels in sorted order; 0 for a channel without weight.

    Raises
    ------
    NoConversions, ModelError, ConvergenceError
        As `markov`.

    References
    ----------
    Anderl, Becker, von Wangenheim, Schumann 2016, doi 10.1016/j.ijresmar.2016.03.001.
    """
    effects, diagnostics = _effects(transitions)
    return diagnostics["base"], effects[0]


def markov_replicates(transitions: TransitionCounts, groups: int) -> Floats:
    """Shares of conversions without each replicate group, for the delete-a-group jackknife.

    Parameters
    ----------
    transitions : TransitionCounts
        Of order 1; replicate groups 0..groups-1.
    groups : int
        G.

    Returns
    -------
    float array, (G, K)
        Each row sums to 1; NaN where no journey of the other groups converts.

    Raises
    ------
    InvalidPaths
        Where a group is not in 0..groups-1.
    ModelError
        Where the order is not 1, or journeys that are left without a group never end.
    """
    _check_groups(transitions, groups)
    if transitions.order != 1:
        raise ModelError(f"markov: replicates are of order 1, not {transitions.order}")
    whole, n = transitions.weights(), len(transitions.channels)
    shares = np.empty((groups, n))
    batch = max(1, int(BATCH_BYTES / (4 * whole.nbytes)))  # about four arrays of a batch at once
    for first in range(0, groups, batch):
        batched = range(first, min(first + batch, groups))
        left = whole - transitions.group_weights(batched)
        with np.errstate(invalid="ignore"):  # 0 / 0: no conversion is left
            _, effects = _closed_form(left, left[:, :n, CONVERSION])
            shares[batched.start : batched.stop] = effects / effects.sum(axis=1, keepdims=True)
    return shares


def markov_influence(transitions: TransitionCounts, groups: int) -> Floats:
    """Derivative of the shares of conversions by the weight of each replicate group, at weight 1.

    The infinitesimal jackknife: shares - influence stands for the shares without the group. In the
    chain without channel c let v be the visits to each state and x its probability to convert; n
    are the journeys through each state of the whole chain. Then

        d base_c = sum over transitions s to t of journeys[s, t] * v[s] / n[s] * (x[t] - x[s])

    over the transitions of the group, likewise d base, and P(touch c and convert) = base - base_c.

    Parameters
    ----------
    transitions : TransitionCounts
        Of any order; replicate groups 0..groups-1.
    groups : int
        G.

    Returns
    -------
    float array, (G, K)
        Rows sum to 0, and so do columns: shares stay when all groups grow alike.

    Raises
    ------
    InvalidPaths
        Where a group is not in 0..groups-1.
    NoConversions, ModelError, ConvergenceError
        As `markov`.

    References
    ----------
    Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, doi
    10.1137/1.9781611970319.
    """
    _check_groups(transitions, groups)
    reward = _rewards(transitions)[:, :1]
    chain, change_of = chain_of(transitions), _change_by_group(transitions, groups)
    value = state_values(chain, reward).values
    start, worth = np.eye(value.size, 1), value / value[0]
    whole = change_of(np.full_like(value, 1 / chain.through[0]), value)
    change, passed = np.empty((groups, chain.channels)), np.empty(chain.channels)
    for channels in chain.blocks():
        seen = visits(chain, start, worth, channels).values
        passed[channels] = passing(chain, seen, value, channels)[0]
        seen[chain.own(channels)] = 0.0  # the first touch of the channel leads on nowhere
        without = state_values(chain, reward, channels).values
        change[:, channels] = whole - change_of(seen / chain.through[:, None], without)
    share = passed / passed.sum()
    influence: Floats = (change - share * change.sum(axis=1, keepdims=True)) / passed.sum()
    return influence


def _change_by_group(
    transitions: TransitionCounts, groups: int
) -> Callable[[Floats, Floats], Floats]:
    """What each group's transitions s to t add of rate[s] * (value[t] - value[s]), (G, C).

    The function takes rates and values per state of the chain, (S, C).
    """
    size = transitions.states.size
    key = transitions.source_place * size + transitions.target_place
    keys, cell = np.unique(key, return_inverse=True)
    source, target = np.divmod(keys, size)
    counts = sparse.csr_matrix(
        (transitions.journeys, (transitions.replicate_group, cell)), (groups, keys.size)
    )

    def change(rate: Floats, value: Floats) -> Floats:
        ended = np.repeat([[0.0], [1.0]], value.shape[1], axis=1)  # in (null), in (conversion)
        value = np.concatenate([ended, value])
        added: Floats = counts @ (rate[source - ENDS] * (value[target] - value[source]))
        return added

    return change


def _effects(transitions: TransitionCounts) -> tuple[Floats, dict[str, float]]:
    """Removal effects on conversions and, where there is any, on revenue, (1 or 2, K)."""
    rewards = _rewards(transitions)
    if transitions.order == 1:
        bases, effects = _closed_form(transitions.weights()[None], rewards[1:].T)
        found = {"base": float(bases[0])}
    else:
        effects, found = _by_sweeps(transitions, rewards)
    converted = transitions.conversions
    expected = converted / (converted + transitions.nulls)
    if not math.isclose(found["base"], expected, rel_tol=1e-9):
        raise ModelError(
            f"markov: the chain converts {found['base']:.12g} of its journeys and the counts say "
            f"{expected:.12g}: the transitions do not stem from whole journeys"
        )
    return effects, {**found, "order": float(transitions.order)}


def _by_sweeps(transitions: TransitionCounts, reward: Floats) -> tuple[Floats, dict[str, float]]:
    """Share of each outcome that passes each channel, (M, K), at any order; and diagnostics.

    reward (S, M), the total won right after each state of the chain.
    """
    chain = chain_of(transitions)
    value = state_values(chain, reward)
    start, worth = np.eye(chain.last.size, 1), value.values / value.values[0]
    effects, solves = np.empty((reward.shape[1], chain.channels)), []
    for channels in chain.blocks():
        seen = visits(chain, start, worth, channels)
        effects[:, channels] = passing(chain, seen.values, worth, channels)
        solves.append(seen)
    return np.clip(effects, 0.0, 1.0), {  # beyond by rounding only
        "base": float(value.values[0, 0]),
        "states": float(chain.last.size),
        "residual": value.error + max(solved.error for solved in solves),
        "iterations": float(max(solved.sweeps for solved in (value, *solves))),
    }


def _closed_form(weights: Floats, reward: Floats) -> tuple[Floats, Floats]:
    """Expected reward of a journey at order 1, and the share of it that passes each channel.

    With N = (I - Q)^-1 over the channels and B = N R their expected reward,
    RE_c = N[start, c] / N[c, c] * B[c] / base. One dense inverse serves all channels.

    weights (..., K+3, K+3) in journeys; reward (..., K), the total won right after each channel.
    Returns (...) and (..., K).
    """
    n = reward.shape[-1]
    leaving = weights.sum(axis=-1)
    leaving[leaving == 0] = 1.0  # a state without weight stays a row of zeros, I - Q regular
    probabilities = weights / leaving[..., None]
    try:
        fundamental = np.linalg.inv(np.eye(n) - probabilities[..., :n, :n])
    except np.linalg.LinAlgError as error:
        raise ModelError(LOOPS) from error
    start = probabilities[..., START, None, :n]
    reached = (start @ fundamental)[..., 0, :] / np.diagonal(fundamental, axis1=-2, axis2=-1)
    value = (fundamental @ (reward / leaving[..., :n])[..., None])[..., 0]
    base = (start @ value[..., None])[..., 0, 0]
    effects = reached * value / base[..., None]
    return base, np.clip(effects, 0.0, 1.0)  # beyond by rounding only


def _rewards(transitions: TransitionCounts) -> Floats:
    """Won right after (start) and each touch state: conversions, and revenue if any, (S, 1 or 2).

    Revenue net of refunds must not be below 0.
    """
    if not transitions.conversions > 0:
        raise NoConversions("no journey with a touch converts: markov has nothing to credit")
    revenue = transitions.revenue_after()
    rounding = 1e-9 * float(np.abs(transitions.revenue).sum())
    worst = int(np.argmin(revenue))
    if revenue[worst] < -rounding:
        state = transitions.state_name(transitions.states[ENDS + 1 + worst])
        raise ModelRefused(
            f"markov: conversions right after {state} bring a net revenue of "
            f"{revenue[worst]:g}: markov cannot credit a loss, leave the refunds out"
        )
    won = transitions.target == CONVERSION
    conversions = add_up(
        transitions.source_place[won], transitions.journeys[won], transitions.states.size
    )[ENDS:]
    revenue = np.append(0.0, np.maximum(revenue, 0.0))
    return np.stack([conversions, revenue] if revenue.any() else [conversions], axis=1)


def _check_groups(transitions: TransitionCounts, groups: int) -> None:
    group = transitions.replicate_group
    if group.size and not 0 <= group.min() <= group.max() < groups:
        raise InvalidPaths(
            f"transitions: replicate groups {group.min()} to {group.max()} where 0 to {groups - 1} "
            "were expected"
        )

"""The ladder brought into line with experiments: what a holdout test measured corrects what
observation overstates.

An observed effect may be partly intent. Each channel's causal effect is exp(-delta) times its
observed one, delta ~ N(0, 1) before any test, independent between channels: one test on a channel
without effect must not drag the others down. What a channel loses the organic hazard gains, so that
the ladder still explains as many moves as there were.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from attribution.errors import ConvergenceError, ModelRefused
from attribution.models.ladder import LadderFit, divided
from attribution.models.ladder_chances import Ladder
from attribution.models.ladder_sums import Sums
from attribution.models.ladder_value import Entries, conversion_chances
from attribution.paths import Floats, Integers
from attribution.statistics import ChannelCredit

PRIOR_VARIANCE = 1.0
STEP = 1e-3  # of delta, for slopes
AT_REST = 1e-5
MOST_STEPS = 50


class LiftTests(NamedTuple):
    """T holdout tests.

    channel : (T,) index of the channel
    lift : (T,) share of all conversions that came only because of it
    standard_error : (T,) of the lift, > 0
    """

    channel: Integers
    lift: Floats
    standard_error: Floats


@dataclass(frozen=True, eq=False)
class Calibration:
    """
    Attributes
    ----------
    ladder : Ladder
        With causal effects.
    delta : float array, (K,)
        Causal effects are exp(-delta) times the observed ones.
    covariance : float array, (K, K)
        Of delta, as far as tests and prior leave it open; customers come on top.
    before, after : float array, (T,)
        The ladder's own lifts.
    z_before, z_after : float array, (T,)
        (measured - own) / standard error of the difference.
    """

    ladder: Ladder
    delta: Floats
    covariance: Floats
    before: Floats
    after: Floats
    z_before: Floats
    z_after: Floats


def calibrate(
    ladder: Ladder, sums: Sums, entries: Entries, tests: LiftTests, model_variance: Floats
) -> Calibration:
    """The most likely causal effects, given the tests, by Gauss-Newton.

    Parameters
    ----------
    sums : Sums
        Of `ladder_pass` at these parameters.
    model_variance : float array, (T,)
        Variance of the ladder's own lifts.

    Raises
    ------
    ModelRefused
        where the tests ask for more effect than there were moves.
    ConvergenceError
    """
    channels = ladder.contact.shape[1]
    weight = 1.0 / (tests.standard_error**2 + model_variance)
    delta = np.zeros(channels)
    before = lifts(ladder, entries, tests.channel)

    def own(delta: Floats) -> Floats:
        return lifts(causal(ladder, sums, delta), entries, tests.channel)

    tested = 1.0 / tests.standard_error**2

    def loss(delta: Floats) -> float:
        missed = tests.lift - own(delta)
        return float(weight @ missed**2 + delta @ delta / PRIOR_VARIANCE)

    for _ in range(MOST_STEPS):
        slopes = np.column_stack(
            [
                (own(delta + nudge) - own(delta - nudge)) / (2 * STEP)
                for nudge in STEP * np.eye(channels)
            ]
        )
        precision = slopes.T @ (weight[:, None] * slopes) + np.eye(channels) / PRIOR_VARIANCE
        gradient = slopes.T @ (weight * (tests.lift - own(delta))) - delta / PRIOR_VARIANCE
        move = np.linalg.solve(precision, gradient)
        while np.abs(move).max() > AT_REST and not loss(delta + move) < loss(delta):
            move = move / 2  # the step went beyond the valley
        if np.abs(move).max() <= AT_REST:
            break
        delta = delta + move
    else:
        raise ConvergenceError(f"ladder_calibrated: not at rest after {MOST_STEPS} steps")
    if _short(ladder, sums, delta):
        raise ModelRefused(
            "ladder_calibrated: the lift tests ask for more effect than there were moves: check "
            "the units of `lift`, a share of all conversions"
        )
    settled = causal(ladder, sums, delta)
    after = lifts(settled, entries, tests.channel)
    spread = np.sqrt(tests.standard_error**2 + model_variance)
    return Calibration(
        ladder=settled,
        delta=delta,
        covariance=np.asarray(
            np.linalg.inv(
                slopes.T @ (tested[:, None] * slopes) + np.eye(channels) / PRIOR_VARIANCE
            ),
            dtype=np.float64,
        ),
        before=before,
        after=after,
        z_before=(tests.lift - before) / spread,
        z_after=(tests.lift - after) / spread,
    )


def causal(ladder: Ladder, sums: Sums, delta: Floats) -> Ladder:
    """Effects times exp(-delta), and organic hazards that keep the expected number of causes, down
    to 0.
    """
    organic = ladder.organic + _moved_to_organic(ladder, sums, delta)
    return ladder._replace(effect=ladder.effect * np.exp(-delta), organic=np.maximum(organic, 0.0))


def _moved_to_organic(ladder: Ladder, sums: Sums, delta: Floats) -> Floats:
    """Causes per day that channels lose, (J, J + 1); below 0 where they gain."""
    at_risk = sums.effect_days @ ladder.kernel  # (J, J + 1, K)
    lost = (ladder.effect * -np.expm1(-delta) * at_risk).sum(axis=2)
    days = np.tensordot(ladder.week[1], sums.organic_days, 1)
    found = np.divide(lost, days, out=np.zeros_like(lost), where=days > 0)
    return np.asarray(found)


def _short(ladder: Ladder, sums: Sums, delta: Floats) -> bool:
    """Whether more than a hundredth of all causes would have to come from nowhere."""
    organic = ladder.organic + _moved_to_organic(ladder, sums, delta)
    days = np.tensordot(ladder.week[1], sums.organic_days, 1)
    missing = (np.maximum(-organic, 0.0) * days).sum()
    causes = (ladder.organic * days).sum() + (
        ladder.effect * (sums.effect_days @ ladder.kernel)
    ).sum()
    return bool(missing > 0.01 * causes)


def lifts(ladder: Ladder, entries: Entries, channels: Integers) -> Floats:
    """Share of all conversions that would be lost without each of these channels, (T,)."""
    count = ladder.contact.shape[1]
    sets = np.ones((len(channels) + 1, count), dtype=np.bool_)
    sets[np.arange(len(channels)) + 1, channels] = False
    values = conversion_chances(ladder, entries, sets)
    return np.asarray((values[0] - values[1:]) / values[0])


def ladder_calibrated(
    found: LadderFit, tests: LiftTests, seed: int = 7
) -> tuple[ChannelCredit, Floats, Calibration]:
    """Credit of the calibrated ladder, the variance of its shares that the tests leave, (K,), and
    the calibration.
    """
    ladder, entries = found.ladder, found.entries
    variance = np.zeros(len(tests.channel))
    if found.without:
        own = np.array([lifts(*part, tests.channel) for part in found.without])
        groups = len(own)
        variance = (groups - 1) / groups * ((own - own.mean(axis=0)) ** 2).sum(axis=0)
    calibration = calibrate(ladder, found.sums, entries, tests, variance)
    shares, organic, incremental, cut = divided(calibration.ladder, entries, seed)
    slopes = np.column_stack(
        [
            divided(causal(ladder, found.sums, calibration.delta + nudge), entries, seed).shares
            for nudge in STEP * np.eye(shares.size)
        ]
    )
    slopes = (slopes - shares[:, None]) / STEP
    before = found.credit
    conversions = float(before.conversions.sum()) + before.baseline_conversions
    revenue = float(before.revenue.sum()) + before.baseline_revenue
    diagnostics: dict[str, Any] = {"lift_tests": float(len(tests.channel)), "cut_below_zero": cut}
    credit = replace(
        before,
        conversions=shares * conversions,
        revenue=shares * revenue,
        incremental=incremental * conversions,
        baseline_conversions=organic * conversions,
        baseline_revenue=organic * revenue,
        diagnostics=diagnostics,
    )
    return credit, np.einsum("ki,ij,kj->k", slopes, calibration.covariance, slopes), calibration

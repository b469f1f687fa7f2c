"""The ladder's parameters by maximum likelihood: EM over hidden stages and hidden causes.

The customers' stages are hidden, and so is what caused each move: on a day the organic hazard and
every touch that still acts each cause a Poisson number of moves, and the customer moves if there is
any. With W = moves / (1 - exp(-hazard)) every update is in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy import optimize

from attribution.customer_days import CustomerDays
from attribution.errors import ConvergenceError
from attribution.models.ladder_chances import Ladder
from attribution.models.ladder_coordinates import (
    LEAST,
    coordinates,
    information,
    ladder_at,
    slope,
)
from attribution.models.ladder_days import DayKinds, day_kinds
from attribution.models.ladder_pass import Sums, customer_sums, ladder_pass
from attribution.paths import Floats

Shape = Literal["none", "geometric", "free"]
LAGS: dict[Shape, int] = {"none": 1, "geometric": 8, "free": 6}
MOST = 1 - 1e-6
GONE = (0.001, 0.03)  # per day: where the climb begins
EM_STEPS = 10  # before quasi-Newton steps
ROUNDS = 5  # of both
SMALL_SAMPLE = 6_000  # customers that the choice of the kernel is made on


class Fitted(NamedTuple):
    """A ladder at its top, the expected sums there, and the customers' stages at entry, (N, J)."""

    ladder: Ladder
    shape: Shape
    log_likelihood: float
    iterations: int
    sums: Sums
    entry_stages: Floats


@dataclass(frozen=True)
class KernelChoice:
    """Kernel, held-out log-likelihood per customer of each, and where the full fit may start."""

    shape: Shape
    held_out: dict[Shape, float]
    start: Ladder


def first_guess(days: CustomerDays, shape: Shape, gone: float = 0.005) -> Ladder:
    """Somewhere in the middle, the same for all channels but for how often they are met.

    gone : float
        The likelihood has a hill for customers who left in silence and another for slow ones.
    """
    stages, channels = days.stages, len(days.channels)
    starts = np.tril(np.ones((stages, stages))) / (1 + np.arange(stages)[:, None])
    met = np.bincount(days.touch_channel, minlength=channels) + 1.0
    upward = np.triu(np.ones((stages, stages + 1)), 1) / (1 + np.arange(stages + 1))
    return Ladder(
        start=starts / starts.sum(),
        entry=np.tile(days.entries().mean(axis=0).clip(1e-3, 0.9), (stages, 1)),
        contact=np.tile((met / (days.last_day.sum() + 2.0)).clip(1e-4, 0.5), (stages, 1)),
        organic=0.01 * upward,
        effect=np.repeat(0.05 * upward[:, :, None], channels, axis=2),
        kernel=_geometric(0.5, LAGS[shape]),
        recorded=np.append(np.full(stages, 0.6), 1.0),
        gone=gone,
    )


def with_kernel(ladder: Ladder, shape: Shape) -> Ladder:
    """The same ladder, its effects spread over the days."""
    return ladder._replace(kernel=_geometric(0.3, LAGS[shape]))


def fit_ladder(
    days: CustomerDays, shape: Shape, start: Ladder | None = None, rest: float = 1e-2
) -> Fitted:
    """Climb the likelihood to its top.

    A few steps of EM, of which none can fall, find the hill; near its top EM creeps, and
    quasi-Newton steps along the same expected sums (Jamshidian & Jennrich 1997, doi
    10.1111/1467-9868.00083) finish the climb.

    Parameters
    ----------
    start : Ladder, or None
        Where to climb from.
    rest : float
        The top is reached where no coordinate has a slope above it, in standard errors: those the
        coordinate had if nothing were hidden.

    Raises
    ------
    ConvergenceError
        where it is not reached; never a half-converged answer.
    """
    ladder = start or first_guess(days, shape)
    kinds = day_kinds(days, ladder.kernel.size)
    passes, reached = 0, -np.inf
    for _ in range(ROUNDS):
        ladder, sums = _em_steps(kinds, ladder, shape, reached)
        ladder, reached, taken, is_top = _newton_steps(kinds, ladder, sums, shape, rest)
        passes += EM_STEPS + 1 + taken
        if is_top:
            reached, sums, entry_stages = ladder_pass(kinds, ladder)
            return Fitted(ladder, shape, reached, passes + 1, sums, entry_stages)
    raise ConvergenceError(f"ladder: not at rest after {passes} passes; sample more customers")


def _em_steps(days: DayKinds, ladder: Ladder, shape: Shape, reached: float) -> tuple[Ladder, Sums]:
    for step in range(EM_STEPS + 1):
        value, sums, _ = ladder_pass(days, ladder)
        if value < reached - 1e-9 * abs(reached):
            raise ConvergenceError(f"ladder: the likelihood fell from {reached} to {value}")
        reached = value
        if step < EM_STEPS:
            ladder = improved(ladder, sums, shape)
    return ladder, sums


def _newton_steps(
    days: DayKinds, ladder: Ladder, sums: Sums, shape: Shape, rest: float
) -> tuple[Ladder, float, int, bool]:
    """Ladder, its log-likelihood, passes taken, and whether it is a top."""
    is_geometric = shape == "geometric"
    unit = np.sqrt(information(ladder, sums, is_geometric))

    def downhill(scaled: Floats) -> tuple[float, Floats]:
        row = scaled / unit
        there = ladder_at(row, ladder, is_geometric)
        value, sums, _ = ladder_pass(days, there)
        return -value, -slope(row, there, sums, is_geometric) / unit

    found = optimize.minimize(
        downhill,
        coordinates(ladder, is_geometric) * unit,
        jac=True,
        method="L-BFGS-B",
        options={"maxcor": 30, "maxiter": 500, "gtol": rest, "ftol": 0.0},
    )
    is_top = bool(np.abs(found.jac).max() <= rest)
    return ladder_at(found.x / unit, ladder, is_geometric), -float(found.fun), found.nfev, is_top


def improved(ladder: Ladder, sums: Sums, shape: Shape) -> Ladder:
    """The M step: every parameter in closed form from the expected sums."""
    stages = len(ladder.start)
    caused = ladder.effect[..., None] * ladder.kernel * sums.effect_moves  # (J, J+1, K, L)
    effect = _ratio(caused.sum(axis=3), sums.effect_days @ ladder.kernel)
    kernel, effect = _kernel(caused, effect, sums.effect_days, ladder.kernel, shape)
    upward = np.triu(np.ones((stages, stages + 1)), 1)
    passed = sums.passed[1:stages]
    recorded = ladder.recorded.copy()
    recorded[1:stages] = np.where(
        passed > 0, sums.recorded[1:stages] / np.maximum(passed, LEAST), recorded[1:stages]
    ).clip(LEAST, MOST)
    start = np.tril(sums.start + LEAST)
    leaving = float(sums.left / np.maximum(sums.left + sums.stayed, LEAST))
    return Ladder(
        start=start / start.sum(),
        entry=_ratio(sums.entry, sums.start.sum(axis=1, keepdims=True)).clip(LEAST, MOST),
        contact=_ratio(sums.contact, sums.days[:, None]).clip(LEAST, MOST),
        organic=upward
        * np.maximum(_ratio(ladder.organic * sums.organic_moves, sums.organic_days), LEAST),
        effect=upward[:, :, None] * np.maximum(effect, LEAST),
        kernel=kernel,
        recorded=recorded,
        gone=min(max(leaving, LEAST), 0.5),
    )


def _kernel(
    caused: Floats, effect: Floats, at_risk: Floats, kernel: Floats, shape: Shape
) -> tuple[Floats, Floats]:
    """Kernel and effects given it; the sum of a free kernel goes into the effects."""
    if shape == "none":
        return kernel, effect
    moves = caused.sum(axis=(0, 1, 2))
    days = np.einsum("sjc,sjcl->l", effect, at_risk)
    if shape == "free":
        free = np.maximum(_ratio(moves, days), LEAST)
        return free / free.sum(), effect * free.sum()

    def loss(ratio: float) -> float:
        shares = _geometric(ratio, kernel.size)
        return float(days @ shares - moves @ np.log(shares))

    before = float(np.clip(kernel[1] / kernel[0], 1e-4, 0.98))
    found = optimize.minimize_scalar(
        loss, bounds=(1e-4, 0.98), method="bounded", options={"xatol": 1e-9}
    )
    return _geometric(found.x if found.fun < loss(before) else before, kernel.size), effect


def _geometric(ratio: float, lags: int) -> Floats:
    shares = ratio ** np.arange(lags)
    return np.asarray(shares / shares.sum())


def _ratio(part: Floats, whole: Floats) -> Floats:
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 1e-300)


def choose_kernel(days: CustomerDays, seed: int) -> KernelChoice:
    """The kernel that makes customers likely whom it was not fitted on; the simplest of equals.

    A richer kernel is taken only where its gain exceeds two standard errors.
    """
    random = np.random.default_rng(seed)
    drawn = random.permutation(days.customers)[: 2 * SMALL_SAMPLE]
    half = drawn.size // 2
    train, test = np.zeros((2, days.customers), dtype=np.bool_)
    train[drawn[:half]], test[drawn[half:]] = True, True
    held_out: dict[Shape, Floats] = {}
    ladders: dict[Shape, Ladder] = {}
    for shape in LAGS:
        starts = (
            [with_kernel(ladders["none"], shape)]
            if ladders
            else [first_guess(days, shape, gone) for gone in GONE]
        )
        fits = [fit_ladder(days.part(train), shape, start, rest=0.1) for start in starts]
        ladders[shape] = max(fits, key=lambda fit: fit.log_likelihood).ladder
        held_out[shape] = np.concatenate(
            [found for _, found, _ in customer_sums(days.part(test), ladders[shape])]
        )
    chosen: Shape = "none"
    for shape in LAGS:
        gain = held_out[shape] - held_out[chosen]
        if gain.mean() > 2 * gain.std() / np.sqrt(gain.size):
            chosen = shape
    means = {shape: float(values.mean()) for shape, values in held_out.items()}
    return KernelChoice(chosen, means, ladders[chosen])

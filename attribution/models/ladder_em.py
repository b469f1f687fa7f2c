"""The ladder's parameters by maximum likelihood: EM over hidden stages and hidden causes.

The customers' stages are hidden, and so is what caused each move: on a day the organic hazard and
every touch that still acts each cause a Poisson number of moves, and the customer moves if there is
any. With W = moves / (1 - exp(-hazard)) every update is in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy import optimize, special

from attribution.customer_days import CustomerDays
from attribution.errors import ConvergenceError
from attribution.models.ladder_chances import Ladder
from attribution.models.ladder_pass import Sums, customer_sums, ladder_pass
from attribution.paths import Floats
from attribution.statistics import Booleans

Shape = Literal["none", "geometric", "free"]
LAGS: dict[Shape, int] = {"none": 1, "geometric": 8, "free": 6}
LEAST = 1e-9  # hazards and chances are kept this far from 0, so that they may come back
MOST = 1 - 1e-6
GONE = (0.001, 0.03)  # per day: where the climb begins
SMALL_SAMPLE = 6_000  # customers that the choice of the kernel is made on


class Fitted(NamedTuple):
    ladder: Ladder
    shape: Shape
    log_likelihood: float
    iterations: int


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
    days: CustomerDays,
    shape: Shape,
    start: Ladder | None = None,
    tolerance: float = 1e-6,
    most_passes: int = 2_000,
) -> Fitted:
    """Climb the likelihood until a step gains less than `tolerance` per customer.

    Three plain steps of EM make one long step (SQUAREM, Varadhan & Roland 2008, doi
    10.1111/j.1467-9469.2007.00585.x) that is taken back where it is no gain: the likelihood never
    falls.

    Raises
    ------
    ConvergenceError
        after `most_passes`; never a half-converged answer.
    """
    ladder = start or first_guess(days, shape)
    total = float(days.weight.sum())
    reached, sums, _ = ladder_pass(days, ladder)
    passes = 1
    reach = 1.0  # how far a long step may go; grown where long steps succeed
    while passes < most_passes:
        first = improved(ladder, sums, shape)
        middle, sums, _ = ladder_pass(days, first)
        second = improved(first, sums, shape)
        far = _extrapolated(ladder, first, second, shape, reach)
        value, sums, _ = ladder_pass(days, far)
        passes += 2
        if value >= middle:
            ladder = far
            reach = min(4 * reach, 64.0)
        else:
            ladder = second
            value, sums, _ = ladder_pass(days, ladder)
            passes += 1
            reach = max(reach / 4, 1.0)
        if value < reached - 1e-9 * abs(reached):
            raise ConvergenceError(f"ladder: the likelihood fell from {reached} to {value}")
        gained, reached = value - reached, value
        if gained < tolerance * total:
            return Fitted(ladder, shape, reached, passes)
    raise ConvergenceError(f"ladder: not at rest after {passes} passes; sample more customers")


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


def _free(ladder: Ladder) -> Floats:
    """Parameters on scales without bounds, in one row."""
    upward, below = _places(len(ladder.start))
    return np.concatenate(
        [
            np.log(ladder.start[below]),
            special.logit(ladder.entry).ravel(),
            special.logit(ladder.contact).ravel(),
            np.log(ladder.organic[upward]),
            np.log(ladder.effect[upward]).ravel(),
            np.log(ladder.kernel),
            special.logit(ladder.recorded[1:-1]),
            [special.logit(ladder.gone)],
        ]
    )


def _places(stages: int) -> tuple[Booleans, Booleans]:
    """Moves there are, (J, J + 1), and rungs that a stage may have behind it, (J, J)."""
    upward = np.triu(np.ones((stages, stages + 1), dtype=np.bool_), 1)
    return upward, np.tril(np.ones((stages, stages), dtype=np.bool_))


def _bounded(row: Floats, like: Ladder) -> Ladder:
    """The inverse of `_free`."""
    stages, channels = like.contact.shape
    upward, below = _places(stages)
    moves = int(upward.sum())
    sizes = [int(below.sum()), stages * channels, stages * channels, moves, moves * channels]
    sizes += [like.kernel.size, stages - 1, 1]
    parts = np.split(row, np.cumsum(sizes)[:-1])
    start, kernel = np.zeros_like(like.start), np.exp(parts[5])
    start[below] = np.exp(parts[0])
    organic, effect = np.zeros_like(like.organic), np.zeros_like(like.effect)
    organic[upward] = np.exp(parts[3]).clip(LEAST, 50.0)
    effect[upward] = np.exp(parts[4]).reshape(moves, channels).clip(LEAST, 50.0)
    recorded = like.recorded.copy()
    recorded[1:-1] = special.expit(parts[6])[:].clip(LEAST, MOST)
    return Ladder(
        start=start / start.sum(),
        entry=special.expit(parts[1]).reshape(stages, channels).clip(LEAST, MOST),
        contact=special.expit(parts[2]).reshape(stages, channels).clip(LEAST, MOST),
        organic=organic,
        effect=effect,
        kernel=kernel / kernel.sum(),
        recorded=recorded,
        gone=float(special.expit(parts[7][0]).clip(LEAST, 0.5)),
    )


def _extrapolated(
    ladder: Ladder, first: Ladder, second: Ladder, shape: Shape, reach: float
) -> Ladder:
    before, once, twice = _free(ladder), _free(first), _free(second)
    step, bend = once - before, twice - 2 * once + before
    length = float(np.sqrt(step @ step / max(float(bend @ bend), 1e-300)))
    length = float(np.clip(length, 1.0, max(reach, 1.0)))
    far = _bounded(before + 2 * length * step + length**2 * bend, ladder)
    if shape == "geometric":  # a mean of logarithms of geometric kernels is one again
        far = far._replace(kernel=_geometric(float(far.kernel[1] / far.kernel[0]), far.kernel.size))
    return far


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
        fits = [fit_ladder(days.part(train), shape, start, tolerance=1e-5) for start in starts]
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

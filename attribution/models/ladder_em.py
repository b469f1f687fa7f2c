"""The ladder's parameters by maximum likelihood: EM over hidden stages and hidden causes.

The customers' stages are hidden, and so is what caused each move: on a day the organic hazard and
every touch that still acts each cause a Poisson number of moves, and the customer moves if there is
any. With W = moves / (1 - exp(-hazard)) every update is in closed form.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from scipy import optimize
from scipy.linalg import solve_triangular

from attribution.customer_days import CustomerDays
from attribution.errors import ConvergenceError
from attribution.models.ladder_chances import Ladder
from attribution.models.ladder_coordinates import (
    LEAST,
    at_stages,
    coordinates,
    ladder_at,
    slope,
)
from attribution.models.ladder_days import DayKinds, day_kinds
from attribution.models.ladder_pass import ladder_pass
from attribution.models.ladder_scores import curvature
from attribution.models.ladder_sums import Sums
from attribution.paths import Floats

Shape = Literal["none", "geometric", "free"]
LAGS: dict[Shape, int] = {"none": 1, "geometric": 8, "free": 6}
MOST = 1 - LEAST
EM_STEPS = 10  # before quasi-Newton steps; from a start that is near the top
FEW_STEPS = 2
REST = 0.03  # standard errors: less than any figure shows
STEPS = 40  # of those, until the hill is measured anew
ROUNDS = 8  # of both
FAR = 1e10  # beyond any log-likelihood, and finite: at infinity the search would end


class Fitted(NamedTuple):
    """A ladder at its top, the expected sums there, and the customers' stages at entry, (N, J)."""

    ladder: Ladder
    shape: Shape
    log_likelihood: float
    iterations: int
    sums: Sums
    entry_stages: Floats


def first_guess(days: CustomerDays, shape: Shape, gone: float = 0.005) -> Ladder:
    """Somewhere in the middle, the same for all channels but for how often they are met.

    gone : float
        Chance per day to leave in silence.
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
        kernel=geometric(0.5, LAGS[shape]),
        recorded=np.append(np.full(stages, 0.6), 1.0),
        gone=gone,
    )


def fit_ladder(
    days: CustomerDays,
    shape: Shape,
    start: Ladder | None = None,
    rest: float = REST,
    far: bool = False,
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
        The top is reached where nothing has a slope above it, in standard errors.
    far : bool
        Whether the start may be far from the top.

    Raises
    ------
    ConvergenceError
        where it is not reached; never a half-converged answer.
    """
    ladder = start or first_guess(days, shape)
    kinds = day_kinds(days, ladder.kernel.size, ladder.week.shape[1])
    passes, reached, steps = 0, -np.inf, FEW_STEPS if start and not far else EM_STEPS
    for _ in range(ROUNDS):
        ladder, sums = _em_steps(kinds, ladder, shape, steps, reached)
        bend = curvature(days, ladder, sums, shape == "geometric")
        ladder, reached, taken, is_top = _newton_steps(kinds, ladder, bend, shape, rest)
        passes += steps + 1 + taken
        steps = FEW_STEPS
        if is_top:
            reached, sums, entry_stages = ladder_pass(kinds, ladder)
            return Fitted(ladder, shape, reached, passes + 1, sums, entry_stages)
    raise ConvergenceError(f"ladder: not at rest after {passes} passes; sample more customers")


def _em_steps(
    days: DayKinds, ladder: Ladder, shape: Shape, steps: int, reached: float
) -> tuple[Ladder, Sums]:
    for step in range(steps + 1):
        value, sums, _ = ladder_pass(days, ladder)
        if not np.isfinite(value):
            raise ConvergenceError(
                "ladder: some customer's days are impossible, such as a rung recorded after a "
                "higher one: see statistics.ladder_days"
            )
        if value < reached - 1e-9 * abs(reached):
            raise ConvergenceError(f"ladder: the likelihood fell from {reached} to {value}")
        reached = value
        if step < steps:
            ladder = improved(ladder, sums, shape)
    return ladder, sums


def _newton_steps(
    days: DayKinds, ladder: Ladder, bend: Floats, shape: Shape, rest: float
) -> tuple[Ladder, float, int, bool]:
    """Ladder, its log-likelihood, passes taken, and whether it is a top.

    In coordinates that make the likelihood about a round hill: `bend` is how it bends, (P, P).
    """
    is_geometric = shape == "geometric"
    root = np.linalg.cholesky(bend)  # row = (root')^-1 scaled

    def row_of(scaled: Floats) -> Floats:
        return np.asarray(solve_triangular(root, scaled, lower=True, trans="T"))

    def downhill(scaled: Floats) -> tuple[float, Floats]:
        row = row_of(scaled)
        there = ladder_at(row, ladder, is_geometric)
        value, sums, _ = ladder_pass(days, there)
        if not np.isfinite(value):  # impossible so far off: the search comes back
            return FAR, np.zeros_like(scaled)
        uphill = slope(row, there, sums, is_geometric)
        return -value, -solve_triangular(root, uphill, lower=True)

    found = optimize.minimize(
        downhill,
        root.T @ coordinates(ladder, is_geometric),
        jac=True,
        method="L-BFGS-B",
        options={"maxcor": 30, "maxiter": STEPS, "gtol": rest, "ftol": 0.0},
    )
    is_top = bool(found.fun < FAR and np.abs(found.jac).max() <= rest)
    return ladder_at(row_of(found.x), ladder, is_geometric), -float(found.fun), found.nfev, is_top


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
    organic, organic_week = _organic(ladder, sums)
    contact, activity, contact_week = _contacts(ladder, sums)
    leaving = float(sums.left / np.maximum(sums.left + sums.stayed, LEAST))
    return Ladder(
        start=start / start.sum(),
        entry=_ratio(
            at_stages(sums.entry, ladder), at_stages(sums.start.sum(axis=1)[:, None], ladder)
        ).clip(LEAST, MOST),
        contact=contact,
        organic=upward * np.maximum(organic, LEAST),
        effect=upward[:, :, None] * np.maximum(effect, LEAST),
        kernel=kernel,
        recorded=recorded,
        gone=min(max(leaving, LEAST), 0.5),
        activity=activity,
        activity_share=np.maximum(sums.classes / sums.classes.sum(), LEAST),
        week=np.stack([contact_week, organic_week]),
    )


def _organic(ladder: Ladder, sums: Sums) -> tuple[Floats, Floats]:
    """Organic hazards, (J, J + 1), and their factors by weekday, (W,), in turn."""
    week = ladder.week[1]
    caused = ladder.organic_by_weekday() * sums.organic_moves
    organic = _ratio(caused.sum(axis=0), np.tensordot(week, sums.organic_days, 1))
    if week.size > 1:
        week = _factors(caused.sum(axis=(1, 2)), (organic * sums.organic_days).sum(axis=(1, 2)))
        organic, week = organic * week.mean(), week / week.mean()
    return organic, week


def _contacts(ladder: Ladder, sums: Sums) -> tuple[Floats, Floats, Floats]:
    """Contact chances, (J, K), activity of the classes, (A,), and factors by weekday, (W,).

    Of several classes or weekdays by latent Poisson counts, in turn.
    """
    week, activity = ladder.week[0], ladder.activity
    if activity.size == week.size == 1:
        met, days = (at_stages(of, ladder)[0, 0] for of in (sums.contact, sums.days[..., None]))
        return _ratio(met, days).clip(LEAST, MOST), activity, week
    counts, rate = _counts_and_rates(ladder, sums)
    # (W, A), of an activity and a factor of 1
    by_class = (sums.days * rate.sum(axis=1)).sum(axis=2)
    if activity.size > 1:
        activity = _factors(counts.sum(axis=(0, 2, 3)), week @ by_class)
    if week.size > 1:
        week = _factors(counts.sum(axis=(1, 2, 3)), by_class @ activity)
    contact = -np.expm1(-rate * activity[0] * week.mean())
    return contact.clip(LEAST, MOST), activity / activity[0], week / week.mean()


def _counts_and_rates(ladder: Ladder, sums: Sums) -> tuple[Floats, Floats]:
    """Latent Poisson counts of contacts, (W, A, J, K), and their rates, (S, K), in the first class
    on a mean weekday; given the rates before.
    """
    week, activity = ladder.week[0], ladder.activity
    each = week[:, None, None, None] * activity[:, None, None] * -np.log1p(-ladder.contact)
    counts = sums.contact * each / -np.expm1(-each)
    met = np.einsum("w,a,waj->j", week, activity, sums.days)[:, None]
    rate = _ratio(at_stages(counts.sum(axis=(0, 1)), ladder), at_stages(met, ladder))
    return counts, rate


def met_by_stage(ladder: Ladder, sums: Sums) -> Ladder:
    """The same ladder with contact chances by stage: of the customers whom it takes to be there,
    by whatever it knows them. Classes and weekdays stay what they are.
    """
    shape = (len(ladder.organic), ladder.contact.shape[1])
    if ladder.contact.shape == shape:
        return ladder
    ladder = ladder._replace(
        entry=np.broadcast_to(ladder.entry, shape), contact=np.broadcast_to(ladder.contact, shape)
    )
    for _ in range(EM_STEPS):
        contact = -np.expm1(-_counts_and_rates(ladder, sums)[1])
        ladder = ladder._replace(contact=contact.clip(LEAST, MOST))
    return ladder


def _factors(counts: Floats, expected: Floats) -> Floats:
    """Of what was never at risk nothing is known: it is as it would be otherwise."""
    return np.where(expected > 0, np.maximum(_ratio(counts, expected), LEAST), 1.0)


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
        shares = geometric(ratio, kernel.size)
        return float(days @ shares - moves @ np.log(shares))

    before = float(np.clip(kernel[1] / kernel[0], 1e-4, 0.98))
    found = optimize.minimize_scalar(
        loss, bounds=(1e-4, 0.98), method="bounded", options={"xatol": 1e-9}
    )
    return geometric(found.x if found.fun < loss(before) else before, kernel.size), effect


def geometric(ratio: float, lags: int) -> Floats:
    """Each day after a touch `ratio` times the day before, (L,); sums to 1."""
    shares = ratio ** np.arange(lags)
    return np.asarray(shares / shares.sum())


def _ratio(part: Floats, whole: Floats) -> Floats:
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 1e-300)

"""What form the ladder takes: whether touches tell of the stage, how long a touch acts, whether
customers differ in how often they are met, and whether weekdays differ. Chosen by customers whom it
was not fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attribution.customer_days import CustomerDays
from attribution.models.ladder_chances import Ladder
from attribution.models.ladder_days import day_kinds
from attribution.models.ladder_em import LAGS, Shape, first_guess, fit_ladder, geometric
from attribution.models.ladder_foresight import foresight
from attribution.models.ladder_pass import log_likelihoods
from attribution.paths import Floats

GONE = (0.001, 0.03)  # per day: where the climb begins
CLASSES = np.array([1.0, 2.0, 4.0])  # activity: where the climb begins
SAMPLE = 4_000  # customers to fit on, and as many to judge by
SURELY = 5  # standard errors of a gain: chance and small misfits bring four
NEAR = 0.3  # of the top, in standard errors: near enough to compare forms


@dataclass(frozen=True)
class Choice:
    """The form of the ladder.

    Attributes
    ----------
    shape : none, geometric, free
        Of the kernel.
    held_out : mapping of str to float
        Log-likelihood per customer held out: of each kernel, and without one of `one_class` and
        `several_classes` of activity, and of `weekdays` that differ.
    foreseen : mapping of str to float
        Log-chance per customer held out of its moves and records, given its touches, where these
        are `met_by_stage` or `met_alike`.
    start : Ladder
        Of that form, near the top: where the full fit may start.
    """

    shape: Shape
    held_out: dict[str, float]
    foreseen: dict[str, float]
    start: Ladder


def with_kernel(ladder: Ladder, shape: Shape) -> Ladder:
    """The same ladder, its effects spread over the days."""
    return ladder._replace(kernel=geometric(0.3, LAGS[shape]))


def with_classes(ladder: Ladder) -> Ladder:
    """The same ladder for customers of several classes of activity, met as often on average."""
    share = np.full(CLASSES.size, 1 / CLASSES.size)
    return ladder._replace(
        contact=-np.expm1(np.log1p(-ladder.contact) / (CLASSES @ share)),
        activity=CLASSES,
        activity_share=share,
    )


def met_alike(ladder: Ladder) -> Ladder:
    """The same ladder, whose touches tell nothing of the stage."""
    return ladder._replace(
        entry=ladder.entry.mean(axis=0, keepdims=True),
        contact=ladder.contact.mean(axis=0, keepdims=True),
    )


def with_weekdays(ladder: Ladder) -> Ladder:
    """The same ladder with weekdays that may differ."""
    return ladder._replace(week=np.ones((2, 7)))


def choose(days: CustomerDays, seed: int, weekdays: bool = False) -> Choice:
    """The form that makes customers likely whom it was not fitted on; the simplest of equals.

    Touches tell of the stage, for customers are met by what they want, unless moves are foreseen
    better without: where customers are met for other reasons, too, hidden stages would explain
    these instead of the moves.

    Weekdays may differ where that is allowed: a bank that books on Monday what happened on Sunday
    would have organic Mondays.

    Another one is taken only where its gain exceeds five standard errors. The likelihood has a hill
    for customers who left in silence and another for slow ones, so the first climb has two starts.
    """
    train, test = _halves(days, seed)
    fits = [
        fit_ladder(train, "none", first_guess(train, "none", gone), NEAR, far=True) for gone in GONE
    ]
    plain = max(fits, key=lambda fit: fit.log_likelihood).ladder
    uneven = fit_ladder(train, "none", with_classes(plain), NEAR, far=True).ladder
    judged = {"one_class": _held_out(test, plain), "several_classes": _held_out(test, uneven)}
    several = _is_gain(judged["several_classes"] - judged["one_class"])
    by_stage = uneven if several else plain
    guess = first_guess(train, "none", max(plain.gone, GONE[0]))._replace(
        activity=by_stage.activity, activity_share=by_stage.activity_share
    )
    alike = fit_ladder(train, "none", met_alike(guess), NEAR, far=True).ladder
    foreseen = {
        name: test.weight * foresight(test, ladder)
        for name, ladder in (("met_by_stage", by_stage), ("met_alike", alike))
    }
    asked = not _is_gain(foreseen["met_alike"] - foreseen["met_by_stage"])
    ladders: dict[Shape, Ladder] = {"none": by_stage if asked else alike}
    judged["none"] = _held_out(test, ladders["none"])
    if weekdays:
        weekly = fit_ladder(train, "none", with_weekdays(ladders["none"]), NEAR).ladder
        judged["weekdays"] = _held_out(test, weekly)
        if _is_gain(judged["weekdays"] - judged["none"]):
            ladders["none"], judged["none"] = weekly, judged["weekdays"]
    chosen: Shape = "none"
    kernels: tuple[Shape, ...] = ("geometric", "free")
    for shape in kernels:
        ladders[shape] = fit_ladder(train, shape, with_kernel(ladders["none"], shape), NEAR).ladder
        judged[shape] = _held_out(test, ladders[shape])
        if not _is_gain(judged[shape] - judged[chosen]):
            break  # where a touch seems to act on its day alone, a richer kernel is not tried
        chosen = shape
    means, seen = (
        {name: float(values.mean()) for name, values in of.items()} for of in (judged, foreseen)
    )
    return Choice(chosen, means, seen, ladders[chosen])


def _halves(days: CustomerDays, seed: int) -> tuple[CustomerDays, CustomerDays]:
    """Two samples of the customers that share none."""
    drawn = np.random.default_rng(seed).permutation(days.customers)[: 2 * SAMPLE]
    half = drawn.size // 2
    train, test = np.zeros((2, days.customers), dtype=np.bool_)
    train[drawn[:half]], test[drawn[half:]] = True, True
    return days.part(train), days.part(test)


def _held_out(days: CustomerDays, ladder: Ladder) -> Floats:
    kinds = day_kinds(days, ladder.kernel.size, ladder.week.shape[1])
    return days.weight * log_likelihoods(kinds, ladder)


def _is_gain(gain: Floats) -> bool:
    return bool(gain.mean() > SURELY * gain.std() / np.sqrt(gain.size))

"""Additive hazard: every touch adds a decaying rate of conversion. It needs the times."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from attribution.errors import ConvergenceError, InvalidPaths, NoConversions, UsageError
from attribution.paths import Floats, Integers, add_up, amounts, check_channels
from attribution.statistics import Booleans, ChannelCredit, freeze, whole_numbers

DAY = 86_400.0  # seconds
YOUNGEST = 1.0  # seconds: at age 0 a steep enough decay would explain any conversion
# Half-lives are kept between these. Shorter ones measure the clocks of the exports; under longer
# ones the hazard is flat over all ages seen, and the climb would go on for ever to no effect.
SHORTEST_HALF_LIFE = 60.0  # seconds
LONGEST_HALF_LIFE = 10.0  # longest ages
STANDSTILL = 1e-12  # steps this short are rounding


@dataclass(frozen=True, eq=False)
class HazardTouches:
    """A weighted sample of whole journeys with a touch; one row per touch, in any order.

    Whether a journey is drawn may depend on whether it converts and on chance. A journey ends with
    its only conversion, or has none.

    Attributes
    ----------
    channels : tuple of str, (K,)
        Sorted and unique.
    channel : int array, (n,)
        Index into `channels`.
    age_seconds : float array, (n,)
        Total seconds, >= 0, from the touch to the conversion of its journey, or to the moment up
        to which the journey is known not to have converted.
    converted : bool array, (n,)
        Whether the journey of the touch converts.
    journey : int array, (n,)
        Any number that the touches of one journey share and those of no other.
    weight : float array, (n,)
        1 / probability with which the journey was drawn, > 0.
    revenue : float array, (n,)
        Money of the journey's conversion, repeated on each of its touches; 0 where it has none.
    total_conversions, total_revenue : float
        C >= 0 and R over all journeys with a touch, drawn or not: what credit must sum to.

    Raises
    ------
    InvalidPaths
        Where shapes are wrong, a number is not finite or out of range, or the rows of a journey
        contradict each other.
    """

    channels: tuple[str, ...]
    channel: Integers
    age_seconds: Floats
    converted: Booleans
    journey: Integers
    weight: Floats
    revenue: Floats
    total_conversions: float
    total_revenue: float

    def __post_init__(self) -> None:
        check_channels(self.channels, "hazard touches")
        size = np.size(self.channel)
        for name in ("channel", "journey"):
            numbers = whole_numbers(f"hazard touches: {name}", getattr(self, name), size)
            freeze(self, name, numbers)
        for name, lowest in (("age_seconds", 0.0), ("weight", 0.0), ("revenue", -math.inf)):
            checked = amounts(f"hazard touches: {name}", getattr(self, name), size, lowest)
            freeze(self, name, checked)
        converted = np.array(self.converted)
        if converted.dtype != np.bool_ or converted.shape != (size,):
            raise InvalidPaths(f"hazard touches: converted is not bool of shape ({size},)")
        converted.setflags(write=False)
        freeze(self, "converted", converted)
        amounts("hazard touches: total_conversions", [self.total_conversions], 1)
        amounts("hazard touches: total_revenue", [self.total_revenue], 1, -math.inf)
        self._check_rows()

    def _check_rows(self) -> None:
        _, first, place = np.unique(self.journey, return_index=True, return_inverse=True)
        same = first[place]
        for wrong, what in (
            ((self.channel < 0) | (self.channel >= len(self.channels)), "points at no channel"),
            (self.weight == 0, "has the weight 0"),
            ((self.revenue != 0) & ~self.converted, "has revenue without a conversion"),
            (self.converted != self.converted[same], "and its journey do not both convert"),
            (self.weight != self.weight[same], "has another weight than its journey"),
            (self.revenue != self.revenue[same], "has another revenue than its journey"),
        ):
            if wrong.any():
                raise InvalidPaths(f"hazard touches: row {int(np.argmax(wrong))} {what}")


class Hazard(NamedTuple):
    """What a touch adds to the hazard at an age: strength * decay * exp(-decay * age), per second.

    strength : float array, (K,), conversions that a touch brings in the long run, >= 0
    decay : float array, (K,), per second, > 0
    """

    strength: Floats
    decay: Floats


class Sample(NamedTuple):
    """Touches in the order of journeys: n in all, m of them in the J journeys that convert."""

    channel: Integers  # (n,)
    age: Floats  # (n,), seconds
    weight: Floats  # (n,)
    revenue: Floats  # (n,)
    won: Integers  # (m,), index of the touches whose journey converts
    journey: Integers  # (m,), 0..J-1
    first: Integers  # (J,), where each journey starts among the m
    slowest: float  # decay, per second
    fastest: float


class Step(NamedTuple):
    """One EM step: where the hazard moves to, and what the one before says of the conversions."""

    hazard: Hazard
    log_likelihood: float  # of the hazard before the step
    cause: Floats  # (m,), probability that the touch caused the conversion; 1 in each journey
    caused: Floats  # (K,), weighted conversions by channel


def additive_hazard(
    touches: HazardTouches, *, tolerance: float = 1e-6, max_iterations: int = 50_000
) -> ChannelCredit:
    """Credit each touch by the probability that it caused the conversion of its journey.

    The hazard of a journey is the sum over its touches of beta_c w_c exp(-w_c age), c the channel.
    EM: touch i of a converting journey is its cause with p_i ~ beta w exp(-w age), 1 in total; then

        beta = sum p / sum (1 - exp(-w age)),
        w    = sum p / sum (p age + beta age exp(-w age)),

    the sums of p over touches of converting journeys, those without p over all touches, aged to
    conversion or to the end of watching. With the new beta and the old w on the right the second
    line maximises a lower bound of the likelihood that touches it at the old w, so that no step
    lowers the likelihood. All sums are weighted. With few conversions the likelihood may have
    several peaks; the climb starts from the same hazard for all channels. In this model nothing but
    touches can convert: a conversion that would have come anyway is credited too.

    Parameters
    ----------
    touches : HazardTouches
    tolerance : float
        Largest distance to the limit, > 0, estimated from two successive steps: of any share of
        credit, and of any channel's share times the logarithm of its half-life.
    max_iterations : int
        >= 1. Some hundred are usual, some ten thousand where there are but 30 conversions.

    Returns
    -------
    ChannelCredit
        (K,) conversions >= 0: p summed by channel and scaled to C. Revenue: p times revenue,
        scaled to R; in the proportions of conversions where the sample's revenue is 0 or has the
        other sign. Diagnostics: `iterations`; `log_likelihood`, with ages in seconds and weights
        as they are; `half_life_days:<channel>` of channels with credit, ln 2 / w;
        `half_lives_at_bound`, how many of these lie at a minute or at ten times the longest age.

    Raises
    ------
    NoConversions
        Where no touch belongs to a converting journey, or C is 0.
    ConvergenceError
        Where max_iterations do not reach the tolerance.
    UsageError
        Where an option is out of range.

    References
    ----------
    Zhang, Wei, Ren 2014, doi 10.1109/ICDM.2014.103. The bound: Hunter, Lange 2004,
    doi 10.1198/0003130042836.
    """
    if not (tolerance > 0 and max_iterations >= 1):
        given = f"tolerance={tolerance:g}, max_iterations={max_iterations}"
        raise UsageError(f"additive_hazard: {given}: give a tolerance above 0, and an iteration")
    if not (touches.converted.any() and touches.total_conversions > 0):
        raise NoConversions("no journey with a touch converts: additive_hazard credits nothing")
    sample = prepare(touches)
    iterations, hazard, step = _converge(sample, touches.channels, tolerance, max_iterations)
    share = step.caused / step.caused.sum()
    return ChannelCredit(
        conversions=share * touches.total_conversions,
        revenue=_revenue(sample, step, share, touches.total_revenue),
        diagnostics={"iterations": float(iterations), "log_likelihood": step.log_likelihood}
        | _half_lives(sample, hazard, share, touches.channels),
    )


def prepare(touches: HazardTouches) -> Sample:
    """The touches sorted, so that the order of rows shows in no sum; some journey converts."""
    order = np.lexsort((touches.channel, touches.age_seconds, touches.journey))
    age = np.maximum(touches.age_seconds[order], YOUNGEST)
    won = np.flatnonzero(touches.converted[order])
    names = touches.journey[order[won]]
    _, first, journey = np.unique(names, return_index=True, return_inverse=True)
    longest = max(LONGEST_HALF_LIFE * float(age.max()), SHORTEST_HALF_LIFE)
    return Sample(
        channel=touches.channel[order],
        age=age,
        weight=touches.weight[order],
        revenue=touches.revenue[order],
        won=won,
        journey=journey,
        first=first,
        slowest=math.log(2) / longest,
        fastest=math.log(2) / SHORTEST_HALF_LIFE,
    )


def first_guess(sample: Sample, size: int) -> Hazard:
    """The same for all channels, (size,), decaying as fast as converting touches are young."""
    mean = float(np.average(sample.age[sample.won], weights=sample.weight[sample.won]))
    decay = np.clip(np.full(size, 1 / mean), sample.slowest, sample.fastest)
    return Hazard(np.ones(size), decay)


def em_step(sample: Sample, old: Hazard) -> Step:
    """Infer causes from the old hazard, and the hazard from these causes."""
    size = old.decay.size
    channel, age = sample.channel[sample.won], sample.age[sample.won]
    with np.errstate(divide="ignore"):  # strength 0: never a cause
        height = np.log(old.strength * old.decay)
    # In logarithms: days after a touch that decays within a minute, exp() gives 0 / 0.
    log_hazard = height[channel] - old.decay[channel] * age
    top = np.maximum.reduceat(log_hazard, sample.first)
    cause = np.exp(log_hazard - top[sample.journey])
    total = np.add.reduceat(cause, sample.first)
    cause /= total[sample.journey]
    weight = sample.weight[sample.won]
    weighted = weight * cause
    caused, aged = add_up(channel, weighted, size), add_up(channel, weighted * age, size)
    spent, left = _exposure(sample, old.decay)
    log_likelihood = weight[sample.first] @ (top + np.log(total)) - old.strength @ spent
    strength = np.divide(caused, spent, out=np.zeros(size), where=caused > 0)
    decay = np.divide(caused, aged + strength * left, out=old.decay.copy(), where=caused > 0)
    # The bound on the likelihood has a single peak in each decay, so that cutting keeps the ascent.
    decay = np.clip(decay, sample.slowest, sample.fastest)
    return Step(Hazard(strength, decay), float(log_likelihood), cause, caused)


def _exposure(sample: Sample, decay: Floats) -> tuple[Floats, Floats]:
    """Weighted sums over all touches of 1 - exp(-w age), and of age exp(-w age), (K,) each."""
    spent = -np.expm1(-decay[sample.channel] * sample.age)
    return (
        add_up(sample.channel, sample.weight * spent, decay.size),
        add_up(sample.channel, sample.weight * sample.age * (1 - spent), decay.size),
    )


def _converge(
    sample: Sample, channels: Sequence[str], tolerance: float, max_iterations: int
) -> tuple[int, Hazard, Step]:
    """Iterations, the hazard they end at, and the causes under it."""
    hazard = first_guess(sample, len(channels))
    share = np.full(len(channels), np.nan)
    before = math.nan
    for iteration in range(1, max_iterations + 1):
        step = em_step(sample, hazard)
        now = step.caused / step.caused.sum()
        turn = now * np.log(step.hazard.decay / hazard.decay)
        moved = float(np.abs([now - share, turn]).max())
        # Steps shrink geometrically, and EM's slowly: those still to come add up to the distance,
        # and a short step alone would say nothing.
        if moved**2 <= tolerance * (before - moved) or moved <= STANDSTILL:
            return iteration, hazard, step
        share, before, hazard = now, moved, step.hazard
    reached = f"tolerance {tolerance:g} not reached in {max_iterations} iterations"
    raise ConvergenceError(f"additive_hazard: {reached}: raise max_iterations or the tolerance")


def _revenue(sample: Sample, step: Step, share: Floats, total: float) -> Floats:
    """Revenue by the causes of each conversion, scaled to the total, (K,)."""
    paid = sample.weight[sample.won] * step.cause * sample.revenue[sample.won]
    revenue = add_up(sample.channel[sample.won], paid, share.size)
    drawn = float(revenue.sum())
    return revenue * (total / drawn) if drawn * total > 0 else share * total


def _half_lives(
    sample: Sample, hazard: Hazard, share: Floats, channels: Sequence[str]
) -> dict[str, float]:
    credited = np.flatnonzero(share > 0).tolist()
    decay = hazard.decay[credited]
    bound = (decay == sample.slowest) | (decay == sample.fastest)
    found = {"half_lives_at_bound": float(bound.sum())}
    for channel, half_life in zip(credited, np.log(2) / decay / DAY, strict=True):
        found[f"half_life_days:{channels[channel]}"] = float(half_life)
    return found

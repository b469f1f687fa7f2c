"""Additive hazard by hand, against loops and quadrature, on simulated journeys, on odd input."""

import math
import time
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize

from attribution.errors import ConvergenceError, InvalidPaths, NoConversions, UsageError
from attribution.models.additive_hazard import (
    DAY,
    Hazard,
    HazardTouches,
    additive_hazard,
    em_step,
    first_guess,
    prepare,
)

CHANNELS = ("a", "b", "c")

# Journeys of (ages in days by channel, whether it converts, weight, revenue).
JOURNEYS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(CHANNELS), st.floats(0, 40)), min_size=1, max_size=4),
        st.booleans(),
        st.sampled_from([1, 2.5, 7]),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=10,
).filter(lambda journeys: any(converted for _, converted, *_ in journeys))

HAZARDS = st.builds(
    Hazard,
    st.lists(st.floats(0.01, 3), min_size=3, max_size=3).map(np.array),
    st.lists(st.floats(0.01, 5), min_size=3, max_size=3).map(lambda rates: np.array(rates) / DAY),
)


def touches_of(journeys, channels=CHANNELS):
    rows = [
        (channels.index(channel), days * DAY, converted, number, weight, revenue * converted)
        for number, (touches, converted, weight, revenue) in enumerate(journeys)
        for channel, days in touches
    ]
    converting = [each for each in journeys if each[1]]
    return HazardTouches(
        channels,
        *map(np.array, zip(*rows, strict=True)),
        total_conversions=float(sum(weight for _, _, weight, _ in converting)),
        total_revenue=float(sum(weight * revenue for _, _, weight, revenue in converting)),
    )


def taken(touches, rows):
    """The same with these rows alone, in this order."""
    columns = ("channel", "age_seconds", "converted", "journey", "weight", "revenue")
    return replace(touches, **{name: getattr(touches, name)[rows] for name in columns})


def half_lives(credit):
    prefix = "half_life_days:"
    found = credit.diagnostics.items()
    return {name.removeprefix(prefix): value for name, value in found if name.startswith(prefix)}


def simulated(journeys, strength, half_life_days, seed, horizon=60):
    """Journeys under the model itself: touches at random times, watched to conversion or horizon.

    Also returns how many conversions each channel caused, (K,).
    """
    random = np.random.default_rng(seed)
    strength, decay = np.array(strength), np.log(2) / np.array(half_life_days)
    count = random.poisson(6, journeys) + 1
    journey = np.repeat(np.arange(journeys), count)
    at = random.random(journey.size) * horizon
    channel = random.integers(0, strength.size, journey.size)
    # A touch converts once its own hazard, strength in all, has used up an exponential draw.
    spent = random.exponential(size=journey.size)
    hits = np.flatnonzero(spent < strength[channel])
    moment = np.full(journey.size, np.inf)
    moment[hits] = (
        at[hits] - np.log1p(-spent[hits] / strength[channel[hits]]) / decay[channel[hits]]
    )
    first = np.full(journeys, np.inf)
    np.minimum.at(first, journey, moment)
    converted, end = first < horizon, np.minimum(first, horizon)
    kept = at < end[journey]
    journey = journey[kept]
    touches = HazardTouches(
        channels=tuple(f"c{index}" for index in range(strength.size)),
        channel=channel[kept],
        age_seconds=(end[journey] - at[kept]) * DAY,
        converted=converted[journey],
        journey=journey,
        weight=np.ones(journey.size),
        revenue=2.0 * converted[journey],
        total_conversions=float(converted.sum()),
        total_revenue=2.0 * float(converted.sum()),
    )
    causes = (moment[kept] == first[journey]) & converted[journey]
    return touches, np.bincount(touches.channel[causes], minlength=strength.size)


@pytest.fixture(scope="module")
def world():
    return simulated(20_000, [0.06, 0.02, 0.04, 0.0], [1, 4, 9, 3], seed=8)


def test_one_step_by_hand():
    """Half-lives of a day: a, a day ago, has hazard 1/2 and b, two days ago, 1/4.

    So p = 2/3, 1/3; beta = p / (1 - 1/2), p / (1 - 1/4); with days as the unit
    w = (2/3) / (2/3 + 4/3 * 1/2) and (1/3) / (1/3 * 2 + 4/9 * 2 * 1/4).
    """
    touches = touches_of([([("a", 1), ("b", 2)], True, 1, 0)], ("a", "b"))
    day = math.log(2) / DAY
    sample = prepare(touches)
    step = em_step(sample, Hazard(np.ones(2), np.full(2, day)))
    assert step.cause == pytest.approx([2 / 3, 1 / 3])
    assert step.caused == pytest.approx([2 / 3, 1 / 3])
    assert step.hazard.strength == pytest.approx([4 / 3, 4 / 9])
    assert step.hazard.decay * DAY == pytest.approx([1 / 2, 3 / 8])
    expected = math.log(day * 3 / 4) - 1 / 2 - 3 / 4
    assert step.log_likelihood == pytest.approx(expected)


def test_single_touches_cause_their_conversions():
    journeys = [([("a", 1)], True, 2, 5), ([("b", 3)], True, 1, 7), ([("a", 9)], False, 4, 0)]
    credit = additive_hazard(touches_of(journeys))
    assert credit.conversions == pytest.approx([2, 1, 0])
    assert credit.revenue == pytest.approx([10, 7, 0])
    assert set(half_lives(credit)) == {"a", "b"}


def by_loops(journeys, hazard):
    """New strength and decay, and the causes, one touch after the other."""
    caused, spent, aged, left = (dict.fromkeys(CHANNELS, 0.0) for _ in range(4))
    law = dict(zip(CHANNELS, zip(*hazard, strict=True), strict=True))
    for touches, converted, weight, _ in journeys:
        aged_touches = [(channel, max(days * DAY, 1.0)) for channel, days in touches]
        for channel, age in aged_touches:
            decay = law[channel][1]
            spent[channel] += weight * (1 - math.exp(-decay * age))
            left[channel] += weight * age * math.exp(-decay * age)
        if converted:
            heights = [math.prod(law[c]) * math.exp(-law[c][1] * age) for c, age in aged_touches]
            for (channel, age), height in zip(aged_touches, heights, strict=True):
                caused[channel] += weight * height / sum(heights)
                aged[channel] += weight * height / sum(heights) * age
    strength = {c: caused[c] / spent[c] if caused[c] else 0.0 for c in CHANNELS}
    decay = {
        c: caused[c] / (aged[c] + strength[c] * left[c]) if caused[c] else law[c][1]
        for c in CHANNELS
    }
    return [np.array([part[c] for c in CHANNELS]) for part in (strength, decay, caused)]


@given(JOURNEYS, HAZARDS)
def test_a_step_by_loops(journeys, hazard):
    sample = prepare(touches_of(journeys))
    step = em_step(sample, hazard)
    strength, decay, caused = by_loops(journeys, hazard)
    assert step.hazard.strength == pytest.approx(strength, rel=1e-6)
    bounded = np.clip(decay, sample.slowest, sample.fastest)
    assert step.hazard.decay == pytest.approx(bounded, rel=1e-6)
    assert step.caused == pytest.approx(caused, rel=1e-9)
    assert np.add.reduceat(step.cause, sample.first) == pytest.approx(1)


def by_quadrature(journeys, hazard):
    """Log-likelihood of the counting process: log hazard at conversion less its integral."""
    law = dict(zip(CHANNELS, zip(*hazard, strict=True), strict=True))
    total = 0.0
    for touches, converted, weight, _ in journeys:
        aged = [(channel, max(days * DAY, 1.0)) for channel, days in touches]
        if converted:
            heights = (math.prod(law[c]) * math.exp(-law[c][1] * age) for c, age in aged)
            total += weight * math.log(sum(heights))
        for channel, age in aged:
            strength, decay = law[channel]
            share, _ = quad(lambda days, w: w * math.exp(-w * days), 0, age / DAY, (decay * DAY,))
            total -= weight * strength * share
    return total


@given(JOURNEYS, HAZARDS)
@settings(max_examples=40)
def test_the_likelihood_by_quadrature(journeys, hazard):
    found = em_step(prepare(touches_of(journeys)), hazard).log_likelihood
    assert found == pytest.approx(by_quadrature(journeys, hazard), rel=1e-6, abs=1e-6)


@given(JOURNEYS)
def test_no_step_lowers_the_likelihood(journeys):
    """Nor where a decay is held at its bounds, as it often is with so few journeys."""
    sample = prepare(touches_of(journeys))
    hazard = first_guess(sample, len(CHANNELS))
    likelihood = []
    for _ in range(60):
        step = em_step(sample, hazard)
        likelihood.append(step.log_likelihood)
        hazard = step.hazard
        assert (hazard.decay >= sample.slowest).all()
        assert (hazard.decay <= sample.fastest).all()
    assert np.diff(likelihood).min() >= -1e-9 * max(map(abs, likelihood))


def test_no_step_lowers_the_likelihood_of_many(world):
    sample = prepare(world[0])
    hazard = Hazard(np.array([2, 0.001, 0.1, 1]), np.array([0.01, 9, 0.3, 2]) / DAY)
    likelihood = []
    for _ in range(100):
        step = em_step(sample, hazard)
        likelihood.append(step.log_likelihood)
        hazard = step.hazard
    assert np.diff(likelihood).min() >= -1e-7
    assert np.diff(likelihood)[:5].min() > 1


def test_an_optimiser_climbs_no_higher():
    touches, _ = simulated(300, [0.3, 0.2], [2, 8], seed=4)
    credit = additive_hazard(touches, tolerance=1e-9)
    sample = prepare(touches)

    def loss(parameters):
        strength, decay = np.exp(parameters).reshape(2, 2)
        return -em_step(sample, Hazard(strength, decay)).log_likelihood

    start = np.log([0.1, 0.1, 0.2 / DAY, 0.2 / DAY])
    best = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9})
    assert best.success
    assert credit.diagnostics["log_likelihood"] == pytest.approx(-best.fun, abs=1e-6)
    days = np.log(2) / np.exp(best.x[2:]) / DAY
    assert list(half_lives(credit).values()) == pytest.approx(days, rel=1e-3)


def test_known_parameters_are_recovered(world):
    touches, causes = world
    credit = additive_hazard(touches)
    found = half_lives(credit)
    assert [found["c0"], found["c1"], found["c2"]] == pytest.approx([1, 4, 9], rel=0.3)
    shares = credit.conversions / credit.conversions.sum()
    assert shares == pytest.approx(causes / causes.sum(), abs=0.02)
    assert shares[3] < 0.01
    assert credit.revenue == pytest.approx(2 * credit.conversions, rel=1e-9)


def test_a_sample_stands_for_the_whole(world):
    """Every converting journey and a quarter of the others, each for four."""
    touches, _ = world
    drawn = touches.converted | (touches.journey % 4 == 0)
    sampled = taken(touches, np.flatnonzero(drawn))
    sampled = replace(sampled, weight=np.where(sampled.converted, 1.0, 4.0))
    whole, part, unweighted = (
        additive_hazard(each)
        for each in (touches, sampled, replace(sampled, weight=np.ones(drawn.sum())))
    )
    assert part.conversions.sum() == pytest.approx(touches.total_conversions, rel=1e-9)
    off = np.abs(part.conversions - whole.conversions).max() / touches.total_conversions
    assert off < 0.01
    assert half_lives(part)["c2"] == pytest.approx(half_lives(whole)["c2"], rel=0.1)
    assert half_lives(unweighted)["c2"] != pytest.approx(half_lives(whole)["c2"], rel=0.1)


@given(JOURNEYS)
@settings(max_examples=30)
def test_a_weight_is_so_many_journeys(journeys):
    whole = [(touches, converted, 2, revenue) for touches, converted, _, revenue in journeys]
    twice = [(*each[:2], 1, each[3]) for each in whole for _ in range(2)]
    one, other = (prepare(touches_of(each)) for each in (whole, twice))
    hazard = first_guess(one, 3)
    for each, again in zip(em_step(one, hazard).hazard, em_step(other, hazard).hazard, strict=True):
        assert again == pytest.approx(each, rel=1e-9)


def test_sums_follow_the_totals_and_not_the_sample(world):
    touches = replace(world[0], total_conversions=5_000.0, total_revenue=-70.5)
    credit = additive_hazard(touches)
    assert credit.conversions.sum() == pytest.approx(5_000, rel=1e-9)
    assert credit.revenue == pytest.approx(-70.5 * credit.conversions / 5_000, rel=1e-9)
    assert credit.conversions.min() >= 0


def test_revenue_goes_by_the_causes_of_its_own_conversion():
    day = math.log(2) / DAY
    journeys = [
        ([("a", 1), ("b", 2)], True, 2, 30), ([("a", 1)], True, 1, 0), ([("b", 1)], True, 1, 10),
    ]  # fmt: skip
    touches = touches_of(journeys, ("a", "b"))
    credit = additive_hazard(replace(touches, total_revenue=700.0))
    step = em_step(prepare(touches), Hazard(np.ones(2), np.full(2, day)))
    assert step.cause[:2] == pytest.approx([2 / 3, 1 / 3])
    a = credit.conversions[0] - 1  # of the first journey, which counts for two
    assert credit.revenue == pytest.approx([10 * 30 * a, 10 * (30 * (2 - a) + 10)])


def test_a_sample_without_the_revenue_goes_by_conversions():
    """Nor could refunds outside the sample be scaled from what is in it."""
    for paid, total in ((0, 8.0), (3, -8.0)):
        journeys = [([("a", 1), ("b", 2)], True, 1, 0), ([("b", 5)], True, 1, paid)]
        credit = additive_hazard(replace(touches_of(journeys), total_revenue=total))
        assert credit.revenue == pytest.approx(total / 2 * credit.conversions)
    nothing = [([("a", 1), ("b", 2)], True, 1, 0)]
    assert (additive_hazard(touches_of(nothing)).revenue == 0).all()


def test_ages_are_total_seconds():
    """A day and an hour are 25 hours, not one as a clock shows; below a second is one."""
    sample = prepare(touches_of([([("a", 25 / 24), ("b", 0)], True, 1, 0)]))
    assert sample.age.tolist() == [1, 25 * 3600]


def test_touches_in_the_second_of_the_conversion():
    journeys = [([("a", 0), ("b", 5)], True, 1, 0), ([("a", 0)], True, 1, 0)]
    journeys += [([("a", 3), ("b", 1)], False, 3, 0)]
    credit = additive_hazard(touches_of(journeys))
    assert half_lives(credit)["a"] == pytest.approx(60 / DAY)
    assert credit.conversions == pytest.approx([2, 0, 0], abs=1e-4)
    assert credit.diagnostics["half_lives_at_bound"] >= 1


def test_conversions_that_come_late_have_no_decay_to_find():
    """Old touches convert and young ones do not: the half-life would grow for ever."""
    journeys = [([("a", 30)], True, 1, 0), ([("a", 29)], True, 1, 0), ([("a", 2)], False, 1, 0)]
    credit = additive_hazard(touches_of(journeys, ("a",)))
    assert half_lives(credit)["a"] == pytest.approx(300)
    assert credit.diagnostics["half_lives_at_bound"] == 1


def test_far_from_any_touch_somebody_is_still_the_cause():
    """Weeks after touches that decay within minutes, every hazard is below the smallest number."""
    touches = touches_of([([("a", 30), ("b", 31)], True, 1, 0)], ("a", "b"))
    minute = math.log(2) / 60
    step = em_step(prepare(touches), Hazard(np.ones(2), np.full(2, minute)))
    assert step.cause == pytest.approx([1, 0])
    assert math.isfinite(step.log_likelihood)
    assert step.hazard.strength[1] == 0
    again = em_step(prepare(touches), step.hazard)
    assert again.cause == pytest.approx([1, 0])
    assert again.hazard.decay[1] == step.hazard.decay[1]


def test_a_short_step_is_not_yet_the_limit(world):
    """The tolerance bounds the distance to the limit and not the last step."""
    for touches in (world[0], simulated(3_000, [0.1, 0.1, 0.1], [5, 8, 12], seed=3)[0]):
        rough, fine = (additive_hazard(touches, tolerance=each) for each in (1e-4, 1e-10))
        off = np.abs(rough.conversions - fine.conversions).max() / touches.total_conversions
        assert off < 3e-4
        assert rough.diagnostics["iterations"] < fine.diagnostics["iterations"]


def test_shares_move_on_where_decays_are_held():
    """Both half-lives are at their bound from the start. With equal decays and x the part of a in
    the first conversion, x : 1 - x = (1 + x) / 3 : (2 - x) / 4, by their 3 and 4 touches.
    """
    journeys = [
        ([("a", 0), ("b", 0)], True, 1, 0), ([("a", 0)], True, 1, 0), ([("b", 0)], True, 1, 0),
        ([("a", 0)], False, 1, 0), ([("b", 0)], False, 2, 0),
    ]  # fmt: skip
    credit = additive_hazard(touches_of(journeys))
    assert credit.diagnostics["half_lives_at_bound"] == 2
    x = credit.conversions[0] - 1
    assert x == pytest.approx(math.sqrt(13) - 3, abs=1e-5)


def test_a_tolerance_below_rounding_is_met_at_a_standstill():
    touches, _ = simulated(300, [0.3, 0.2], [2, 8], seed=4)
    additive_hazard(touches, tolerance=1e-300, max_iterations=5_000)


def test_the_exposure_of_young_touches_is_exact():
    """1 - exp(-x) has lost half its digits at x = 1e-8."""
    touches = touches_of([([("a", 0)], True, 1, 0), ([("b", 40)], False, 1, 0)])
    decay = 1 / (400 * DAY)
    step = em_step(prepare(touches), Hazard(np.ones(3), np.full(3, decay)))
    assert step.hazard.strength[0] == pytest.approx(-1 / math.expm1(-decay), rel=1e-12)


def test_a_single_channel_has_it_all_and_a_half_life():
    touches, _ = simulated(3_000, [0.1], [5], seed=3)
    credit = additive_hazard(touches)
    assert credit.conversions == pytest.approx([touches.total_conversions], rel=1e-12)
    assert half_lives(credit)["c0"] == pytest.approx(5, rel=0.2)


def test_neither_order_of_rows_nor_journey_numbers_show(world):
    touches = taken(world[0], np.arange(5_000))
    order = np.random.default_rng(1).permutation(5_000)
    shuffled = taken(touches, order)
    one, other = additive_hazard(touches), additive_hazard(shuffled)
    assert one.conversions.tobytes() == other.conversions.tobytes()
    assert one.diagnostics == other.diagnostics
    numbered = replace(shuffled, journey=-7 * shuffled.journey)
    assert additive_hazard(numbered).conversions == pytest.approx(one.conversions, rel=1e-6)


def test_names_do_not_matter(world):
    touches = taken(world[0], np.arange(5_000))
    mirrored = replace(touches, channel=3 - touches.channel)
    one, other = additive_hazard(touches), additive_hazard(mirrored)
    assert other.conversions[::-1] == pytest.approx(one.conversions, rel=1e-6)


def test_scaling_weights_and_totals_leaves_shares(world):
    touches = taken(world[0], np.arange(5_000))
    scaled = replace(touches, weight=1e3 * touches.weight, total_conversions=8.0)
    one, other = additive_hazard(touches), additive_hazard(scaled)
    expected = one.conversions * 8 / touches.total_conversions
    assert other.conversions == pytest.approx(expected, rel=1e-6)


def test_channels_without_touches_change_nothing(world):
    touches = taken(world[0], np.arange(5_000))
    more = replace(touches, channels=("b", *touches.channels), channel=1 + touches.channel)
    one, other = additive_hazard(touches), additive_hazard(more)
    assert other.conversions.tolist() == [0, *one.conversions.tolist()]
    assert other.diagnostics == one.diagnostics


def test_iterations_that_do_not_suffice():
    touches, _ = simulated(300, [0.3, 0.2], [2, 8], seed=4)
    enough = int(additive_hazard(touches).diagnostics["iterations"])
    additive_hazard(touches, max_iterations=enough)
    with pytest.raises(ConvergenceError, match=f"not reached in {enough - 1} iterations") as caught:
        additive_hazard(touches, max_iterations=enough - 1)
    assert "\n" not in str(caught.value)


def test_none_convert():
    journeys = [([("a", 1)], False, 1, 0)]
    with pytest.raises(NoConversions, match="additive_hazard credits nothing"):
        additive_hazard(touches_of(journeys))
    empty = taken(touches_of(journeys), np.array([], dtype=int))
    with pytest.raises(NoConversions):
        additive_hazard(empty)
    nothing = replace(touches_of([([("a", 1)], True, 1, 0)]), total_conversions=0.0)
    with pytest.raises(NoConversions):
        additive_hazard(nothing)


def test_all_convert():
    journeys = [([("a", 1), ("b", 3)], True, 1, 2), ([("b", 2)], True, 1, 3)]
    credit = additive_hazard(touches_of(journeys))
    assert credit.conversions.sum() == pytest.approx(2, rel=1e-9)
    assert credit.revenue.sum() == pytest.approx(5, rel=1e-9)


@pytest.mark.parametrize(
    "options",
    [{"tolerance": 0}, {"tolerance": math.nan}, {"max_iterations": 0}],
)
def test_options_out_of_range(options):
    with pytest.raises(UsageError, match="additive_hazard: tolerance="):
        additive_hazard(touches_of([([("a", 1)], True, 1, 0)]), **options)


GOOD = {
    "channels": ("a", "b"),
    "channel": [0, 1, 1],
    "age_seconds": [60.0, 0.0, 1e6],
    "converted": [True, True, False],
    "journey": [4, 4, 9],
    "weight": [1.0, 1.0, 5.0],
    "revenue": [3.0, 3.0, 0.0],
    "total_conversions": 1.0,
    "total_revenue": 3.0,
}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("channels", ("b", "a"), "not sorted"),
        ("channel", [0, 1, 2], "row 2 points at no channel"),
        ("channel", [0, -1, 1], "row 1 points at no channel"),
        ("channel", [0, 0.5, 1], "channel: holds a fraction"),
        ("age_seconds", [60.0, -1.0, 1e6], "age_seconds: holds -1, below 0"),
        ("age_seconds", [60.0, math.nan, 1e6], "age_seconds: holds a missing"),
        ("age_seconds", [60.0, 1e6], "age_seconds: has shape"),
        ("converted", [1, 1, 0], "converted is not bool"),
        ("converted", [True, True], "converted is not bool"),
        ("converted", [True, False, False], "row 1 has revenue without a conversion"),
        ("journey", [4, 9, 9], "row 2 and its journey do not both convert"),
        ("journey", [4, 4, math.inf], "journey: holds a missing"),
        ("weight", [1.0, 2.0, 5.0], "row 1 has another weight than its journey"),
        ("weight", [1.0, 1.0, 0.0], "row 2 has the weight 0"),
        ("weight", [1.0, 1.0, -1.0], "weight: holds -1, below 0"),
        ("revenue", [3.0, 2.0, 0.0], "row 1 has another revenue than its journey"),
        ("revenue", [3.0, 3.0, 1.0], "row 2 has revenue without a conversion"),
        ("total_conversions", -1.0, "total_conversions: holds -1, below 0"),
        ("total_conversions", math.nan, "total_conversions: holds a missing"),
        ("total_revenue", math.inf, "total_revenue: holds a missing"),
    ],
)
def test_touches_that_contradict_themselves(name, value, message):
    assert {each.name for each in fields(HazardTouches)} == set(GOOD)
    HazardTouches(**GOOD)
    with pytest.raises(InvalidPaths, match=f"hazard touches: .*{message}") as caught:
        HazardTouches(**GOOD | {name: value})
    assert "\n" not in str(caught.value)


def test_touches_are_read_only():
    touches = HazardTouches(**GOOD)
    for name in ("channel", "age_seconds", "converted", "journey", "weight", "revenue"):
        assert not getattr(touches, name).flags.writeable


def test_a_sample_of_fifty_thousand_journeys():
    touches, _ = simulated(50_000, [0.02, 0.01, 0.03] * 3, [1, 3, 8] * 3, seed=5)
    began = time.perf_counter()
    credit = additive_hazard(touches)
    assert time.perf_counter() - began < 30
    assert credit.conversions.sum() == pytest.approx(touches.total_conversions, rel=1e-9)

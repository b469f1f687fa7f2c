"""The ladder against brute force: every hidden way through a few days, every set of channels."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pytest

from attribution.customer_days import CustomerDays, read_customer_days
from attribution.errors import ConvergenceError, InvalidPaths, ModelRefused
from attribution.known_world import draw_world, true_values, watch
from attribution.models import ladder_em
from attribution.models.ladder import divided, ladder
from attribution.models.ladder_chances import Ladder, chances, day_chances
from attribution.models.ladder_choice import (
    choose,
    met_alike,
    with_classes,
    with_kernel,
    with_weekdays,
)
from attribution.models.ladder_coordinates import (
    LEAST,
    _angles,
    coordinates,
    ladder_at,
    moving,
    plain_slope,
    slope,
    stepped,
)
from attribution.models.ladder_days import day_kinds
from attribution.models.ladder_em import EM_STEPS, LAGS, first_guess, fit_ladder, improved
from attribution.models.ladder_influence import replicate_ladders
from attribution.models.ladder_pass import customer_sums, log_likelihoods
from attribution.models.ladder_pass import ladder_pass as pass_of_kinds
from attribution.models.ladder_sums import Sums
from attribution.models.ladder_value import (
    Entries,
    all_sets,
    antithetic_orders,
    conversion_chances,
    entries_of,
    sets_of_orders,
    shapley_of_orders,
)
from attribution.models.lift import LiftTests, calibrate, causal, lifts
from attribution.models.shapley_sets import shapley_values

STAGES = 3  # below the conversion: two rungs


def ladder_pass(days: CustomerDays, ladder: Ladder) -> tuple[float, Sums, np.ndarray]:
    return pass_of_kinds(day_kinds(days, ladder.kernel.size, ladder.week.shape[1]), ladder)


def random_ladder(
    seed: int,
    channels: int = 2,
    lags: int = 2,
    stages: int = STAGES,
    classes: int = 2,
    weekdays: int = 1,
) -> Ladder:
    random = np.random.default_rng(seed)
    upward = np.triu(np.ones((stages, stages + 1)), 1)
    start = np.tril(random.random((stages, stages)))
    week = random.uniform(0.4, 2.0, (2, weekdays))
    kernel, activity_share = random.random(lags), random.uniform(0.2, 1.0, classes)
    return Ladder(
        start=start / start.sum(),
        entry=random.uniform(0.1, 0.6, (stages, channels)),
        contact=random.uniform(0.1, 0.5, (stages, channels)),
        organic=upward * random.uniform(0.05, 0.4, upward.shape),
        effect=upward[:, :, None] * random.uniform(0.05, 0.6, (*upward.shape, channels)),
        kernel=kernel / kernel.sum(),
        recorded=np.append(random.uniform(0.3, 0.9, stages), 1.0),
        gone=float(random.uniform(0.02, 0.2)),
        activity=np.append(1.0, random.uniform(1.5, 4.0, classes - 1)),
        activity_share=activity_share / activity_share.sum(),
        week=week / week.mean(axis=1, keepdims=True),
    )


def customers(rows: list[dict], channels: int = 2, steps: int = STAGES - 1) -> CustomerDays:
    """Each row: last_day, touches, and optionally converted, first_stage, records, weight, ..."""
    touches = [sorted(row["touches"]) for row in rows]
    records = [sorted(row.get("records", [])) for row in rows]
    return CustomerDays(
        channels=tuple("abcdefghijklmnop"[:channels]),
        steps=tuple(f"step {j}" for j in range(1, steps + 1)),
        weight=np.array([row.get("weight", 1.0) for row in rows]),
        group=np.array([row.get("group", i % 10) for i, row in enumerate(rows)]),
        first_stage=np.array([row.get("first_stage", 0) for row in rows]),
        last_day=np.array([row["last_day"] for row in rows]),
        first_weekday=np.array([row.get("first_weekday", 0) for row in rows]),
        horizon=np.array([row.get("horizon", row["last_day"]) for row in rows]),
        converted=np.array([row.get("converted", False) for row in rows]),
        touch_start=np.cumsum([0, *map(len, touches)]),
        touch_day=np.array([day for mine in touches for day, _ in mine]),
        touch_channel=np.array([channel for mine in touches for _, channel in mine]),
        record_start=np.cumsum([0, *map(len, records)]),
        record_day=np.array([day for mine in records for day, _ in mine], dtype=np.int64),
        record_rungs=np.array([bits for mine in records for _, bits in mine], dtype=np.int64),
    )


SOME = [
    {"last_day": 4, "converted": True, "touches": [(0, 0), (2, 1)], "records": [(1, 1)]},
    {"last_day": 4, "touches": [(0, 1)], "weight": 3.5, "first_weekday": 1},
    {"last_day": 4, "touches": [(0, 0), (0, 1)], "records": [(2, 3)], "first_stage": 0},
    {
        "last_day": 3,
        "touches": [(0, 0), (3, 0)],
        "first_stage": 1,
        "records": [(3, 2)],
        "first_weekday": 5,
    },
    {"last_day": 0, "converted": True, "touches": [(0, 1)], "records": [(0, 2)], "weight": 2.0},
    {"last_day": 4, "converted": True, "touches": [(0, 0)], "first_stage": 2},
]


# a first rung that is recorded again after a stage that lies above it
IMPOSSIBLE = {"last_day": 2, "touches": [(0, 0)], "first_stage": 2, "records": [(1, 1)]}


def by_hand(row: dict, ladder: Ladder) -> tuple[float, dict]:
    """Likelihood and expected sums of one customer, over every class of activity and every way
    through the hidden states.
    """
    stages, channels = ladder.contact.shape
    last = row["last_day"]
    touched = {day: {c for d, c in row["touches"] if d == day} for day in range(last + 1)}
    records = dict(row.get("records", []))
    gone = stages + 1
    sums: dict = {}
    total = 0.0

    def add(found: list, name: str, place: tuple, amount: float = 1.0) -> None:
        found.append((name, place, amount))

    # class, state before each day, and at the end
    for a, *way in product(range(ladder.activity.size), *[range(stages + 2)] * (last + 2)):
        if way[0] >= stages:
            continue
        first = row.get("first_stage", 0)
        chance = ladder.activity_share[a] * ladder.start[way[0], first]
        found: list = []
        add(found, "classes", (a,))
        add(found, "posterior", (a, way[0]))
        add(found, "start", (way[0], first))
        for day in range(last + 1):
            before, after = way[day], way[day + 1]
            w = (row.get("first_weekday", 0) + day) % ladder.week.shape[1]
            seen = records.get(day, 0)
            is_end = row.get("converted", False) and day == last
            if before == gone:
                chance *= after == gone and not touched[day] and not seen and not is_end
                continue
            if before == stages or (after == stages) != is_end:
                chance = 0.0
                break
            if after == gone:
                chance *= ladder.gone * (not touched[day] and not seen and day > 0)
                add(found, "left", ())
                continue
            if after < before:
                chance = 0.0
                break
            power = ladder.activity[a] * ladder.week[0, w]
            rates = ladder.entry if day == 0 else 1 - (1 - ladder.contact) ** power
            if day > 0:
                chance *= 1 - ladder.gone
                add(found, "stayed", ())
                add(found, "days", (w, a, before))
            for c in range(channels):
                rate = rates[before, c]
                chance *= rate if c in touched[day] else 1 - rate
                if c in touched[day]:
                    place = (before, c) if day == 0 else (w, a, before, c)
                    add(found, "entry" if day == 0 else "contact", place)
            acting = [(c, day - d) for d, c in row["touches"] if 0 <= day - d < ladder.kernel.size]
            hazard = ladder.organic[before] * ladder.week[1, w]
            for c, lag in acting:
                hazard += ladder.effect[before, :, c] * ladder.kernel[lag]
            for j in range(before + 1, stages + 1):
                if j < after:
                    continue  # a further move hides it
                moved = j == after
                chance *= 1 - np.exp(-hazard[j]) if moved else np.exp(-hazard[j])
                weight = 1 / (1 - np.exp(-hazard[j])) if moved else 0.0
                add(found, "organic_moves", (w, before, j), weight)
                add(found, "organic_days", (w, before, j))
                for c, lag in acting:
                    add(found, "effect_moves", (before, j, c, lag), weight)
                    add(found, "effect_days", (before, j, c, lag))
            passed = range(before + 1, min(after, stages - 1) + 1)
            for rung in passed:
                is_seen = bool(seen >> (rung - 1) & 1)
                chance *= ladder.recorded[rung] if is_seen else 1 - ladder.recorded[rung]
                add(found, "passed", (rung,))
                add(found, "recorded", (rung,), float(is_seen))
            chance *= not any(
                seen >> (rung - 1) & 1 for rung in range(1, stages) if rung not in passed
            )
            if chance == 0:
                break
        if chance > 0:
            total += chance
            for name, place, amount in found:
                sums[name, place] = sums.get((name, place), 0.0) + chance * amount
    return total, {key: amount / total for key, amount in sums.items()}


@pytest.mark.parametrize("classes", [1, 2, 3, 4])
@pytest.mark.parametrize(("lags", "weekdays"), [(1, 1), (3, 1), (3, 3), (1, 7)])
def test_a_pass_is_the_sum_over_every_hidden_way(classes: int, lags: int, weekdays: int) -> None:
    parameters = random_ladder(classes, lags=lags, classes=classes, weekdays=weekdays)
    likelihood, sums, posterior = ladder_pass(customers(SOME), parameters)
    expected = {name: np.zeros_like(getattr(sums, name)) for name in sums._fields}
    total = 0.0
    for i, row in enumerate(SOME):
        chance, mine = by_hand(row, parameters)
        weight = row.get("weight", 1.0)
        total += weight * np.log(chance)
        starts = np.zeros_like(posterior[i])
        for (name, place), amount in mine.items():
            if name == "posterior":
                starts[place] += amount
            else:
                expected[name][place] += weight * amount
        assert posterior[i] == pytest.approx(starts, abs=1e-12)
    assert likelihood == pytest.approx(total, rel=1e-12)
    for name, values in expected.items():
        assert getattr(sums, name) == pytest.approx(values, rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize("weekdays", [1, 7])
def test_runs_of_quiet_days_are_their_days_one_by_one(weekdays: int) -> None:
    """Thirty quiet days at once, or each alone: the same likelihood and the same sums."""
    rows = [
        {"last_day": 40, "touches": [(0, 0), (9, 1)], "records": [(20, 1)]},
        {"last_day": 40, "touches": [(0, 1)], "converted": True, "weight": 2.0, "first_weekday": 3},
    ]
    days = customers(rows)
    parameters = random_ladder(7, lags=3, classes=4, weekdays=weekdays)
    likelihood, sums, _ = ladder_pass(days, parameters)
    [(_, alone, each)] = customer_sums(days, parameters)
    assert likelihood == pytest.approx(alone.sum(), rel=1e-12)
    unweighted = log_likelihoods(day_kinds(days, 3, weekdays), parameters)
    assert unweighted * days.weight == pytest.approx(alone, rel=1e-12)
    for name in sums._fields:
        total = getattr(each, name).sum(axis=0)
        assert getattr(sums, name) == pytest.approx(total, rel=1e-9, abs=1e-12), name


def test_what_cannot_have_happened_has_no_likelihood() -> None:
    assert ladder_pass(customers([IMPOSSIBLE]), random_ladder(1))[0] == -np.inf


@pytest.mark.parametrize("place", [0, 3, len(SOME)])
def test_an_impossible_customer_tells_nothing(place: int) -> None:
    """Wherever it stands among others."""
    parameters, rows = random_ladder(2), SOME.copy()
    rows.insert(place, IMPOSSIBLE)
    _, sums, posterior = ladder_pass(customers(SOME), parameters)
    likelihood, with_it, stages = ladder_pass(customers(rows), parameters)
    assert likelihood == -np.inf
    assert (stages[place] == 0).all()
    assert np.delete(stages, place, axis=0) == pytest.approx(posterior, abs=1e-12)
    for name in sums._fields:
        found = getattr(with_it, name)
        assert found == pytest.approx(getattr(sums, name), rel=1e-9, abs=1e-12), name


def test_no_class_keeps_another_from_what_happened() -> None:
    """A class that is out of the question after half of the days may be the only one in the end."""
    touches = [(day, channel) for day in range(172) for channel in (0, 1)]
    days = customers([{"last_day": 345, "touches": [*touches, (345, 0)]}])
    for contact, activity in ((0.1, 20.0), (0.95, 300.0)):
        plain = random_ladder(3, classes=1)._replace(contact=np.full((STAGES, 2), contact))
        both = plain._replace(
            activity=np.array([1.0, activity]), activity_share=np.array([0.5, 0.5])
        )
        busy = plain._replace(contact=both.contact_in(activity))
        alone = [ladder_pass(days, ladder)[0] for ladder in (plain, busy)]
        likelihood, sums, _ = ladder_pass(days, both)
        assert likelihood == pytest.approx(np.logaddexp(*alone) - np.log(2), abs=1e-6)
        assert all(np.isfinite(part).all() for part in sums)


@pytest.mark.parametrize("length", range(20, 30))
def test_a_class_that_hardly_could_be_tells_nothing(length: int) -> None:
    """Quiet days that are nearly, but not, impossible for one class: about 1e-310 in a row."""
    days = customers([{"last_day": length, "touches": [(0, 0), (length, 0)]}, SOME[1]])
    plain = random_ladder(3, classes=1)
    busy = plain._replace(
        contact=np.full((STAGES, 2), 0.05),
        activity=np.array([1.0, 14.0 / -np.log(0.95)]),  # a quiet day: e^-28
        activity_share=np.array([0.5, 0.5]),
    )
    likelihood, sums, posterior = ladder_pass(days, busy)
    assert np.isfinite(likelihood)
    assert all(np.isfinite(part).all() for part in sums)
    assert posterior[0, 1].sum() < 1e-9
    [(_, _, each)] = customer_sums(days, busy)
    assert all(np.isfinite(part).all() for part in each)


def test_classes_have_lanes_enough() -> None:
    with pytest.raises(ValueError, match="5 classes of activity, and there are 4 lanes"):
        ladder_pass(customers(SOME), random_ladder(1, classes=5))


def test_customers_who_convert_on_their_first_day_have_no_quiet_days() -> None:
    rows = [{"last_day": 0, "converted": True, "touches": [(0, c)]} for c in (0, 1, 1)]
    parameters = random_ladder(5)
    likelihood, sums, _ = ladder_pass(customers(rows), parameters)
    assert likelihood == pytest.approx(sum(np.log(by_hand(r, parameters)[0]) for r in rows))
    assert sums.days.sum() == 0
    assert day_kinds(customers(rows), 1).longest == 1  # one power of a quiet day is read always


def test_who_converts_has_not_left() -> None:
    """The last state is the conversion on the days of one, and gone on all others."""
    parameters, days = random_ladder(1), day_kinds(customers(SOME), 2)
    on_day = day_chances(days, parameters, chances(parameters, days.longest))
    assert (on_day.moves[~days.is_last, :, -1] == 0).all()
    assert (on_day.moves[days.is_last, :, :-1] == 0).all()
    assert not on_day.silent[days.is_last].any()


def test_a_forked_process_has_threads_of_its_own() -> None:
    days, parameters = customers(SOME), random_ladder(1)
    expected = ladder_pass(days, parameters)[0]
    with get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_likelihood, (days, parameters)).get(timeout=60) == expected


def _likelihood(days: CustomerDays, parameters: Ladder) -> float:
    return ladder_pass(days, parameters)[0]


@pytest.fixture(scope="module")
def world() -> CustomerDays:
    return days_of("70 % recorded", 0.5, 3, 6_000)


def days_of(variant: str, confounding: float, seed: int, size: int) -> CustomerDays:
    """A known world's customers, each from its first touch on."""
    lives = watch(draw_world(variant, confounding, seed), size, seed)
    rows = []
    for touched, rung, converted, _ in zip(*lives, strict=True):
        end = int(converted) if converted >= 0 else len(touched) - 1
        days = np.flatnonzero(touched.any(axis=1))
        if days.size and days[0] <= end:
            first = int(days[0])
            rows.append(
                {
                    "last_day": end - first,
                    "first_weekday": first % 7,
                    "horizon": len(touched) - 1 - first,
                    "converted": bool(converted >= 0),
                    "first_stage": int(rung[: first + 1].max()),
                    "touches": [
                        (int(d) - first, int(c)) for d, c in np.argwhere(touched[: end + 1])
                    ],
                    "records": [
                        (d, 1 << (int(r) - 1)) for d, r in enumerate(rung[first + 1 : end + 2]) if r
                    ],
                }
            )
    days = customers(rows, channels=6)
    return days


@pytest.mark.parametrize("shape", LAGS)
@pytest.mark.parametrize("weekly", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_the_likelihood_never_falls(
    world: CustomerDays, shape, several: bool, weekly: bool
) -> None:
    parameters = first_guess(world, shape)
    if several:
        parameters = with_classes(parameters)
    if weekly:
        parameters = with_weekdays(parameters)
    reached = -np.inf
    for _ in range(12):
        likelihood, sums, _ = ladder_pass(world, parameters)
        assert likelihood >= reached - 1e-9 * abs(likelihood)
        reached = likelihood
        parameters = improved(parameters, sums, shape)
    assert parameters.kernel.sum() == pytest.approx(1)


@pytest.mark.parametrize("several", [False, True])
def test_the_same_bits_and_the_same_hilltop(several: bool) -> None:
    """Twice the same climb, and one from elsewhere to the same shares within 1e-6."""
    world = days_of("all steps recorded", 0.5, 3, 2_000)
    start = first_guess(world, "none")
    if several:
        world = days_of("uneven customers", 0.5, 3, 2_000)
        start = with_classes(start)
    fitted, again = (fit_ladder(world, "none", start, rest=1e-5, far=True) for _ in range(2))
    assert fitted.log_likelihood == again.log_likelihood
    for one, other in zip(fitted.ladder, again.ladder, strict=True):
        assert np.array_equal(one, other)
    shifted = fitted.ladder._replace(
        organic=fitted.ladder.organic * 1.3, effect=fitted.ladder.effect * 0.7
    )
    warm = fit_ladder(world, "none", shifted, rest=1e-5)
    shares = [
        divided(fit.ladder, entries_of(world, ladder_pass(world, fit.ladder)[2])).shares
        for fit in (fitted, warm)
    ]
    assert shares[0] == pytest.approx(shares[1], abs=1e-6)


def straying(monkeypatch: pytest.MonkeyPatch, is_far: Callable[[int], bool]) -> None:
    """Passes, by their number, that end where customers are impossible, with sums that are no
    numbers: seen after a stride to 600 moves a day.
    """
    passes = 0

    def one_pass(kinds, ladder):
        nonlocal passes
        passes += 1
        value, sums, entry_stages = pass_of_kinds(kinds, ladder)
        if is_far(passes):
            return -np.inf, Sums(*(part * np.nan for part in sums)), entry_stages
        return value, sums, entry_stages

    monkeypatch.setattr(ladder_em, "ladder_pass", one_pass)


def test_a_climb_that_strays_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = days_of("all steps recorded", 0.5, 3, 2_000)
    top = fit_ladder(world, "none", first_guess(world, "none"), far=True)
    straying(monkeypatch, lambda number: number == EM_STEPS + 3)
    found = fit_ladder(world, "none", first_guess(world, "none"), far=True)
    assert found.iterations > EM_STEPS + 3
    assert found.log_likelihood == pytest.approx(top.log_likelihood, abs=0.01)


def test_where_no_stride_leads_is_no_top(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever follows EM is impossible, its last point included: no slope there, and no top."""
    world = days_of("all steps recorded", 0.5, 3, 500)
    straying(monkeypatch, lambda number: number > EM_STEPS + 1)
    with pytest.raises(ConvergenceError):
        fit_ladder(world, "none", first_guess(world, "none"), far=True)


def test_an_impossible_customer_refuses_the_ladder() -> None:
    with pytest.raises(ConvergenceError, match="days are impossible"):
        fit_ladder(customers([*SOME, IMPOSSIBLE]), "none")


@pytest.mark.parametrize(("lags", "weekdays"), [(1, 1), (3, 1), (3, 7)])
def test_values_are_what_simulated_customers_do(lags: int, weekdays: int) -> None:
    """The g-formula against customers drawn one by one from the same parameters."""
    parameters = random_ladder(11, lags=lags, weekdays=weekdays)
    parameters = parameters._replace(
        organic=parameters.organic * 0.15, effect=parameters.effect * 0.4
    )
    entries = Entries(
        touched=np.array([[True, False], [True, True]]),
        weight=np.array([[[0.2, 0.1, 0.1], [0.1, 0.1, 0.0]], [[0.1, 0.0, 0.0], [0.1, 0.1, 0.1]]]),
        followed=np.array([1.0, 1.0, 0.8, 0.8, 0.5, 0.5]),
        weekday=np.eye(7)[5],
    )
    sets = all_sets(2)
    found = conversion_chances(parameters, entries, sets)
    random = np.random.default_rng(5)
    size = 60_000
    for members, value in zip(sets, found, strict=True):
        drawn = random.choice(12, size, p=entries.weight.ravel())
        stage = drawn % 3
        today = entries.touched[drawn // 3 % 2] & members
        horizon = random.random(size)
        history = [np.zeros_like(today)] * lags
        alive = np.ones(size, dtype=bool)
        converted = np.zeros(size, dtype=bool)
        for day, followed in enumerate(entries.followed):
            often, fast = parameters.week[:, (5 + day) % weekdays]
            power = parameters.activity[:, None, None] * often
            contact = 1 - (1 - parameters.contact) ** power
            if day:
                alive &= random.random(size) >= parameters.gone
                today = (
                    random.random((size, 2)) < contact[drawn // 6, np.minimum(stage, 2)]
                ) & members
            history = [today, *history[:-1]]
            here = np.minimum(stage, 2)
            exposure = sum(k * x for k, x in zip(parameters.kernel, history, strict=True))
            hazard = parameters.organic[here] * fast + np.einsum(
                "njc,nc->nj", parameters.effect[here], exposure
            )
            events = random.random(hazard.shape) < -np.expm1(-hazard)
            furthest = (events * np.arange(4)).max(axis=1)
            moved = alive & (stage < 3)
            stage = np.where(moved, np.maximum(stage, furthest), stage)
            converted |= moved & (stage == 3) & (horizon < followed)
        assert value == pytest.approx(converted.mean(), abs=4 * 0.5 / np.sqrt(size))


def test_values_of_classes_add_up() -> None:
    parameters = random_ladder(9, lags=3, classes=4)
    random = np.random.default_rng(9)
    weight = random.random((4, 2, STAGES))
    entries = Entries(
        touched=np.array([[True, False], [True, True]]),
        weight=weight / weight.sum(),
        followed=np.array([1.0, 1.0, 0.8, 0.5]),
    )
    sets, expected = all_sets(2), 0.0
    for a, activity in enumerate(parameters.activity):
        one = parameters._replace(
            contact=parameters.contact_in(activity),
            activity=np.ones(1),
            activity_share=np.ones(1),
        )
        expected += conversion_chances(one, entries._replace(weight=entries.weight[[a]]), sets)
    assert conversion_chances(parameters, entries, sets) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", [12, 84])  # of 200, those where it mattered
def test_a_touch_that_surely_moves_brings_no_more_than_everything(seed: int) -> None:
    """Where next to nobody is left on a stage, chances given that stage are 0 by 0."""
    random, cells = np.random.default_rng(seed), (STAGES, STAGES + 1)
    upward = np.triu(np.ones(cells), 1)
    organic = np.where(random.random(cells) < 0.5, 0.0, 10 ** random.uniform(-9, -2, cells))
    rare = random.random((*cells, 2)) < 0.6
    effect = np.where(rare, 1e-9, 10 ** random.uniform(0.5, 2.3, (*cells, 2)))
    parameters = random_ladder(seed, lags=3, classes=1)._replace(
        organic=upward * organic,
        effect=upward[:, :, None] * effect,
        contact=np.full((STAGES, 2), random.choice([0.05, 0.3, 0.9])),
        kernel=np.array([0.5, 0.3, 0.2]),
        gone=0.01,
    )
    entries = Entries(
        touched=np.array([[True, False], [True, True]]),
        weight=np.array([[[0.5, 0.0, 0.0], [0.5, 0.0, 0.0]]]),
        followed=np.ones(20),
    )
    found = conversion_chances(parameters, entries, all_sets(2))
    assert ((found >= 0) & (found <= 1 + 1e-9)).all()


def test_a_long_step_of_a_root_is_no_long_step_of_the_hazard() -> None:
    """Of the root of an effect near 0 next to nothing is known: steps are those of the effect."""
    ladder = random_ladder(4)
    ladder = ladder._replace(effect=np.where(ladder.effect > 0, 1e-4, 0.0))
    row = coordinates(ladder, False)
    effects = np.isclose(row, 0.01, rtol=1e-3)
    assert effects.sum() == 12
    there = stepped(row, np.where(effects, 0.006, 0.0), ladder, False)
    assert there.effect[ladder.effect > 0] == pytest.approx(1e-4 + 0.006, rel=1e-3)
    is_root = ~_angles(row, ladder, False)
    near = stepped(row, np.where(is_root, 2e-6 * row, 1e-6), ladder, False)
    moved = ladder_at(row + 1e-6, ladder, False)
    for mine, theirs in zip(near, moved, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-10)


def test_effects_step_below_0_by_the_organic_hazard_at_most() -> None:
    """All channels together, on every weekday; and no hazard and no share ever does."""
    ladder = random_ladder(4, weekdays=7)
    row = coordinates(ladder, False)
    nothing_known = np.where(_angles(row, ladder, False), 0.0, -9.0)
    there = stepped(row, nothing_known, ladder, False)
    assert there.organic.max() < 1e-8
    assert min(part.min() for part in (there.start, there.kernel, there.week)) >= 0
    assert there.effect.min() > -1e-8
    effects = np.isin(row, np.sqrt(ladder.effect[ladder.effect > 0] - LEAST))
    there = stepped(row, np.where(effects, -0.001 - row**2, 0.0), ladder, False)
    assert there.effect[ladder.effect > 0] == pytest.approx(-0.001, abs=1e-8)
    least = stepped(row, np.where(effects, -9.0, 0.0), ladder, False)
    together = least.effect.sum(axis=2)
    assert together == pytest.approx(-ladder.organic * ladder.week[1].min(), abs=1e-8)
    entries = Entries(
        touched=np.array([[True, True]]),
        weight=np.full((2, 1, STAGES), 1 / 6),
        followed=np.ones(30),
    )
    found = conversion_chances(least, entries, all_sets(2))
    assert ((found >= 0) & (found <= 1)).all()


def test_no_channel_has_negative_credit() -> None:
    """A touch of channel 0 moves customers to a rung from which nobody converts: what it takes
    away, the other channel bears.
    """
    organic, effect = np.zeros((2, 3)), np.zeros((2, 3, 2))
    organic[0, 2], effect[0, 1, 0], effect[0, 2, 1] = 0.2, 0.5, 0.8
    harmful = random_ladder(1, lags=1, stages=2, classes=1)._replace(organic=organic, effect=effect)
    entries = Entries(
        touched=np.array([[True, True]]), weight=np.array([[[1.0, 0.0]]]), followed=np.ones(5)
    )
    found = divided(harmful, entries)
    nothing, first, second, whole = conversion_chances(harmful, entries, all_sets(2))
    assert first < nothing < second
    assert found.shares == pytest.approx([0.0, (whole - nothing) / whole], abs=1e-12)
    assert found.organic == pytest.approx(nothing / whole)
    assert found.cut == pytest.approx((nothing - first + second - whole) / 2 / whole)
    assert found.incremental[0] < 0  # a holdout test would say so, too


def test_orders_of_channels_give_the_shapley_value() -> None:
    """All orders give it exactly; the sets along an order are the right ones."""
    values = np.random.default_rng(3).random(16)
    orders = np.array(list(permutations(range(4))))
    masks = sets_of_orders(orders) @ (1 << np.arange(4))
    assert shapley_of_orders(orders, values[masks]) == pytest.approx(shapley_values(values))
    drawn = antithetic_orders(4, 5, 1)
    assert (drawn[:5] == drawn[5:, ::-1]).all()


@pytest.mark.parametrize(
    ("variant", "confounding"), [("all steps recorded", 1.0), ("40 % recorded", 0.0)]
)
def test_the_truth_is_found(variant: str, confounding: float) -> None:
    days = days_of(variant, confounding, 5, 12_000)
    known = draw_world(variant, confounding, 5)
    values = true_values(known, 0, 0)
    truth = shapley_values(values)
    found = ladder(days, days.conversions, 0.0, 20, shape="none")
    among = found.credit.conversions / found.credit.conversions.sum()
    assert np.abs(among - truth / truth.sum()).mean() < 0.01
    assert among[5] < 0.005  # social, which has no effect
    organic = found.credit.baseline_conversions / days.conversions
    assert organic == pytest.approx(values[0] / values[-1], abs=0.03)
    assert found.credit.conversions.sum() + found.credit.baseline_conversions == pytest.approx(
        days.conversions
    )
    assert (found.credit.incremental <= found.credit.conversions * 1.5 + 1e-9).all()


def test_late_effects_choose_a_kernel() -> None:
    days = days_of("effects up to 3 days late", 0.0, 2, 8_000)
    choice = choose(days, 7)
    assert choice.shape != "none"
    assert choice.held_out[choice.shape] > choice.held_out["none"]


def test_the_simplest_form_is_chosen_where_it_is_the_true_one() -> None:
    choice = choose(days_of("all steps recorded", 0.0, 2, 6_000), 7)
    assert choice.shape == "none"
    assert choice.start.activity.size == 1


def test_many_contacts_of_an_active_customer_are_not_a_high_stage() -> None:
    """Where customers differ in how often they are met, one rate for all misses recorded shares
    and channels.
    """
    days = days_of("uneven customers", 0.0, 1, 12_000)
    choice = choose(days, 7)
    assert choice.start.activity.size == 3
    assert choice.held_out["several_classes"] > choice.held_out["one_class"] + 1
    values = true_values(draw_world("uneven customers", 0.0, 1), 60_000, 5)
    truth = shapley_values(values)
    truth = truth / truth.sum()
    error, recorded = {}, {}
    one = first_guess(days, "none")
    for name, start in (("several", with_classes(one)), ("one", one)):
        fitted = fit_ladder(days, "none", start, far=True)
        shares = divided(fitted.ladder, entries_of(days, fitted.entry_stages)).shares
        error[name] = np.abs(shares / shares.sum() - truth).mean()
        recorded[name] = fitted.ladder.recorded[1]
    assert error["several"] < 0.01 < 0.015 < error["one"]
    assert abs(recorded["several"] - 0.7) < 0.06 < 0.12 < abs(recorded["one"] - 0.7)


def test_a_day_on_which_more_happens_of_everything_is_no_effect() -> None:
    """Where weekdays differ in contacts and in organic moves, a channel without effect is met more
    often on days on which customers move more often anyway.
    """
    days = days_of("weekly bursts", 0.0, 1, 12_000)
    assert choose(days, 7).start.week.shape == (2, 1)  # not asked for
    choice = choose(days, 7, weekdays=True)
    assert choice.held_out["weekdays"] > choice.held_out["one_class"] + 1
    for factors in choice.start.week:
        assert factors == pytest.approx([1.9] * 2 + [0.64] * 5, abs=0.25)
    values = true_values(draw_world("weekly bursts", 0.0, 1), 60_000, 5)
    truth = shapley_values(values)
    truth, organic = truth / truth.sum(), values[0] / values[-1]
    error, missed, without_effect = {}, {}, {}
    for name, start in (("weekdays", choice.start), ("alike", first_guess(days, "none"))):
        fitted = fit_ladder(days, "none", start, far=True)
        found = divided(fitted.ladder, entries_of(days, fitted.entry_stages))
        among = found.shares / found.shares.sum()
        error[name], without_effect[name] = np.abs(among - truth).mean(), among[-1]
        missed[name] = abs(found.organic - organic)
    assert error["weekdays"] < 0.007 < error["alike"]
    assert without_effect["weekdays"] < 0.002 < 0.005 < without_effect["alike"]
    assert missed["weekdays"] < 0.01 < 0.03 < missed["alike"]


def test_one_newton_step_is_close_to_a_refit(world: CustomerDays) -> None:
    """Without a tenth of the customers, shares move as those of a fit without them would."""
    fitted = fit_ladder(world, "none").ladder
    _, sums, stages = ladder_pass(world, fitted)
    without = zip(*replicate_ladders(world, fitted, False, sums, stages, 10), strict=True)
    before = divided(fitted, entries_of(world, stages)).shares
    steps, real = [], []
    for group, (found, entries) in enumerate(without):
        steps.append(divided(found, entries).shares - before)
        rest = world.part(world.group != group)
        refit = fit_ladder(rest, "none", fitted)
        shares = divided(refit.ladder, entries_of(rest, refit.entry_stages)).shares
        real.append(shares - before)
    step, move = np.array(steps), np.array(real)
    assert np.abs(step - move).mean() < 0.25 * np.abs(move).mean()
    assert (step * move).sum() / (step**2).sum() == pytest.approx(1.0, abs=0.05)  # and as far


def test_an_effect_that_is_held_at_0_is_not_known_to_be_0(world: CustomerDays) -> None:
    """What stays at 0 in every replicate would have no interval: 0 for certain, by chance."""
    fitted = fit_ladder(world, "none").ladder
    _, sums, stages = ladder_pass(world, fitted)
    ladders, _ = replicate_ladders(world, fitted, False, sums, stages, 10)
    held = (fitted.effect < 1e-5) & (fitted.organic > 1e-3)[..., None]
    assert held.any()
    found = np.array([ladder.effect[held] for ladder in ladders])
    assert ((found < 0).any(axis=0) & (found > 0).any(axis=0)).all()
    free = moving(fitted, False)
    assert free.sum() < free.size  # a hazard at 0 from which nobody moves stays there


def test_a_channel_that_is_hardly_met_is_not_said_to_move_everybody() -> None:
    """Thirty contacts that nobody moved after exclude an effect of a third, not one of a tenth."""
    days = days_of("all steps recorded", 0.0, 2, 8_000)
    days = days.part(~days.entries()[:, 5])
    kept = np.ones(days.touch_day.size, dtype=np.bool_)
    kept[np.flatnonzero(days.touch_channel == 5)[30:]] = False
    days = replace(
        days,
        touch_start=np.concatenate([[0], np.cumsum(kept)])[days.touch_start],
        touch_day=days.touch_day[kept],
        touch_channel=days.touch_channel[kept],
    )
    found = ladder(days, days.conversions, 0.0, 20, shape="none")
    effects = [row for row in found.effects if row["channel"] == "f"]
    held = [row for row in effects if row["chance_per_contact"] < 1e-6]
    assert held
    for row in held:
        assert 0.05 < row["chance_high"] < 0.6, row


def test_which_weekday_is_the_first_makes_no_difference() -> None:
    """And one on which nobody is met or moves is none that the others are measured by."""
    days = days_of("weekly bursts", 0.5, 3, 2_500)
    closed = (np.repeat(days.first_weekday, np.diff(days.touch_start)) + days.touch_day) % 7 == 3
    closed &= days.touch_day > 0
    kept = np.concatenate([[0], np.cumsum(~closed)])[days.touch_start]
    days = replace(
        days, touch_start=kept, touch_day=days.touch_day[~closed],
        touch_channel=days.touch_channel[~closed],
    )  # fmt: skip
    shares, spread = [], []
    for first in (0, 3, 5):
        shifted = replace(days, first_weekday=(days.first_weekday - first) % 7)
        start = with_weekdays(first_guess(shifted, "none"))
        found = ladder(shifted, 1.0, 0.0, 20, shape="none", start=start)
        assert found.fitted.ladder.week[0, (3 - first) % 7] < 1e-6
        shares.append(found.credit.conversions)
        spread.append(found.replicates.std(axis=0))
    for other in (1, 2):
        assert shares[other] == pytest.approx(shares[0], abs=2e-4)
        assert spread[other] == pytest.approx(spread[0], rel=0.05)


def test_intervals_know_what_is_cut_at_0() -> None:
    """A share of 0 is one that might have been below: its replicates are not cut."""
    days = days_of("all steps recorded", 1.0, 6, 4_000)
    found = ladder(days, days.conversions, 0.0, 10, shape="none")
    assert 0 <= found.credit.conversions[5] < 1e-4 * days.conversions
    assert found.replicates[:, 5].min() < -1e-4
    assert found.replicates[:, 5].max() > 1e-4


CONVERTING = [
    {"last_day": 5, "converted": True, "touches": [(0, i % 2)], "records": [(1, 1), (3, 2)]}
    for i in range(40)
]


@pytest.mark.parametrize(
    ("rows", "steps", "message"),
    [
        (CONVERTING, 1, "one rung is no ladder"),
        ([{"last_day": 3, "touches": [(0, 0)]}], 2, "no step of the setting `steps` was recorded"),
        ([{**row, "records": [(1, 1)]} for row in CONVERTING], 2, "the step step 2"),
        (CONVERTING[:5], 2, "5 sampled customers convert, and it needs 30"),
        (
            [{**row, "touches": [(0, 0), (1, 1), (3, 1), (4, 1)]} for row in CONVERTING],
            2,
            "100% of the touches of b record step 1 the same day",
        ),
    ],
)
def test_days_that_carry_no_ladder_are_refused(rows: list, steps: int, message: str) -> None:
    if steps == 1:
        rows = [{**row, "records": [(1, 1)]} for row in rows]
    with pytest.raises(ModelRefused, match=message) as caught:
        ladder(customers(rows, steps=steps), 10.0, 0.0, 0)
    assert "\n" not in str(caught.value)


def test_steps_in_the_wrong_order_are_refused() -> None:
    people = pd.DataFrame(
        {
            "customer": range(60), "replicate_group": 0, "weight": 1.0, "last_day": 9,
            "first_weekday": 0,
            "horizon": 9, "is_converted": True, "share_elsewhere": 0.25,
        }
    )  # fmt: skip
    days = pd.DataFrame(
        [row for i in range(60) for row in (
            (i, 0, 0, None, True), (i, 1, None, 2, True), (i, 2, None, 1, False),
        )],
        columns=["customer", "day", "channel_index", "rung", "is_in_order"],
    )  # fmt: skip
    days = pd.concat([days, pd.DataFrame([(0, -1, None, 1, True)], columns=days.columns)])
    read = read_customer_days(("a",), ("late", "early"), people, days)
    assert read.first_stage[0] == 1
    assert read.share_out_of_order == pytest.approx(60 / 121)
    assert read.share_elsewhere == 0.25
    with pytest.raises(ModelRefused, match="put `steps` into the order"):
        ladder(read, 60.0, 0.0, 0)


def test_days_that_contradict_themselves_are_an_error() -> None:
    with pytest.raises(InvalidPaths, match="no such day"):
        customers([{"last_day": 2, "touches": [(0, 0), (3, 0)]}])
    with pytest.raises(InvalidPaths, match="day 0 is not that of the first touch"):
        customers([{"last_day": 2, "touches": [(1, 0)]}])
    with pytest.raises(InvalidPaths, match="no rung"):
        customers([{"last_day": 2, "touches": [(0, 0)], "records": [(1, 8)]}])


def test_a_kernel_may_be_laid_over_a_fit(world: CustomerDays) -> None:
    plain = first_guess(world, "none")
    assert with_kernel(plain, "free").kernel.size == LAGS["free"]


@pytest.mark.parametrize("floor", [0.2, 1e-9])
def test_a_lift_below_the_ladders_own_is_met(world: CustomerDays, floor: float) -> None:
    """Also where a move has hardly any organic hazard that an effect could be taken from."""
    parameters = fit_ladder(world, "none").ladder
    organic = parameters.organic.copy()
    organic[0, 2] = floor * organic[0, 1]
    parameters = parameters._replace(organic=organic)
    _, sums, stages = ladder_pass(world, parameters)
    entries = entries_of(world, stages)
    [own] = lifts(parameters, entries, np.array([4]))
    tests = LiftTests(np.array([4]), np.array([own / 3]), np.array([0.005]))
    found = calibrate(parameters, sums, entries, tests, np.zeros(1))
    assert found.before == pytest.approx([own])
    assert found.after == pytest.approx([own / 3], abs=0.01)
    assert np.abs(found.delta[[0, 1, 2, 3, 5]]).max() < 0.3
    assert found.delta[4] > 0.5


def test_calibration_keeps_the_causes_of_every_weekday_together() -> None:
    """What channels lose the organic hazard gains, by its days at risk times their factors."""
    days, parameters = customers(SOME), random_ladder(6, lags=3, weekdays=7)
    sums = ladder_pass(days, parameters)[1]

    def causes(ladder: Ladder) -> float:
        organic = (ladder.organic_by_weekday() * sums.organic_days).sum()
        return float(organic + (ladder.effect * (sums.effect_days @ ladder.kernel)).sum())

    changed = causal(parameters, sums, np.array([0.4, 0.1]))
    assert causes(changed) == pytest.approx(causes(parameters), rel=1e-12)
    assert changed.organic.sum() > parameters.organic.sum()


def test_a_lift_that_nobody_could_have_made_is_refused(world: CustomerDays) -> None:
    parameters = fit_ladder(world, "none").ladder
    _, sums, stages = ladder_pass(world, parameters)
    tests = LiftTests(np.array([5]), np.array([0.9]), np.array([0.001]))
    with pytest.raises(ModelRefused, match="more effect than there were moves"):
        calibrate(
            parameters._replace(effect=np.maximum(parameters.effect, 1e-3)),
            sums, entries_of(world, stages), tests, np.zeros(1),
        )  # fmt: skip


@pytest.mark.parametrize(("classes", "weekdays"), [(1, 1), (3, 1), (1, 4), (3, 7)])
@pytest.mark.parametrize(("lags", "is_geometric"), [(1, False), (3, False), (3, True)])
@pytest.mark.parametrize("alike", [False, True])
def test_the_slope_is_that_of_the_likelihood(
    lags: int, is_geometric: bool, classes: int, weekdays: int, alike: bool
) -> None:
    days = customers(SOME)
    like = random_ladder(5, lags=lags, classes=classes, weekdays=weekdays)
    if alike:
        like = met_alike(like)
    row = coordinates(like, is_geometric)
    here = ladder_at(row, like, is_geometric)
    found = slope(row, here, ladder_pass(days, here)[1], is_geometric)
    around = np.zeros_like(found)
    for i in range(row.size):
        step = np.zeros_like(row)
        step[i] = 1e-5
        up, down = (
            ladder_pass(days, ladder_at(row + sign * step, like, is_geometric))[0]
            for sign in (1, -1)
        )
        around[i] = (up - down) / 2e-5
    assert found == pytest.approx(around, rel=1e-6, abs=1e-7)


def test_an_effect_of_0_has_a_slope_where_its_root_has_none() -> None:
    days = customers(SOME)
    ladder = random_ladder(5, lags=3, classes=1)
    nowhere = ladder._replace(effect=np.zeros_like(ladder.effect))
    row = coordinates(nowhere, False)
    sums = ladder_pass(days, nowhere)[1]
    upward = ladder.effect > 0
    at = np.flatnonzero(row == 0.0)[-upward.sum() :]
    assert not slope(row, nowhere, sums, False)[at].any()
    found = plain_slope(row, nowhere, sums, False)[at]
    around = []
    for place in np.argwhere(upward):
        up, down = np.zeros_like(ladder.effect), np.zeros_like(ladder.effect)
        up[tuple(place)], down[tuple(place)] = 1e-6, -1e-6
        values = [ladder_pass(days, nowhere._replace(effect=e))[0] for e in (up, down)]
        around.append((values[0] - values[1]) / 2e-6)
    assert found == pytest.approx(around, rel=1e-5, abs=1e-6)

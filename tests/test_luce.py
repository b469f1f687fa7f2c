"""Weights per channel against slow oracles, all sets of channels by brute force, and axioms."""

import time
from dataclasses import astuple

import numpy as np
import pytest
from conftest import real_export
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from attribution import luce
from attribution.coalitions import coalition_counts
from attribution.errors import ConvergenceError, ModelError
from attribution.luce import luce_weights
from attribution.models.markov import markov
from attribution.models.shapley import shapley
from attribution.paths import read_paths
from attribution.transitions import transition_counts


def credit_per_conversion(members, fit):
    """What SQL does: the channels of the highest level in a set share by weight, (n, K)."""
    level = np.where(members, fit.level, -1)
    weight = np.where(members & (level == level.max(axis=1, keepdims=True)), fit.weight, 0.0)
    return weight / weight.sum(axis=1, keepdims=True)


def luce_totals(members, amounts, log_weight):
    log_weight = np.where(members, log_weight, -np.inf)
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    return amounts @ (weight / weight.sum(axis=1, keepdims=True))


def random_sets(rng, channels, n):
    members = rng.random((n, channels)) < rng.choice([0.15, 0.3, 0.6])
    members[~members.any(axis=1), rng.integers(channels)] = True
    return members


def prototype_case(rng):
    """Six channels, 20 coalitions, totals that pay them little heed."""
    amounts = rng.integers(1, 500, 20).astype(float)
    sets = rng.choice(np.arange(1, 64), 20, replace=False)
    members = (sets[:, None] >> np.arange(6) & 1).astype(bool)
    return members, amounts, rng.dirichlet(np.full(6, 0.5)) * amounts.sum()


def proper_subsets(channels):
    inside = np.arange(1, 2**channels - 1)[:, None] >> np.arange(channels) & 1
    return inside.astype(bool)


def floors(members, amounts, inside):
    """f(A): the amounts of the sets inside each A, by definition."""
    return np.array([amounts[~members[:, ~a].any(axis=1)].sum() for a in inside])


def most_violated_by_enumeration(members, amounts, totals):
    inside = proper_subsets(len(totals))
    beyond = floors(members, amounts, inside) - inside @ totals
    return inside[np.argmax(beyond)], beyond.max()


def most_violated_by_linear_program(members, amounts, totals):
    """Maximum closure: a set counts if all its channels are in; the polytope is integral."""
    n, channels = members.shape
    row, channel = np.nonzero(members)
    constraint = np.zeros((len(row), n + channels))
    constraint[np.arange(len(row)), row] = 1
    constraint[np.arange(len(row)), n + channel] = -1
    done = linprog(np.append(-amounts, totals), constraint, np.zeros(len(row)), bounds=(0, 1))
    inside = done.x[n:] > 0.5
    return inside, float(floors(members, amounts, [inside])[0] - totals[inside].sum())


def nearest_by_recursion(members, amounts, totals, most_violated):
    """The nearest attainable totals: split at the most violated set until none is."""
    totals = totals * (amounts.sum() / totals.sum())
    if len(totals) == 1 or amounts.sum() == 0:
        return totals
    inside, beyond = most_violated(members, amounts, totals)
    if beyond <= 1e-12 or inside.all() or not inside.any():
        return totals
    forced = ~members[:, ~inside].any(axis=1)
    nearest = np.empty(len(totals))
    for part, rows in ((inside, forced), (~inside, ~forced)):
        nearest[part] = nearest_by_recursion(
            members[rows][:, part], amounts[rows], totals[part], most_violated
        )
    return nearest


@st.composite
def cases(draw):
    """Small whole numbers, so that totals often lie on the edge of the core or far outside."""
    channels = draw(st.integers(1, 5))
    sets = draw(st.lists(st.integers(1, 2**channels - 1), min_size=1, max_size=8))
    members = (np.array(sets)[:, None] >> np.arange(channels) & 1).astype(bool)
    amounts = draw(st.lists(st.integers(0, 4), min_size=len(sets), max_size=len(sets)))
    totals = draw(st.lists(st.integers(-2, 5), min_size=channels, max_size=channels))
    totals[0] += sum(amounts) - sum(totals)
    return members, np.array(amounts, dtype=float), np.array(totals, dtype=float)


def sizes(rng):
    return int(rng.integers(2, 9)), int(rng.integers(1, 30))


seeds = st.integers(0, 10**9)


@given(seeds, st.sampled_from([0.5, 3.0, 8.0]))
def test_attainable_totals_are_met(seed, spread):
    rng = np.random.default_rng(seed)
    channels, n = sizes(rng)
    members, amounts = random_sets(rng, channels, n), 10 ** rng.uniform(-6, 3, n)
    totals = luce_totals(members, amounts, rng.normal(0, spread, channels))
    fit = luce_weights(members, amounts, totals)
    tolerance = 1e-9 * amounts.sum()
    assert np.abs(fit.gap).max() <= tolerance
    assert fit.residual <= tolerance
    reached = amounts @ credit_per_conversion(members, fit)
    np.testing.assert_allclose(reached, fit.credited, rtol=0, atol=tolerance)


@given(seeds)
def test_weights_are_recovered_up_to_scale(seed):
    rng = np.random.default_rng(seed)
    channels, n = sizes(rng)
    members, amounts = random_sets(rng, channels, n), rng.uniform(1, 100, n)
    joins_all = np.ones((1, channels), dtype=bool)
    members, amounts = np.vstack([members, joins_all]), np.append(amounts, 1.0)
    true = rng.normal(0, 1, channels)
    fit = luce_weights(members, amounts, luce_totals(members, amounts, true))
    np.testing.assert_array_equal(fit.level, 0)
    np.testing.assert_allclose(np.log(fit.weight), true - true.mean(), atol=1e-6)


def test_each_component_has_a_scale_of_its_own():
    members = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]], dtype=bool)
    fit = luce_weights(members, np.array([8.0, 10.0, 3.0]), np.array([2.0, 6.0, 1.0, 9.0, 3.0]))
    np.testing.assert_allclose(fit.weight, [3**-0.5, 3**0.5, 1 / 3, 3, 1], rtol=1e-9)
    np.testing.assert_array_equal(fit.level, 0)


def test_300_cases_of_unattainable_totals():
    """The cases of the prototype: also the fact that floors of single channels are not enough."""
    rng = np.random.default_rng(0)
    inside, only_jointly = proper_subsets(6), 0
    single = inside.sum(axis=1) == 1
    for _ in range(300):
        members, amounts, totals = prototype_case(rng)
        total, floor = amounts.sum(), floors(members, amounts, inside)
        fit = luce_weights(members, amounts, totals)
        assert (inside @ fit.credited >= floor - 1e-9 * total).all()
        assert fit.credited.sum() == pytest.approx(total, rel=1e-9)
        nearest = nearest_by_recursion(members, amounts, totals, most_violated_by_enumeration)
        np.testing.assert_allclose(fit.credited, nearest, rtol=0, atol=1e-9 * total)
        reached = amounts @ credit_per_conversion(members, fit)
        np.testing.assert_allclose(reached, fit.credited, rtol=0, atol=1e-9 * total)
        missed = floor - inside @ totals
        only_jointly += missed.max() > 1e-6 and (missed[single] <= 1e-9).all()
    assert only_jointly == 94


@pytest.mark.parametrize("seed", range(12))
def test_enumeration_and_linear_program_agree(seed):
    rng = np.random.default_rng(seed)
    channels = 5 + seed % 8
    members, amounts = random_sets(rng, channels, 40), rng.uniform(1, 100, 40)
    even = luce_totals(members, amounts, np.zeros(channels))
    totals = (even + amounts.mean()) * np.exp(rng.normal(0, 1, channels))
    totals *= members.any(axis=0)
    totals *= amounts.sum() / totals.sum()
    credited = luce_weights(members, amounts, totals).credited
    for most_violated in (most_violated_by_enumeration, most_violated_by_linear_program):
        nearest = nearest_by_recursion(members, amounts, totals, most_violated)
        np.testing.assert_allclose(credited, nearest, rtol=0, atol=1e-9 * amounts.sum())


@pytest.mark.parametrize("seed", range(8))
def test_no_other_attainable_totals_are_nearer(seed):
    """The core written out as inequalities, and a general solver for the divergence."""
    rng = np.random.default_rng(seed)
    members = np.vstack([random_sets(rng, 4, 8), np.ones((1, 4), dtype=bool)])
    amounts, totals = rng.dirichlet(np.ones(9)), rng.dirichlet(np.full(4, 0.5))
    inside = proper_subsets(4)
    floor = floors(members, amounts, inside)
    core = [
        {"type": "ineq", "fun": lambda x: inside @ x - floor},
        {"type": "eq", "fun": lambda x: x.sum() - 1},
    ]

    def divergence(x):
        return float(np.sum(x * np.log(np.maximum(x, 1e-300) / totals)))

    slow = minimize(
        divergence,
        luce_totals(members, amounts, np.zeros(4)),
        method="SLSQP",
        bounds=[(1e-12, 1)] * 4,
        constraints=core,
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    credited = luce_weights(members, amounts, totals).credited
    assert divergence(credited) <= slow.fun + 1e-9
    np.testing.assert_allclose(credited, slow.x, atol=1e-4)


@settings(max_examples=500)
@given(cases())
def test_whatever_the_totals_every_conversion_is_shared_out(case):
    members, amounts, totals = case
    fit = luce_weights(members, amounts, totals)
    shares = credit_per_conversion(members, fit)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares[~members] == 0).all()
    assert (fit.weight > 0).all()
    assert np.isfinite(fit.weight).all()
    tolerance = 1e-9 * amounts.sum()
    np.testing.assert_allclose(amounts @ shares, fit.credited, rtol=0, atol=tolerance)
    np.testing.assert_allclose(totals - fit.credited, fit.gap, rtol=0, atol=tolerance)


@settings(max_examples=300)
@given(cases())
def test_totals_in_the_core_leave_no_gap_and_others_do(case):
    members, amounts, totals = case
    inside = proper_subsets(len(totals))
    attainable = (inside @ totals >= floors(members, amounts, inside)).all()
    gap = np.abs(luce_weights(members, amounts, totals).gap).max()
    assert (gap <= 1e-9 * amounts.sum()) == attainable


@given(cases(), st.randoms(use_true_random=False))
def test_names_and_rows_in_any_order(case, random):
    members, amounts, totals = case
    channels, rows = list(range(len(totals))), list(range(len(amounts)))
    random.shuffle(channels)
    random.shuffle(rows)
    fit = luce_weights(members, amounts, totals)
    other = luce_weights(members[rows][:, channels], amounts[rows], totals[channels])
    tolerance = 1e-8 * amounts.sum()
    np.testing.assert_allclose(other.credited, fit.credited[channels], rtol=0, atol=tolerance)
    shares = credit_per_conversion(members, fit)[rows][:, channels]
    apart = shares - credit_per_conversion(members[rows][:, channels], other)
    assert (np.abs(amounts[rows, None] * apart) <= tolerance).all()


@given(cases(), st.sampled_from([1e-6, 3.0, 1e9]))
def test_the_unit_does_not_matter(case, unit):
    members, amounts, totals = case
    fit = luce_weights(members, amounts, totals)
    scaled = luce_weights(members, amounts * unit, totals * unit)
    tolerance = 1e-8 * amounts.sum()
    np.testing.assert_allclose(scaled.credited / unit, fit.credited, rtol=0, atol=tolerance)


@given(cases())
def test_rows_of_the_same_set_are_one(case):
    members, amounts, totals = case
    whole = luce_weights(members, amounts, totals)
    halves = luce_weights(np.vstack([members, members]), np.tile(amounts / 2, 2), totals)
    for one, two in zip(astuple(whole), astuple(halves), strict=True):
        np.testing.assert_array_equal(one, two)


@given(cases())
def test_same_input_same_bits(case):
    first, second = luce_weights(*case), luce_weights(*case)
    for one, two in zip(astuple(first), astuple(second), strict=True):
        np.testing.assert_array_equal(one, two)


@given(seeds)
def test_an_even_split_has_equal_weights(seed):
    rng = np.random.default_rng(seed)
    channels, n = sizes(rng)
    members, amounts = random_sets(rng, channels, n), rng.uniform(0, 100, n)
    fit = luce_weights(members, amounts, luce_totals(members, amounts, np.zeros(channels)))
    np.testing.assert_array_equal(fit.level, 0)
    np.testing.assert_allclose(fit.weight, 1, rtol=1e-9)


@pytest.fixture(scope="module")
def path_data():
    file = real_export("channelattribution_pathdata", "Data.csv")
    columns = {"conversions": "total_conversions", "nulls": "total_null"}
    return read_paths(file, delimiter=";", columns=columns)


def test_path_data_markov_gives_alpha_less_than_it_has_alone(path_data):
    coalitions = coalition_counts(path_data)
    totals = markov(transition_counts(path_data)).conversions
    fit = luce_weights(coalitions.members, coalitions.conversions, totals)
    alpha = path_data.channels.index("alpha")
    assert totals[alpha] == pytest.approx(5345, abs=1)
    assert fit.credited[alpha] == pytest.approx(5742, abs=1e-6)
    assert fit.gap[alpha] == pytest.approx(totals[alpha] - 5742, abs=1e-6)
    reached = coalitions.conversions @ credit_per_conversion(coalitions.members, fit)
    np.testing.assert_allclose(reached, fit.credited, rtol=0, atol=1e-9 * 19785)


def test_path_data_shapley_needs_no_weights(path_data):
    coalitions = coalition_counts(path_data)
    totals = shapley(coalitions).conversions
    fit = luce_weights(coalitions.members, coalitions.conversions, totals)
    np.testing.assert_array_equal(fit.level, 0)
    np.testing.assert_allclose(fit.weight, 1, rtol=1e-9)
    assert np.abs(fit.gap).max() <= 1e-9 * 19785


def test_channels_alone_get_what_they_have():
    fit = luce_weights(np.eye(3, dtype=bool), np.array([1.0, 2.0, 3.0]), np.array([3.0, 0.0, 3.0]))
    np.testing.assert_allclose(fit.credited, [1, 2, 3])
    np.testing.assert_allclose(fit.gap, [2, -2, 0])
    np.testing.assert_array_equal(fit.weight, 1)


def test_one_channel():
    fit = luce_weights(np.ones((2, 1), dtype=bool), np.array([2.0, 3.0]), np.array([5.0]))
    assert astuple(fit) == (0, 1.0, 5.0, 0.0, 0.0)


def test_totals_of_zero_lose_every_shared_conversion():
    members = np.array([[1, 1, 1], [0, 1, 1], [0, 0, 1]], dtype=bool)
    fit = luce_weights(members, np.array([4.0, 2.0, 1.0]), np.array([7.0, 0.0, 0.0]))
    np.testing.assert_allclose(fit.credited, [4, 1.5, 1.5], atol=1e-8)
    np.testing.assert_array_equal(credit_per_conversion(members, fit)[0], [1, 0, 0])


def test_negative_totals_count_as_zero():
    members, amounts = np.array([[1, 1], [1, 0]], dtype=bool), np.array([4.0, 2.0])
    fit = luce_weights(members, amounts, np.array([-1.0, 7.0]))
    np.testing.assert_allclose(fit.credited, [2, 4], atol=1e-8)
    np.testing.assert_allclose(fit.gap, [-3, 3], atol=1e-8)


def test_a_tight_set_is_a_level():
    """The first channel gets just what it has alone, which no finite weights can say."""
    members, amounts = np.array([[1, 0], [1, 1]], dtype=bool), np.array([3.0, 5.0])
    fit = luce_weights(members, amounts, np.array([3.0, 5.0]))
    np.testing.assert_array_equal(fit.level, [0, 1])
    np.testing.assert_array_equal(fit.weight, 1)
    np.testing.assert_array_equal(fit.gap, 0)


@given(st.permutations(range(12)))
def test_strict_precedence_is_attainable(order):
    """The first channel of a set in some order gets it all: a corner of the core."""
    members = random_sets(np.random.default_rng(3), 12, 60)
    amounts, rank = np.arange(1.0, 61), np.array(order, dtype=float)
    fit = luce_weights(members, amounts, luce_totals(members, amounts, 50 * rank))
    assert np.abs(fit.gap).max() <= 1e-9 * amounts.sum()
    shares = credit_per_conversion(members, fit)
    np.testing.assert_array_equal(shares.argmax(axis=1), np.where(members, rank, -1).argmax(axis=1))
    np.testing.assert_allclose(shares.max(axis=1), 1)


@pytest.mark.parametrize("noise", [1e-6, 1e-8, 1e-10, 1e-12])
def test_totals_within_rounding_of_the_edge(noise):
    rng = np.random.default_rng(5)
    for _ in range(40):
        channels, n = sizes(rng)
        members, amounts = random_sets(rng, channels, n), 10 ** rng.uniform(-8, 0, n)
        totals = luce_totals(members, amounts, 600.0 * rng.integers(0, 3, channels))
        totals += noise * amounts.sum() * rng.normal(size=channels)
        totals *= amounts.sum() / totals.sum()
        fit = luce_weights(members, amounts, totals)
        tolerance = 1e-9 * amounts.sum()
        apart = amounts @ credit_per_conversion(members, fit) - fit.credited
        assert np.abs(apart).max() <= tolerance
        inside = proper_subsets(channels)
        assert (inside @ fit.credited >= floors(members, amounts, inside) - tolerance).all()
        if members.any(axis=0).all() and (totals > 0).all():
            nearest = nearest_by_recursion(members, amounts, totals, most_violated_by_enumeration)
            np.testing.assert_allclose(fit.credited, nearest, rtol=0, atol=tolerance)


@pytest.mark.parametrize("n", [0, 4])
def test_nothing_to_share(n):
    fit = luce_weights(np.ones((n, 3), dtype=bool), np.zeros(n), np.zeros(3))
    np.testing.assert_array_equal(fit.level, 0)
    np.testing.assert_array_equal(fit.weight, 1)
    np.testing.assert_array_equal(fit.credited, 0)


def test_no_channels():
    fit = luce_weights(np.zeros((2, 0), dtype=bool), np.zeros(2), np.zeros(0))
    assert fit.weight.shape == fit.level.shape == (0,)


def test_a_channel_without_conversions_keeps_its_total_as_a_gap():
    members = np.array([[1, 1, 0], [0, 0, 1]], dtype=bool)
    fit = luce_weights(members, np.array([5.0, 0.0]), np.array([3.0, 1.0, 1.0]))
    assert (fit.level[2], fit.weight[2], fit.credited[2], fit.gap[2]) == (0, 1, 0, 1)
    np.testing.assert_allclose(fit.credited[:2], [3.75, 1.25])


ONE = np.ones((1, 2), dtype=bool)


@pytest.mark.parametrize(
    ("members", "amounts", "totals", "message"),
    [
        (ONE, [-1.0], [0.0, -1.0], "below 0"),
        (ONE, [np.nan], [1.0, 0.0], "not finite"),
        (ONE, [1.0], [np.inf, 0.0], "not finite"),
        (np.ones((2, 2), dtype=bool), [1.5e308, 1.5e308], [1.0, 0.0], "not finite"),
        (ONE, [1.0], [1.0, 1e-6], "totals sum to 1.000001 and amounts to 1"),
        (ONE, [0.0], [1.0, 0.0], "totals sum to"),
        (~ONE, [1.0], [1.0, 0.0], "no channel"),
        (ONE.astype(int), [1.0], [1.0, 0.0], "no bool"),
        (ONE, [1.0, 1.0], [1.0, 1.0], r"\(2, 2\)"),
        (ONE, [1.0], [1.0], r"\(1, 1\)"),
        (ONE, [[1.0, 0.0]], 1.0, "no bool"),
    ],
)
def test_what_cannot_be_shared_is_refused_in_one_line(members, amounts, totals, message):
    with pytest.raises(ModelError, match=message) as refused:
        luce_weights(members, np.array(amounts), np.array(totals))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("unit", [5e-324, 1e-300, 8e307])
def test_amounts_of_any_size(unit):
    fit = luce_weights(np.ones((2, 2), dtype=bool), np.array([unit, unit]), np.array([2 * unit, 0]))
    np.testing.assert_array_equal(fit.credited, [2 * unit, 0])


def test_weights_beyond_floating_point_are_refused():
    """Each channel shares with the next alone and takes nearly all: factors of e^8 multiply up."""
    members = np.eye(200, dtype=bool) | np.eye(200, k=1, dtype=bool)
    taken = 1 / (1 + np.exp(-8.0))
    totals = np.full(200, 1.0)
    totals[0], totals[-1] = taken, 2 - taken
    with pytest.raises(ConvergenceError, match="too far apart"):
        luce_weights(members, np.ones(200), totals)


def test_a_fit_that_fails_is_an_error(monkeypatch):
    monkeypatch.setattr(luce, "PULLS", ())
    members, amounts = np.array([[1, 1], [1, 0]], dtype=bool), np.array([4.0, 2.0])
    with pytest.raises(ConvergenceError, match="off by 1"):
        luce_weights(members, amounts, np.array([1.0, 5.0]))


def test_minorise_maximise_takes_over_where_newton_has_no_direction(monkeypatch):
    rng = np.random.default_rng(2)
    members, amounts = random_sets(rng, 6, 30), rng.uniform(1, 9, 30)
    totals = luce_totals(members, amounts, rng.normal(size=6))

    def singular(*_):
        raise np.linalg.LinAlgError

    monkeypatch.setattr(np.linalg, "solve", singular)
    assert np.abs(luce_weights(members, amounts, totals).gap).max() <= 1e-9 * amounts.sum()


@pytest.mark.parametrize(
    ("channels", "n", "seconds"), [(20, 5_000, 5), (200, 20_000, 30)], ids=["20", "200"]
)
def test_size(channels, n, seconds):
    """0.1 s and 1 s on an idle machine of two cores; the limits leave room for a busy one."""
    rng = np.random.default_rng(0)
    popular = rng.dirichlet(np.full(channels, 0.5)) + 1e-3
    chosen = rng.choice(channels, (n, 5), p=popular / popular.sum())
    members = np.zeros((n, channels), dtype=bool)
    members[np.arange(n)[:, None], chosen] = True
    amounts = rng.pareto(1.2, n) + 1
    attainable = luce_totals(members, amounts, rng.normal(size=channels))
    begun = time.perf_counter()
    for totals in (attainable, rng.dirichlet(np.full(channels, 0.5)) * amounts.sum()):
        fit = luce_weights(members, amounts, totals)
        reached = amounts @ credit_per_conversion(members, fit)
        np.testing.assert_allclose(reached, fit.credited, rtol=0, atol=1e-9 * amounts.sum())
    assert time.perf_counter() - begun < seconds

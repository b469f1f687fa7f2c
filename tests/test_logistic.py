"""Bagged logistic regression: worked odds, an independent optimiser, known effects, odd input."""

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from attribution.coalitions import CoalitionCounts, coalition_counts
from attribution.errors import ConvergenceError, ModelError, ModelRefused, NoConversions, UsageError
from attribution.models import logistic as module
from attribution.models.logistic import fit, logistic, score
from attribution.paths import aggregate_paths

WHOLE = {"bags": 1, "journeys_share": 1.0, "channels_share": 1.0}

ROWS = st.lists(
    st.tuples(
        st.text("abcd", min_size=1, max_size=5).map(list),
        st.integers(0, 9),
        st.integers(0, 9),
        st.integers(-5, 50),
    ).map(lambda row: row if row[1] else (*row[:3], 0)),
    min_size=2,
    max_size=12,
).filter(lambda rows: all(any(row[outcome] for row in rows) for outcome in (1, 2)))


@pytest.fixture(autouse=True)
def one_thread():
    """Threads gain nothing at this size, and wait for each other on a busy machine."""
    with threadpool_limits(1):
        yield


def counted(rows):
    return coalition_counts(aggregate_paths(rows))


def coefficients(credit):
    prefix = "coefficient:"
    found = credit.diagnostics.items()
    return {name.removeprefix(prefix): value for name, value in found if name.startswith(prefix)}


def drawn_counts(effects, intercept, rows, journeys, seed):
    """Coalitions at random whose journeys convert by a logistic law with these effects."""
    random = np.random.default_rng(seed)
    size = len(effects)
    members = random.random((rows, size)) < 0.3
    members[np.arange(rows), random.integers(0, size, rows)] = True
    rate = 1 / (1 + np.exp(-intercept - members @ np.array(effects)))
    total = random.integers(1, journeys, rows)
    won = random.binomial(total, rate)
    channels = tuple(f"c{index:02}" for index in range(size))
    return CoalitionCounts(channels, members, np.zeros(rows), won, total - won, 2.0 * won)


def test_by_hand():
    """Odds of a, b, and both are 1/4, 1/2 and 2: the log odds ratios are ln 4 and ln 8."""
    rows = [(["a"], 1e7, 4e7, 5), (["b"], 2e7, 4e7, 6), (["a", "b"], 4e7, 2e7, 7)]
    credit = logistic(counted(rows), **WHOLE)
    assert coefficients(credit) == pytest.approx({"a": np.log(4), "b": np.log(8)}, abs=1e-5)
    assert credit.conversions == pytest.approx([7e7 * 2 / 5, 7e7 * 3 / 5], rel=1e-5)
    assert credit.revenue == pytest.approx([18 * 2 / 5, 18 * 3 / 5], rel=1e-5)
    assert credit.diagnostics["negative_channels"] == 0
    assert credit.diagnostics["bags"] == 1
    assert {"auc", "log_loss", "coefficient_variability"}.isdisjoint(credit.diagnostics)


def test_negative_coefficients_get_nothing_and_are_reported():
    rows = [(["a"], 1e6, 4e6, 0), (["b"], 4e6, 2e6, 0), (["a", "b"], 2e6, 4e6, 0)]
    credit = logistic(counted(rows), **WHOLE)
    assert coefficients(credit) == pytest.approx({"a": -np.log(4), "b": np.log(2)}, abs=1e-4)
    assert credit.conversions == pytest.approx([0, 7e6])
    assert credit.diagnostics["negative_channels"] == 1


def test_no_positive_coefficient_is_no_share():
    rows = [(["a"], 20, 10, 0), (["b"], 20, 10, 0), (["a", "b"], 5, 60, 0)]
    with pytest.raises(ModelError, match="no channel has a positive coefficient") as caught:
        logistic(counted(rows), **WHOLE)
    assert type(caught.value) is ModelRefused
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{}, WHOLE])
def test_a_channel_of_every_journey_says_nothing(options):
    """The likelihood leaves it with the intercept, wherever a solver would stop."""
    with pytest.raises(ModelError, match="no channel has a positive coefficient"):
        logistic(counted([(["a"], 9_000, 1_000, 0)]), **options)
    rows = [(["a", "b"], 6e6, 2e6, 0), (["a"], 3e6, 3e6, 0)]
    credit = logistic(counted(rows), **WHOLE)
    assert coefficients(credit) == pytest.approx({"a": 0, "b": np.log(3)}, abs=1e-5)
    assert credit.conversions == pytest.approx([0, 9e6])
    assert credit.diagnostics["negative_channels"] == 0


def penalised_loss(parameters, members, counts):
    odds = parameters[0] + members @ parameters[1:]
    loss = counts[0] @ np.logaddexp(0, odds) + counts[1] @ np.logaddexp(0, -odds)
    return loss + parameters[1:] @ parameters[1:] / 2


@given(ROWS)
@settings(max_examples=40)
def test_coefficients_by_another_optimiser(rows):
    table = counted(rows)
    counts = np.stack([table.nulls, table.conversions])
    loss = lambda parameters: penalised_loss(parameters, table.members, counts)  # noqa: E731
    best = minimize(loss, np.zeros(1 + len(table.channels)), method="BFGS", options={"gtol": 1e-7})
    found, intercept = fit(table.members, counts)
    assert [intercept, *found] == pytest.approx(best.x, abs=2e-3)
    assert loss(np.array([intercept, *found])) <= best.fun + 1e-7


@given(ROWS)
@settings(max_examples=40)
def test_score_by_brute_force(rows):
    table = counted(rows)
    counts = np.stack([table.nulls, table.conversions])
    odds = table.members @ np.arange(1.0, 1 + len(table.channels)) - 4
    lost, won = (np.repeat(odds, each.astype(int)) for each in counts)
    above = (won[:, None] > lost).mean() + (won[:, None] == lost).mean() / 2
    surprise = -np.log(np.concatenate([1 / (1 + np.exp(-won)), 1 / (1 + np.exp(lost))])).mean()
    assert score(odds, counts) == pytest.approx((counts.sum(), above, surprise))


def test_score_of_nothing_and_of_one_outcome():
    journeys, *undefined = score(np.zeros(2), np.zeros((2, 2)))
    assert journeys == 0
    assert np.isnan(undefined).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        journeys, auc, log_loss = score(np.zeros(2), np.array([[3.0, 1.0], [0.0, 0.0]]))
    assert (journeys, log_loss) == (4, pytest.approx(np.log(2)))
    assert np.isnan(auc)


def test_known_effects_are_recovered():
    effects = [0.8, 0.4, 0.2, -0.5, 0.0]
    table = drawn_counts(effects, -2, rows=400, journeys=4_000, seed=3)
    credit = logistic(table, bags=20, channels_share=1.0)
    assert list(coefficients(credit).values()) == pytest.approx(effects, abs=0.02)
    shares = credit.conversions / table.conversions.sum()
    assert shares[:3] == pytest.approx([0.8 / 1.4, 0.4 / 1.4, 0.2 / 1.4], abs=0.02)
    assert shares[3] == 0
    log_loss = credit.diagnostics["log_loss"]
    assert log_loss == pytest.approx(entropy(table, effects, -2), rel=0.01)
    assert 0.6 < credit.diagnostics["auc"] < 0.7


def entropy(table, effects, intercept):
    """Nats per journey that even the law itself cannot foretell."""
    odds = intercept + table.members @ np.array(effects)
    surprise = table.conversions @ np.logaddexp(0, -odds) + table.nulls @ np.logaddexp(0, odds)
    return surprise / (table.conversions.sum() + table.nulls.sum())


def test_bags_average_over_subsets_of_channels():
    """Half of two channels is one at a time: its odds ratio without regard to the other."""
    rows = [(["a"], 1e9, 4e9, 0), (["b"], 2e9, 4e9, 0), (["a", "b"], 4e9, 2e9, 0)]
    credit = logistic(counted(rows), bags=50)
    alone = {"a": np.log(5 / 6 / (2 / 4)), "b": np.log(6 / 6 / (1 / 4))}
    assert coefficients(credit) == pytest.approx(alone, abs=1e-3)
    assert credit.diagnostics["coefficient_variability"] < 1e-3


def test_what_is_held_out_is_what_was_not_drawn():
    """A bag that draws nearly all leaves journeys that it fits as badly as chance has it."""
    rows = [(["a"], 30, 60, 0), (["b"], 60, 30, 0), (["a", "b"], 45, 45, 0)]
    table = counted(rows)
    random = np.random.default_rng(5)
    counts = np.stack([table.nulls, table.conversions])
    losses, journeys = [], []
    for _ in range(7):
        kept = random.binomial(counts.astype(int), 0.7).astype(float)
        random.random(counts.shape)  # for parts of journeys, of which there are none
        random.choice(2, 2, replace=False)
        found, intercept = fit(table.members, kept)
        left, _, log_loss = score(intercept + table.members @ found, counts - kept)
        losses.append(log_loss)
        journeys.append(left)
    credit = logistic(table, bags=7, seed=5, journeys_share=0.7, channels_share=1.0)
    expected = np.average(losses, weights=journeys)
    assert credit.diagnostics["log_loss"] == pytest.approx(expected, rel=1e-9)


def test_variability_is_the_spread_over_bags():
    table = drawn_counts([0.5, 0.3], -1, rows=30, journeys=50, seed=1)
    credits = [
        logistic(table, bags=1, seed=seed, channels_share=1.0, journeys_share=0.5)
        for seed in range(60)
    ]
    spread = np.std([list(coefficients(each).values()) for each in credits], axis=0, ddof=1).mean()
    credit = logistic(table, bags=60, channels_share=1.0)
    assert credit.diagnostics["coefficient_variability"] == pytest.approx(spread, rel=0.3)


def test_the_same_seed_gives_the_same_bits():
    table = drawn_counts([0.5, 0.3, 0.1], -1, rows=60, journeys=50, seed=1)
    one, again, other = (logistic(table, bags=10, seed=seed) for seed in (3, 3, 4))
    assert one.conversions.tobytes() == again.conversions.tobytes()
    assert one.diagnostics == again.diagnostics
    assert one.diagnostics != other.diagnostics


def test_neither_order_of_rows_nor_groups_show():
    table = drawn_counts([0.5, 0.3, 0.1], -1, rows=60, journeys=50, seed=1)
    order = np.random.default_rng(2).permutation(120)
    doubled = [np.tile(each, 2)[order] for each in (table.conversions, table.nulls, table.revenue)]
    groups = np.repeat([0, 1], 60)[order]
    cut = CoalitionCounts(table.channels, np.tile(table.members, (2, 1))[order], groups, *doubled)
    twice = [2 * each for each in (table.conversions, table.nulls, table.revenue)]
    whole = CoalitionCounts(table.channels, table.members, np.zeros(60), *twice)
    one, other = (logistic(each, bags=10) for each in (cut, whole))
    assert one.conversions == pytest.approx(other.conversions, rel=1e-12)
    assert one.diagnostics == pytest.approx(other.diagnostics, rel=1e-12)


def test_names_do_not_matter_without_draws():
    rows = [(["a"], 9, 40, 0), (["b", "c"], 12, 30, 0), (["a", "c"], 30, 20, 0), (["b"], 7, 8, 0)]
    names = {"a": "z", "b": "y", "c": "x"}
    renamed = [([names[step] for step in path], *counts) for path, *counts in rows]
    one, other = (logistic(counted(each), **WHOLE) for each in (rows, renamed))
    expected = {names[name]: value for name, value in coefficients(one).items()}
    assert coefficients(other) == pytest.approx(expected, abs=1e-5)


def test_scaling_many_journeys_leaves_shares():
    table = drawn_counts([0.8, 0.4], -2, rows=100, journeys=10_000, seed=3)
    more = [1_000 * each for each in (table.conversions, table.nulls, table.revenue)]
    scaled = CoalitionCounts(table.channels, table.members, table.replicate_group, *more)
    one, other = (logistic(each, **WHOLE) for each in (table, scaled))
    assert other.conversions == pytest.approx(1_000 * one.conversions, rel=1e-3)


def test_channels_without_journeys_change_nothing():
    rows = [(["b"], 9, 40, 0), (["d"], 30, 20, 0), (["b", "d"], 7, 8, 0)]
    unseen = [(["a"], 0, 0, 0), (["b", "c"], 0, 0, 0), (["e"], 0, 0, 0)]
    one, other = (logistic(counted(each), bags=20) for each in (rows, rows + unseen))
    assert other.conversions[[1, 3]].tobytes() == one.conversions.tobytes()
    assert other.conversions[[0, 2, 4]].tolist() == [0, 0, 0]
    assert other.diagnostics == one.diagnostics


@given(ROWS, st.sampled_from([1, 0.25]))
@settings(max_examples=40)
def test_sums_and_range(rows, factor):
    """Of whole journeys and of parts of journeys alike."""
    scaled = [(path, *(factor * count for count in counts)) for path, *counts in rows]
    table = counted(scaled)
    try:
        credit = logistic(table, bags=8)
    except (ModelError, UsageError) as error:
        assert any(  # noqa: PT017
            words in str(error)
            for words in ("no channel has a positive", "no bag draws", "takes part in no bag")
        )
        return
    assert credit.conversions.sum() == pytest.approx(table.conversions.sum(), rel=1e-9)
    assert credit.revenue.sum() == pytest.approx(table.revenue.sum(), rel=1e-9, abs=1e-9)
    assert credit.conversions.min() >= 0
    assert 1 <= credit.diagnostics["bags"] <= 8
    assert credit.diagnostics["negative_channels"] < len(table.channels)
    assert 0 <= credit.diagnostics.get("auc", 0) <= 1


def test_parts_of_journeys_are_drawn_too():
    rows = [(["a"], 0.5, 0.5, 0), (["b"], 0.25, 0.75, 0), (["a", "b"], 0.75, 0.25, 0)]
    assert logistic(counted(rows), bags=50).diagnostics["bags"] > 10


def test_bags_with_one_outcome_are_left_out():
    rows = [(["a"], 2, 50, 0), (["b"], 0, 50, 0)]
    credit = logistic(counted(rows), bags=100)
    assert 60 < credit.diagnostics["bags"] < 90  # three quarters
    assert credit.conversions == pytest.approx([2, 0])


def test_separated_channels_stay_finite():
    rows = [(["a"], 1_000, 0, 0), (["b"], 0, 1_000, 0), (["a", "b"], 10, 10, 0)]
    credit = logistic(counted(rows))
    assert credit.conversions == pytest.approx([1_010, 0])
    assert 1 < coefficients(credit)["a"] < 20


def test_one_outcome_alone_is_refused():
    with pytest.raises(NoConversions, match="logistic has nothing to credit"):
        logistic(counted([(["a"], 0, 3, 0), ([], 4, 0, 0)]))
    with pytest.raises(ModelError, match="every journey converts") as caught:
        logistic(counted([(["a"], 3, 0, 0), (["b"], 4, 0, 0), ([], 0, 5, 0)]))
    assert "\n" not in str(caught.value)


def test_too_few_conversions_for_any_bag():
    with pytest.raises(ModelError, match="no bag draws both outcomes"):
        logistic(counted([(["a"], 1, 9, 0), (["b"], 0, 9, 0)]), bags=1, journeys_share=1e-6)


def test_too_few_bags_for_every_channel():
    rows = [(["a"], 90, 900, 0), (["b"], 90, 900, 0), (["c"], 90, 900, 0)]
    with pytest.raises(UsageError, match=r"'.' takes part in no bag: raise bags"):
        logistic(counted(rows), bags=1)


def test_more_journeys_than_can_be_drawn():
    with pytest.raises(ModelError, match="too many to draw from"):
        logistic(counted([(["a"], 1e300, 9, 0), (["b"], 0, 9, 0)]))


def test_a_solver_that_stops_early_is_no_answer(monkeypatch):
    monkeypatch.setattr(module, "MAX_ITERATIONS", 1)
    with pytest.raises(ConvergenceError, match="the solver stops before its tolerance"):
        logistic(drawn_counts([0.8, 0.4], -2, rows=100, journeys=100, seed=3))


@pytest.mark.parametrize(
    "options",
    [
        {"bags": 0},
        {"seed": -1},
        {"journeys_share": 0},
        {"journeys_share": 1.1},
        {"channels_share": 0},
        {"channels_share": float("nan")},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(UsageError, match="logistic: bags="):
        logistic(counted([(["a"], 1, 9, 0), (["b"], 2, 9, 0)]), **options)


def test_a_hundred_bags_of_five_thousand_coalitions():
    table = drawn_counts(np.linspace(-0.2, 0.8, 20), -3, rows=5_000, journeys=200, seed=2)
    began = time.perf_counter()
    credit = logistic(table)
    assert time.perf_counter() - began < 10
    assert credit.diagnostics["bags"] == 100

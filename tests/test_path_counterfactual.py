"""Path counterfactual by hand, by brute force on fractions, and its invariances."""

import time
from fractions import Fraction

import numpy as np
import pytest
from conftest import real_export
from hypothesis import given
from hypothesis import strategies as st

from attribution.errors import NoConversions
from attribution.models.path_counterfactual import path_counterfactual
from attribution.paths import Paths, aggregate_paths, read_paths

ROWS = st.lists(
    st.tuples(
        st.text("abc", min_size=1, max_size=4).map(list),
        st.integers(0, 4),
        st.integers(0, 4),
        st.integers(-5, 50),
    ).map(lambda row: row if row[1] else (*row[:3], 0)),
    min_size=1,
    max_size=25,
).filter(lambda rows: any(row[1] for row in rows))


def credit_of(rows):
    paths = aggregate_paths(rows)
    credit = path_counterfactual(paths)
    return dict(zip(paths.channels, credit.conversions.tolist(), strict=True))


def test_by_hand():
    """Of a > b, at rate .75: a adds .75 - P(b) = .25 and b adds .75 - P(a) = .5."""
    paths = aggregate_paths([(["a", "b"], 3, 1, 30), (["a"], 1, 3, 5), (["b"], 1, 1, 0)])
    credit = path_counterfactual(paths)
    assert credit.conversions == pytest.approx([1 + 1, 1 + 2])
    assert credit.revenue == pytest.approx([5 + 10, 20])
    assert credit.diagnostics == {"last_touch_share": 0, "unseen_share": 0}


def test_a_touch_that_lowers_the_rate_gets_nothing():
    rows = [(["a", "b"], 2, 2, 0), (["a"], 3, 1, 0), (["b"], 1, 3, 0)]
    assert credit_of(rows) == pytest.approx({"a": 3 + 2, "b": 1})


def test_the_last_touch_where_none_adds_anything():
    paths = aggregate_paths([(["a", "b"], 2, 4, 9), (["a"], 3, 1, 0), (["b"], 1, 2, 0)])
    credit = path_counterfactual(paths)
    assert credit.conversions == pytest.approx([3, 1 + 2])
    assert credit.revenue == pytest.approx([0, 9])
    assert credit.diagnostics["last_touch_share"] == pytest.approx(2 / 6)


def test_order_and_repeats_make_another_path():
    """Without one a, a > b > a is b > a or a > b, and only the latter was ever taken."""
    paths = aggregate_paths([(["a", "b", "a"], 3, 1, 0), (["a", "b"], 1, 1, 0)])
    credit = path_counterfactual(paths)
    # Of a > b > a: .75, .75 (a > a is unseen) and .25; of a > b: both alone are unseen.
    assert credit.conversions == pytest.approx([3 * 4 / 7 + 0.5, 3 * 3 / 7 + 0.5])
    assert credit.diagnostics["unseen_share"] == 1


def test_a_path_that_nobody_took_is_unseen():
    with_empty = [(["a", "b"], 1, 1, 0), (["a"], 0, 0, 0), (["b"], 1, 2, 0)]
    paths = aggregate_paths(with_empty)
    assert path_counterfactual(paths).diagnostics["unseen_share"] == pytest.approx(1 / 2)
    assert credit_of(with_empty) == pytest.approx(credit_of([with_empty[0], with_empty[2]]))


def test_equal_rates_that_round_differently_add_nothing():
    assert 0.3 / (0.3 + 0.6) > 1 / 3
    rows = [(["a", "b"], 0.3, 0.6, 0), (["a"], 1, 2, 0), (["b"], 1, 2, 0)]
    assert credit_of(rows) == pytest.approx({"a": 1, "b": 1.3})


def by_fractions(rows):
    """Credit per channel of conversions and revenue, read off the definition."""
    counts, money = {}, {}
    for path, conversions, nulls, revenue in rows:
        won, lost = counts.get(tuple(path), (0, 0))
        counts[tuple(path)] = won + conversions, lost + nulls
        money[tuple(path)] = money.get(tuple(path), 0) + revenue

    def rate(path):
        won, lost = counts.get(path, (0, 0))
        return Fraction(won, won + lost) if won + lost else Fraction(0)

    credit = {channel: [Fraction(0), Fraction(0)] for path in counts for channel in path}
    for path, (won, _) in counts.items():
        touches = range(len(path))
        shorter = [path[:i] + path[i + 1 :] for i in touches]
        added = [max(rate(path) - (rate(other) if other else 0), 0) for other in shorter]
        if not any(added):
            added[-1] = Fraction(1)
        for channel, part in zip(path, added, strict=True):
            credit[channel][0] += won * part / sum(added)
            credit[channel][1] += money[path] * part / sum(added)
    return np.array([credit[channel] for channel in sorted(credit)], dtype=float)


@given(ROWS)
def test_by_brute_force(rows):
    credit = path_counterfactual(aggregate_paths(rows))
    found = np.column_stack([credit.conversions, credit.revenue])
    assert found == pytest.approx(by_fractions(rows), abs=1e-9)


@given(ROWS)
def test_sums_and_range(rows):
    credit = path_counterfactual(aggregate_paths(rows))
    assert credit.conversions.sum() == pytest.approx(sum(row[1] for row in rows), rel=1e-9)
    assert credit.revenue.sum() == pytest.approx(sum(row[3] for row in rows), abs=1e-9)
    assert credit.conversions.min() >= 0
    assert all(0 <= share <= 1 for share in credit.diagnostics.values())


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_show(rows, random):
    shuffled = random.sample(rows, len(rows))
    one, other = (path_counterfactual(aggregate_paths(each)) for each in (rows, shuffled))
    assert one.conversions.tobytes() == other.conversions.tobytes()
    assert one.revenue.tobytes() == other.revenue.tobytes()


@given(ROWS, st.permutations("xyz"))
def test_names_do_not_matter(rows, order):
    names = dict(zip("abc", order, strict=True))
    renamed = [([names[step] for step in path], *counts) for path, *counts in rows]
    expected = {names[channel]: value for channel, value in credit_of(rows).items()}
    assert credit_of(renamed) == pytest.approx(expected, abs=1e-9)


@given(ROWS, st.sampled_from([0.001, 0.1, 3, 1e6]))
def test_scaling_all_counts_scales_credit(rows, factor):
    scaled = [(path, *(factor * count for count in counts)) for path, *counts in rows]
    expected = {channel: factor * value for channel, value in credit_of(rows).items()}
    assert credit_of(scaled) == pytest.approx(expected, rel=1e-9, abs=1e-9 * factor)


def test_without_nulls_what_nobody_took_adds_everything():
    rows = [(["a", "b", "c"], 4, 0, 0), (["a", "b"], 1, 0, 0), (["b", "c"], 1, 0, 0)]
    # Only a > c is unseen, so that b has all of a > b > c; a and b alone are unseen too.
    assert credit_of(rows) == pytest.approx({"a": 0.5, "b": 4 + 1, "c": 0.5})


def test_a_single_touch_has_it_all():
    assert credit_of([(["a"], 3, 97, 0)]) == {"a": 3}


def test_none_convert():
    with pytest.raises(NoConversions, match="path_counterfactual has nothing to credit"):
        path_counterfactual(aggregate_paths([(["a", "b"], 0, 3, 0), ([], 4, 0, 0)]))


def test_path_data():
    names = {"conversions": "total_conversions", "nulls": "total_null"}
    names["revenue"] = "total_conversion_value"
    file = real_export("channelattribution_pathdata", "Data.csv")
    paths = read_paths(file, delimiter=";", columns=names)
    credit = path_counterfactual(paths)
    assert credit.conversions.sum() == pytest.approx(19785, rel=1e-9)
    assert credit.revenue.sum() == pytest.approx(paths.total_revenue, rel=1e-9)
    assert credit.diagnostics["unseen_share"] > 0.5


def test_many_paths():
    random = np.random.default_rng(1)
    steps = {tuple(path) for path in random.integers(0, 20, (20_000, 20)).tolist()}
    count = np.ones(len(steps))
    channels = tuple(f"c{index:02}" for index in range(20))
    paths = Paths(channels, tuple(sorted(steps)), count, count, count)
    began = time.perf_counter()
    assert path_counterfactual(paths).conversions.sum() == pytest.approx(len(steps), rel=1e-9)
    assert time.perf_counter() - began < 5

"""Shao and Li's probabilistic model by hand, by brute force on fractions, and its invariances."""

import time
from fractions import Fraction

import numpy as np
import pytest
from conftest import real_export
from hypothesis import given
from hypothesis import strategies as st

from attribution.coalitions import CoalitionCounts, coalition_counts
from attribution.errors import NoConversions
from attribution.models import shao_li as module
from attribution.models.shao_li import pair_rates, shao_li
from attribution.paths import aggregate_paths, read_paths

ROWS = st.lists(
    st.tuples(
        st.text("abcde", min_size=1, max_size=6).map(list),
        st.integers(0, 4),
        st.integers(0, 4),
        st.integers(-5, 50),
    ).map(lambda row: row if row[1] else (*row[:3], 0)),
    min_size=1,
    max_size=20,
).filter(lambda rows: any(row[1] for row in rows))


def fitted(rows):
    return shao_li(coalition_counts(aggregate_paths(rows)))


def credit_of(rows):
    paths = aggregate_paths(rows)
    return dict(zip(paths.channels, fitted(rows).conversions.tolist(), strict=True))


def test_by_hand():
    """p(a) = 3/6, p(b) = 2/6, p(a,b) = 2/4: C_a = 1/3 and C_b = 1/6."""
    rows = [(["a"], 1, 1, 7), (["a", "b", "a"], 2, 2, 30), (["b"], 0, 2, 0)]
    credit = fitted(rows)
    assert credit.conversions == pytest.approx([1 + 4 / 3, 2 / 3])
    assert credit.revenue == pytest.approx([7 + 20, 10])
    assert credit.diagnostics == {"cut_share": 0, "even_share": 0}


def test_the_sum_is_halved_over_all_other_channels():
    """p(a) = p(a,b) = p(a,c) = 2/5, p(b) = p(c) = 1/2, p(b,c) = 1, so that of a, b and c together
    C_a = 2/5 + 1/4 * (-1/2 - 1/2) = .15 and C_b = C_c = 1/2 + 1/4 * (-1/2 + 0) = .375.
    Of two, C_a = 2/5 + 1/2 * (-1/2) = .15 and C_b = 1/2 + 1/2 * (-1/2) = .25.
    """
    rows = [
        (["a", "b", "c"], 1, 0, 0),
        (["a", "b"], 1, 3, 0), (["a", "c"], 1, 3, 0), (["a"], 1, 0, 0),
        (["b"], 2, 1, 0), (["c"], 2, 1, 0),
    ]  # fmt: skip
    counts = coalition_counts(aggregate_paths(rows))
    assert pair_rates(counts) == pytest.approx(
        np.array([[0.4, 0.4, 0.4], [0.4, 0.5, 1], [0.4, 1, 0.5]])
    )
    whole, pair = 0.15 / (0.15 + 2 * 0.375), 0.15 / (0.15 + 0.25)
    expected = [whole + 2 * pair + 1, *[(8 - 1 - whole - 2 * pair) / 2] * 2]
    assert shao_li(counts).conversions == pytest.approx(expected)


def test_negative_weights_are_cut():
    """p(a) = 1/10, p(b) = 9/10, p(a,b) = 1/10: C_a = -7/20 is cut, and b has the journey."""
    rows = [(["a", "b"], 1, 9, 0), (["b"], 89, 1, 0)]
    credit = fitted(rows)
    assert credit.conversions == pytest.approx([0, 90])
    assert credit.diagnostics["cut_share"] == pytest.approx(1 / 90)


def test_an_even_split_where_rounding_leaves_no_weight():
    """C_a = C_b = p(a,b) / 2 > 0, and 1e-20 is lost beside p(a) = p(b) = 1/2."""
    rows = [(["a", "b"], 1, 1e20, 6), (["a"], 1e20, 0, 0), (["b"], 1e20, 0, 0), (["c"], 1, 1, 0)]
    counts = coalition_counts(aggregate_paths(rows))
    credit = shao_li(counts)
    assert credit.revenue == pytest.approx([3, 3, 0])
    assert credit.diagnostics["even_share"] == pytest.approx(0.5e-20, abs=0)


def by_fractions(rows):
    """Credit per channel of conversions and revenue, journey by journey, off the definition."""

    def rate(*channels):
        counts = [row[1:3] for row in rows if set(channels) <= set(row[0])]
        won, lost = map(sum, zip(*counts, strict=True))
        return Fraction(won, won + lost)

    credit = {channel: [Fraction(0), Fraction(0)] for row in rows for channel in row[0]}
    for path, won, _, revenue in rows:
        if not won:
            continue
        touched = sorted(set(path))
        weights = {}
        for i in touched:
            others = [j for j in touched if j != i]
            terms = sum(rate(i, j) - rate(i) - rate(j) for j in others)
            weights[i] = max(rate(i) + (terms / (2 * len(others)) if others else 0), 0)
        for i in touched:
            credit[i][0] += won * weights[i] / sum(weights.values())
            credit[i][1] += revenue * weights[i] / sum(weights.values())
    return np.array([credit[channel] for channel in sorted(credit)], dtype=float)


@given(ROWS)
def test_by_brute_force(rows):
    credit = fitted(rows)
    found = np.column_stack([credit.conversions, credit.revenue])
    assert found == pytest.approx(by_fractions(rows), abs=1e-9)


@given(ROWS)
def test_sums_and_range(rows):
    """Some weight is always positive, so that no journey is split evenly for want of one."""
    credit = fitted(rows)
    assert credit.conversions.sum() == pytest.approx(sum(row[1] for row in rows), rel=1e-9)
    assert credit.revenue.sum() == pytest.approx(sum(row[3] for row in rows), abs=1e-9)
    assert credit.conversions.min() >= 0
    assert 0 <= credit.diagnostics["cut_share"] <= 1
    assert credit.diagnostics["even_share"] == 0


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_show(rows, random):
    one, other = fitted(rows), fitted(random.sample(rows, len(rows)))
    assert one.conversions.tobytes() == other.conversions.tobytes()
    assert one.revenue.tobytes() == other.revenue.tobytes()


@given(ROWS, st.permutations("vwxyz"))
def test_names_do_not_matter(rows, order):
    names = dict(zip("abcde", order, strict=True))
    renamed = [([names[step] for step in path], *counts) for path, *counts in rows]
    expected = {names[channel]: value for channel, value in credit_of(rows).items()}
    assert credit_of(renamed) == pytest.approx(expected, abs=1e-9)


@given(ROWS, st.sampled_from([0.001, 0.1, 3, 1e6]))
def test_scaling_all_counts_scales_credit(rows, factor):
    scaled = [(path, *(factor * count for count in counts)) for path, *counts in rows]
    expected = {channel: factor * value for channel, value in credit_of(rows).items()}
    assert credit_of(scaled) == pytest.approx(expected, rel=1e-9, abs=1e-9 * factor)


@given(ROWS)
def test_replicate_groups_and_blocks_only_cut_the_table(rows):
    """Rows of a coalition in two groups are counted as one, however many are worked on at once."""
    whole = coalition_counts(aggregate_paths(rows))
    half = [each / 2 for each in (whole.conversions, whole.nulls, whole.revenue)]
    size = len(whole.members)
    groups = np.repeat([0, 1], size)
    parts = CoalitionCounts(
        whole.channels, np.tile(whole.members, (2, 1)), groups, *(np.tile(each, 2) for each in half)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", 3)
        credit = shao_li(parts)
    assert credit.conversions == pytest.approx(shao_li(whole).conversions, abs=1e-9)
    assert credit.revenue == pytest.approx(shao_li(whole).revenue, abs=1e-9)
    assert credit.diagnostics == pytest.approx(shao_li(whole).diagnostics)


def test_channels_that_differ_in_name_only_share_alike():
    rows = [(["a", "b"], 5, 2, 0), (["a"], 1, 3, 0), (["b"], 1, 3, 0)]
    assert credit_of(rows) == pytest.approx({"a": 3.5, "b": 3.5})


def test_without_nulls_it_is_the_even_split():
    rows = [(["a", "b", "c"], 3, 0, 0), (["a"], 5, 0, 0), (["b", "c"], 2, 0, 0)]
    assert credit_of(rows) == pytest.approx({"a": 6, "b": 2, "c": 2})


def test_a_single_channel_has_it_all():
    credit = fitted([(["a"], 3, 97, -4)])
    assert (credit.conversions.tolist(), credit.revenue.tolist()) == ([3], [-4])


def test_none_convert():
    with pytest.raises(NoConversions, match="shao_li has nothing to credit"):
        fitted([(["a", "b"], 0, 3, 0), ([], 4, 0, 0)])


def test_path_data():
    names = {"conversions": "total_conversions", "nulls": "total_null"}
    names["revenue"] = "total_conversion_value"
    file = real_export("channelattribution_pathdata", "Data.csv")
    paths = read_paths(file, delimiter=";", columns=names)
    credit = shao_li(coalition_counts(paths))
    assert credit.conversions.sum() == pytest.approx(19785, rel=1e-9)
    assert credit.revenue.sum() == pytest.approx(paths.total_revenue, rel=1e-9)
    assert credit.conversions.min() > 0


def test_two_hundred_channels():
    random = np.random.default_rng(7)
    members = random.random((10_000, 200)) < 0.03
    members[np.arange(10_000), random.integers(0, 200, 10_000)] = True
    won, lost = random.integers(0, 5, (2, 10_000))
    channels = tuple(f"c{index:03}" for index in range(200))
    group = np.zeros(10_000)
    counts = CoalitionCounts(channels, members, group, won, lost, 2.5 * won)
    began = time.perf_counter()
    credit = shao_li(counts)
    assert time.perf_counter() - began < 5
    assert credit.conversions.sum() == pytest.approx(won.sum(), rel=1e-9)
    assert credit.revenue == pytest.approx(2.5 * credit.conversions, rel=1e-9)

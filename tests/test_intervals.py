"""Intervals by deleting groups of customers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attribution.errors import InvalidPaths
from attribution.intervals import additive_replicates, attributed_share, jackknife, split
from attribution.paths import aggregate_paths

ROWS = [(["a", "b"], 40, 11, 300), (["b"], 7, 3, 21), (["c", "a", "c"], 0, 90, 0), ([], 5, 2, 9)]


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(1).normal(0.4, 0.1, 50)
    replicates = (values.sum() - values)[:, None] / 49
    found = jackknife(np.array([values.mean()]), replicates)
    error = values.std(ddof=1) / np.sqrt(50)
    assert found.standard_error == pytest.approx([error], rel=1e-12)
    reach = stats.t.ppf(0.975, 49) * error
    assert [found.low[0], found.high[0]] == pytest.approx(
        [values.mean() - reach, values.mean() + reach], rel=1e-12
    )


def test_intervals_end_at_0_and_1_and_hold_the_share():
    found = jackknife(
        np.array([0.01, 0.99, -0.2, 0.5]),
        np.array([[0.2, 0.7, -0.4, 0.5], [0.0, 1.0, 0.1, 0.5], [0.0, 1.0, 0.1, 0.5]]),
    )
    assert found.low.tolist()[0] == 0
    assert found.high.tolist()[1] == 1
    assert found.low[2] < -0.2  # a credit below 0 is shown as it is, and so is its interval
    assert found.low[3] == found.high[3] == 0.5


def test_shares_that_may_be_negative_have_intervals_that_are_not_cut():
    """Else one just above 0 would seem to exclude what one just below shows."""
    share, replicates = np.array([0.001, 1.01]), np.array([[0.2, 0.7], [-0.1, 1.2], [0.0, 1.1]])
    cut, whole = (jackknife(share, replicates, is_signed=signed) for signed in (False, True))
    assert cut.low[0] == 0
    assert whole.low[0] < -0.1
    assert whole.high == pytest.approx(2 * share - whole.low)
    assert cut.standard_error.tolist() == whole.standard_error.tolist()


def test_without_a_spread_of_groups_there_is_no_interval():
    one = jackknife(np.array([0.5]), np.array([[0.5]]))
    lost = jackknife(np.array([0.5]), np.array([[0.5], [np.nan], [0.4]]))
    for found in (one, lost):
        assert np.isnan([found.standard_error[0], found.low[0], found.high[0]]).all()


def test_additive_replicates_leave_one_group_out():
    totals = np.array([[1.0, 3.0], [2.0, 0.0], [0.0, 0.0]])
    assert additive_replicates(totals).tolist() == [[1, 0], [0.25, 0.75], [0.5, 0.5]]
    assert np.isnan(additive_replicates(np.array([[1.0, 2.0], [0.0, 0.0]]))[0]).all()


def test_attributed_share_leaves_one_group_out():
    assert attributed_share(np.array([1.0, 1.0]), np.array([2.0, 1.0])).tolist() == [1.0, 0.5]


@given(st.integers(1, 30), st.integers(0, 5))
def test_parts_add_up_to_the_whole(groups, seed):
    paths = aggregate_paths(ROWS)
    parts = split(paths, groups, seed)
    assert len(parts) == groups
    again = aggregate_paths(
        ([part.channels[step] for step in steps], *counts)
        for part in parts
        for steps, *counts in zip(
            part.steps, part.conversions, part.nulls, part.revenue, strict=True
        )
    )
    assert again.steps == paths.steps
    assert again.conversions.tolist() == paths.conversions.tolist()
    assert again.nulls.tolist() == paths.nulls.tolist()
    assert again.revenue == pytest.approx(paths.revenue)
    for name in ("unattributed_conversions", "unattributed_nulls", "unattributed_revenue"):
        assert sum(getattr(part, name) for part in parts) == pytest.approx(getattr(paths, name))


def test_journeys_are_drawn_evenly_and_by_the_seed_alone():
    paths = aggregate_paths([(["a"], 100_000, 0, 0)])
    parts = split(paths, 100, seed=3)
    counts = np.array([part.conversions.sum() for part in parts])
    assert stats.chisquare(counts).pvalue > 1e-4
    assert counts.tolist() == [part.conversions.sum() for part in split(paths, 100, seed=3)]
    assert counts.tolist() != [part.conversions.sum() for part in split(paths, 100, seed=4)]


def test_many_paths_are_drawn_in_blocks():
    paths = aggregate_paths(([f"c{i % 9}", f"x{i}"], i % 3, 1, 0) for i in range(21_000))
    parts = split(paths, 3, seed=0)
    assert sum(part.conversions.sum() for part in parts) == paths.conversions.sum()
    assert sum(part.nulls.sum() for part in parts) == paths.nulls.sum()


def test_more_journeys_than_a_float_counts_are_refused():
    with pytest.raises(InvalidPaths, match="more than 1e\\+15 journeys of one path"):
        split(aggregate_paths([(["a"], 1e19, 0, 0)]), 10, 1)


def test_fractions_of_journeys_are_refused():
    with pytest.raises(InvalidPaths, match="whole"):
        split(aggregate_paths([(["a"], 1.5, 0, 0)]), 10, seed=0)

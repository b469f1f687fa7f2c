"""Channel totals back to single conversions: what is attainable is met, the rest comes nearest."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from attribution.coalitions import coalition_counts
from attribution.errors import ModelError
from attribution.luce import luce_weights
from attribution.models.markov import markov
from attribution.models.shapley import shapley
from attribution.paths import aggregate_paths, read_paths
from attribution.transitions import transition_counts

SHARED = Path(os.environ.get("ATTRIBUTION_SHARED", Path(__file__).parents[2] / "shared"))


def divided(members, fit):
    """What SQL does: the channels of the highest level in a set share it by weight, (n, K)."""
    level = np.where(members, fit.level, -1)
    weight = np.where(level == level.max(axis=1, keepdims=True), fit.weight, 0.0)
    return weight / weight.sum(axis=1, keepdims=True)


def random_case(rng, channels=6, n=20):
    """Totals that pay the sets little heed."""
    sets = rng.choice(np.arange(1, 2**channels), n, replace=False)
    members = (sets[:, None] >> np.arange(channels) & 1).astype(bool)
    amounts = rng.integers(1, 500, n).astype(float)
    return members, amounts, rng.dirichlet(np.full(channels, 0.5)) * amounts.sum()


def floors(members, amounts):
    """(A, f(A)) of every set of channels: what no division can give it less than."""
    channels = members.shape[1]
    for size in range(1, channels + 1):
        for chosen in itertools.combinations(range(channels), size):
            inside = ~np.delete(members, chosen, axis=1).any(axis=1)
            yield list(chosen), amounts[inside].sum()


def test_300_random_totals_are_all_reconciled():
    rng = np.random.default_rng(0)
    with_a_gap = 0
    for _ in range(300):
        members, amounts, totals = random_case(rng)
        fit = luce_weights(members, amounts, totals)
        tolerance = 1e-9 * amounts.sum()
        shares = divided(members, fit)
        assert shares.sum(axis=1) == pytest.approx(np.ones(len(shares)), rel=1e-12)
        assert np.abs(amounts @ shares - fit.credited).max() <= tolerance
        assert np.abs(totals - fit.credited - fit.gap).max() <= tolerance
        for chosen, floor in floors(members, amounts):
            assert fit.credited[chosen].sum() >= floor - tolerance
        enough = [totals[c].sum() >= floor - tolerance for c, floor in floors(members, amounts)]
        attainable = all(enough)
        assert attainable == (np.abs(fit.gap).max() <= 10 * tolerance)
        with_a_gap += not attainable
    assert 100 < with_a_gap < 300


def test_no_other_division_is_nearer():
    """Shifts of credit between two channels that stay attainable never lessen the entropy."""
    rng = np.random.default_rng(3)
    for _ in range(40):
        members, amounts, totals = random_case(rng, channels=4, n=8)
        fit = luce_weights(members, amounts, totals)

        def distance(credit, totals=totals):
            return (credit * np.log(np.maximum(credit, 1e-300) / totals)).sum()

        for give, take in itertools.permutations(range(4), 2):
            for part in (1e-3, 0.1):
                other = fit.credited.copy()
                shift = part * other[give]
                other[[give, take]] += [-shift, shift]
                if all(other[c].sum() >= floor for c, floor in floors(members, amounts)):
                    assert distance(other) >= distance(fit.credited) - 1e-6


def test_true_weights_are_found_again():
    rng = np.random.default_rng(5)
    for _ in range(30):
        members, amounts, _ = random_case(rng, channels=5, n=25)
        weight = np.exp(rng.normal(0, 2, 5))
        share = np.where(members, weight, 0.0)
        totals = amounts @ (share / share.sum(axis=1, keepdims=True))
        fit = luce_weights(members, amounts, totals)
        assert np.abs(fit.gap).max() <= 1e-9 * amounts.sum()
        assert fit.weight / fit.weight[0] == pytest.approx(weight / weight[0], rel=1e-4)


def test_the_even_split_needs_even_weights():
    paths = aggregate_paths([(["a", "b"], 3, 0, 0), (["b", "c"], 5, 0, 0), (["c"], 1, 0, 0)])
    counts = coalition_counts(paths)
    fit = luce_weights(counts.members, counts.conversions, shapley(counts).conversions)
    assert fit.weight / fit.weight[0] == pytest.approx(np.ones(3), rel=1e-6)
    assert fit.gap == pytest.approx(np.zeros(3), abs=1e-8)


def test_a_channel_that_stood_alone_cannot_get_less():
    file = SHARED / "data" / "channelattribution_pathdata" / "Data.csv"
    if not file.exists():
        pytest.skip("no path data in the shared folder (set ATTRIBUTION_SHARED)")
    columns = {"conversions": "total_conversions", "nulls": "total_null"}
    paths = read_paths(file, delimiter=";", columns=columns)
    counts = coalition_counts(paths)
    totals = markov(transition_counts(paths)).conversions
    fit = luce_weights(counts.members, counts.conversions, totals)
    alpha = paths.channels.index("alpha")
    assert totals[alpha] == pytest.approx(5345, abs=0.5)
    assert fit.credited[alpha] == pytest.approx(5742, abs=1e-4)  # what it has alone, and no more
    assert fit.gap[alpha] == pytest.approx(5344.95 - 5742, abs=0.01)
    assert fit.gap.sum() == pytest.approx(0, abs=1e-5)
    assert fit.level[alpha] < fit.level.max()


def test_200_channels_are_divided():
    rng = np.random.default_rng(2)
    members = rng.random((5000, 200)) < 0.02
    members[np.arange(5000), rng.integers(200, size=5000)] = True
    amounts = rng.integers(1, 9, 5000).astype(float)
    fit = luce_weights(members, amounts, rng.dirichlet(np.full(200, 0.5)) * amounts.sum())
    off = np.abs(amounts @ divided(members, fit) - fit.credited).max()
    assert off <= 1e-9 * amounts.sum()


def test_what_cannot_be_divided_is_refused():
    members = np.array([[True, False], [True, True]])
    with pytest.raises(ModelError):
        luce_weights(members, np.array([1.0, -2.0]), np.array([-1.0, 0.0]))
    with pytest.raises(ModelError):
        luce_weights(members, np.array([1.0, 2.0]), np.array([1.0, 1.0]))


def test_nothing_to_divide_weighs_evenly():
    fit = luce_weights(np.array([[True, True]]), np.zeros(1), np.zeros(2))
    assert fit.weight.tolist() == [1, 1]
    assert fit.gap.tolist() == [0, 0]

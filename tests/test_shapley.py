"""Shapley games against brute force over all orders, axioms, sampling and refits."""

import json
import math
import os
import time
import warnings
from dataclasses import replace
from functools import cache, partial
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
import sklearn.linear_model
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from attribution.coalitions import CoalitionCounts, coalition_counts
from attribution.errors import (
    ApproximationWarning,
    ConvergenceError,
    InvalidPaths,
    ModelError,
    NoConversions,
    UsageError,
)
from attribution.models import shapley_games, shapley_model, shapley_replicates
from attribution.models.shapley import shapley
from attribution.models.shapley_games import GAMES, local_shapley_by_pairs
from attribution.models.shapley_ordered import shapley_ordered
from attribution.models.shapley_replicates import rate_influence
from attribution.models.shapley_replicates import shapley_replicates as replicates
from attribution.models.shapley_sets import (
    distinct_sets,
    dividends,
    local_shapley,
    member_sums,
    shapley_values,
    subset_sums,
    superset_sums,
)
from attribution.paths import aggregate_paths, read_paths

SHARED = Path(os.environ.get("ATTRIBUTION_SHARED", Path(__file__).parents[2] / "shared"))
FEW = settings(max_examples=25)
FITTED = ("rate", "exact_rate", "model")


def counts_of(rows, channels=None):
    """Coalition counts of rows (set, conversions, nulls, revenue, group)."""
    channels = tuple(sorted(channels or set().union(*(row[0] for row in rows))))
    members = np.array([[name in row[0] for name in channels] for row in rows])
    conversions, nulls, revenue, group = np.array([row[1:] for row in rows], dtype=float).T
    return CoalitionCounts(channels, members, group, conversions, nulls, revenue)


def random_counts(channels, rows, seed=0, groups=1, largest=6):
    """Some hundred journeys each of many sets, some converting better than others."""
    random = np.random.default_rng(seed)
    names = np.array([f"c{index:02}" for index in range(channels)])
    pull = random.normal(-1, 0.7, channels)
    made = []
    for _ in range(rows):
        size = random.integers(1, min(largest, channels) + 1)
        own = random.choice(channels, size, replace=False)
        journeys = random.integers(1, 40)
        won = random.binomial(journeys, 1 / (1 + np.exp(1 - pull[own].sum() / 3)))
        paid = won * random.normal(20, 15)
        made.append((set(names[own]), won, journeys - won, paid, random.integers(groups)))
    return counts_of(made, names.tolist())


def credit_of(counts, game, **options):
    """Credit without a warning: sampling would be an error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ApproximationWarning)
        return shapley(counts, game=game, **options)


def sampled(counts, game, **options):
    with pytest.warns(ApproximationWarning, match=f"game {game} is sampled"):
        return shapley(counts, game=game, **options)


def share_of(counts, game):
    credit = shapley(counts, game=game)
    return credit.conversions / counts.conversions.sum()


ROWS = st.lists(
    st.tuples(
        st.frozensets(st.sampled_from("abcdef"), min_size=1),
        st.integers(0, 5),
        st.integers(0, 5),
        st.integers(-20, 50),
        st.integers(0, 3),
    ).map(lambda row: row if row[1] else (*row[:3], 0, row[4])),
    min_size=1,
    max_size=14,
).filter(lambda rows: any(row[1] for row in rows))


# --- values of a game the long way, in sets of names -------------------------------------------


def by_orders(players, value):
    """What each player adds on average over all orders."""
    value = cache(value)
    added = dict.fromkeys(players, 0.0)
    for order in permutations(players):
        for place, player in enumerate(order):
            added[player] += value(frozenset(order[: place + 1])) - value(frozenset(order[:place]))
    return {player: total / math.factorial(len(players)) for player, total in added.items()}


def totals(rows):
    """(conversions, journeys, revenue) of exactly each set."""
    found = {}
    for members, won, lost, paid, _ in rows:
        before = found.get(frozenset(members), (0, 0, 0))
        found[frozenset(members)] = (before[0] + won, before[1] + won + lost, before[2] + paid)
    return found


def long_way(game, rows, channels, measure):
    """Credit of the channels and of the baseline; measure 0 conversions, 2 revenue."""
    sets = totals(rows)

    def inside(coalition, what):
        return sum(numbers[what] for members, numbers in sets.items() if members <= coalition)

    def exact(coalition):
        numbers = sets.get(coalition, (0, 0, 0))
        return numbers[measure] / numbers[1] if numbers[1] else 0

    def rate(coalition):
        journeys = inside(coalition, 1)
        return inside(coalition, measure) / journeys if journeys else 0

    everyone = frozenset(channels)
    if game == "conversions":
        return by_orders(channels, lambda coalition: inside(coalition, measure)), 0
    if game == "rate":
        values = by_orders(channels, rate)
        return {name: value * inside(everyone, 1) for name, value in values.items()}, 0
    if game == "exact_rate":
        credit = dict.fromkeys(channels, 0.0)
        for members, (won, journeys, _) in sets.items():
            if won:
                for name, value in by_orders(sorted(members), exact).items():
                    credit[name] += value * journeys
        return credit, 0
    return predicted_way(rows, channels, inside, measure)


def predicted_way(rows, channels, inside, measure):
    """One row per journey, another solver: as little in common with the model as can be."""
    journeys = [
        ([name in members for name in channels], outcome)
        for members, won, lost, *_ in rows
        for outcome in [1] * won + [0] * lost
    ]
    regression = sklearn.linear_model.LogisticRegression(
        C=1e8 / len(journeys), solver="lbfgs", tol=1e-12, max_iter=10_000
    ).fit(*map(np.array, zip(*journeys, strict=True)))

    def value(coalition):
        cut = np.array([[a and b in coalition for a, b in zip(own, channels, strict=True)]
                        for own, _ in journeys])  # fmt: skip
        return regression.predict_proba(cut)[:, 1].sum()

    everyone = frozenset(channels)
    scale = inside(everyone, measure) / value(everyone)
    values = by_orders(channels, value)
    return {n: v * scale for n, v in values.items()}, value(frozenset()) * scale


def money(rows):
    return sum(abs(row[3]) for row in rows)


@pytest.mark.parametrize("game", ["conversions", "rate", "exact_rate"])
@given(rows=ROWS)
@FEW
def test_games_by_all_orders(game, rows):
    counts = counts_of(rows, "abcdef")
    credit = credit_of(counts, game)
    for measure, found in ((0, credit.conversions), (2, credit.revenue)):
        expected, baseline = long_way(game, rows, counts.channels, measure)
        assert baseline == 0
        assert found == pytest.approx(list(expected.values()), abs=1e-9)
    assert (credit.baseline_conversions, credit.baseline_revenue) == (0, 0)


@given(rows=ROWS)
@settings(max_examples=8)
def test_the_model_by_all_orders_and_one_row_per_journey(rows):
    rows = [*((set("abcd") & members or {"a"}, *rest) for members, *rest in rows)]
    # Every channel with and without the others, both ways: so that each slope is determined.
    rows += [(set(own), 2, 3, 7, 0) for size in (1, 2) for own in combinations("abcd", size)]
    counts = counts_of(rows)
    credit = credit_of(counts, "model")
    for measure, found, rest in (
        (0, credit.conversions, credit.baseline_conversions),
        (2, credit.revenue, credit.baseline_revenue),
    ):
        expected, baseline = long_way("model", rows, counts.channels, measure)
        scale = 1 + money(rows)
        assert found == pytest.approx(list(expected.values()), abs=1e-6 * scale)
        assert rest == pytest.approx(baseline, abs=1e-6 * scale)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_published_cases(index):
    file = SHARED / "cases" / "shapley_eeghor.json"
    if not file.exists():
        pytest.skip("no cases/shapley_eeghor.json in the shared folder (set ATTRIBUTION_SHARED)")
    published = json.loads(file.read_text())
    case = published["subcases"][index]
    paths = aggregate_paths((r["path"], r["conversions"], r["nulls"], 0) for r in case["paths"])
    counts = coalition_counts(paths)
    ordered = shapley_ordered(paths)
    added = np.bincount(ordered.channel_index, ordered.conversions)
    lattice = np.zeros(1 << len(counts.channels))
    np.add.at(lattice, counts.members @ (1 << np.arange(len(counts.channels))), counts.conversions)
    for values in (shapley(counts).conversions, added, shapley_values(subset_sums(lattice))):
        credit = dict(zip(paths.channels, values.tolist(), strict=True))
        assert credit == pytest.approx(case["expected"], abs=published["tolerance"])


# --- axioms -------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", GAMES)
@given(rows=ROWS)
@FEW
def test_credit_and_baseline_sum_to_the_totals(game, rows):
    counts = counts_of(rows, "abcdefgh")
    assume(game != "model" or counts.nulls.any())
    credit = credit_of(counts, game)
    total = credit.conversions.sum() + credit.baseline_conversions
    assert total == pytest.approx(counts.conversions.sum(), rel=1e-9)
    paid = credit.revenue.sum() + credit.baseline_revenue
    assert paid == pytest.approx(counts.revenue.sum(), abs=1e-9 * (1 + money(rows)))


@pytest.mark.parametrize("game", GAMES)
@given(rows=ROWS)
@FEW
def test_channels_that_play_alike_get_alike(game, rows):
    swapped = str.maketrans("ab", "ba")
    rows = rows + [({name.translate(swapped) for name in row[0]}, *row[1:]) for row in rows]
    counts = counts_of(rows, "abcdef")
    assume(game != "model" or counts.nulls.any())
    credit = credit_of(counts, game)
    assert credit.conversions[0] == pytest.approx(credit.conversions[1], abs=1e-7)
    scale = 1e-7 * (1 + money(rows))
    assert credit.revenue[0] == pytest.approx(credit.revenue[1], abs=scale)


@pytest.mark.parametrize("game", GAMES)
@given(rows=ROWS)
@FEW
def test_a_channel_that_nobody_touched_gets_exactly_nothing(game, rows):
    narrow, wide = counts_of(rows), counts_of(rows, "abcdefxyz")
    assume(game != "model" or narrow.nulls.any())
    without, credit = credit_of(narrow, game), credit_of(wide, game)
    touched = np.isin(wide.channels, narrow.channels)
    assert (credit.conversions[~touched] == 0).all()
    assert credit.conversions[touched].tolist() == without.conversions.tolist()


@pytest.mark.parametrize("game", ["conversions", "exact_rate"])
@given(rows=ROWS)
@FEW
def test_a_channel_that_never_converts_gets_nothing(game, rows):
    counts = counts_of([*rows, (set("az"), 0, 5, 0, 0), (set("z"), 0, 5, 0, 0)], "abcdefz")
    assert credit_of(counts, game).conversions[-1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("game", ["rate", "exact_rate"])
@given(rows=ROWS)
@FEW
def test_a_channel_that_changes_no_rate_gets_nothing(game, rows):
    """Every set is seen as often, and converts as well, with z as without."""
    doubled = rows + [(row[0] | {"z"}, *row[1:]) for row in rows]
    if game == "rate":
        assert credit_of(counts_of(doubled), game).conversions[-1] == pytest.approx(0, abs=1e-9)
    else:  # z has the value v(S + z) - v(S) = 0 in every game, but for S empty
        doubled += [({"z"}, 0, 1, 0, 0)]
        assert credit_of(counts_of(doubled), game).conversions[-1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("game", ["conversions", "rate", "exact_rate"])
@given(rows=ROWS, more=st.lists(st.integers(-30, 30), min_size=14, max_size=14))
@FEW
def test_credit_adds_up_over_outcomes(game, rows, more):
    one = counts_of(rows, "abcdef")
    other = replace(one, revenue=np.where(one.conversions > 0, more[: len(rows)], 0))
    both = replace(one, revenue=one.revenue + other.revenue)
    added = credit_of(one, game).revenue + credit_of(other, game).revenue
    assert credit_of(both, game).revenue == pytest.approx(added, abs=1e-9)


@given(rows=ROWS, more=ROWS)
@FEW
def test_even_split_adds_up_over_journeys(rows, more):
    credit = partial(counts_of, channels="abcdef")
    added = shapley(credit(rows)).conversions + shapley(credit(more)).conversions
    assert shapley(credit(rows + more)).conversions == pytest.approx(added, abs=1e-9)


# --- what must not matter -----------------------------------------------------------------------


@pytest.mark.parametrize("game", GAMES)
@given(rows=ROWS, names=st.permutations("abcdef"), seed=st.integers(0, 9))
@FEW
def test_names_of_channels_and_order_of_rows_do_not_matter(game, rows, names, seed):
    assume(game != "model" or any(row[2] for row in rows))
    renamed = str.maketrans("abcdef", "".join(names))
    other = [({name.translate(renamed) for name in row[0]}, *row[1:]) for row in rows]
    np.random.default_rng(seed).shuffle(other)
    credit = credit_of(counts_of(rows, "abcdef"), game)
    found = credit_of(counts_of(other, "abcdef"), game)
    place = ["abcdef".index(name) for name in names]
    assert found.conversions[place] == pytest.approx(credit.conversions, abs=1e-7)
    scale = 1e-7 * (1 + money(rows))
    assert found.revenue[place] == pytest.approx(credit.revenue, abs=scale)


@pytest.mark.parametrize("game", GAMES)
@given(rows=ROWS)
@FEW
def test_scaling_all_counts_scales_credit(game, rows):
    assume(game != "model" or any(row[2] for row in rows))
    more = [(row[0], *(1000 * number for number in row[1:4]), row[4]) for row in rows]
    credit, found = (credit_of(counts_of(r, "abcdef"), game) for r in (rows, more))
    assert found.conversions == pytest.approx(1000 * credit.conversions, abs=1e-4)
    assert found.baseline_conversions == pytest.approx(1000 * credit.baseline_conversions, abs=1e-4)
    assert found.revenue == pytest.approx(1000 * credit.revenue, abs=1e-4 * (1 + money(rows)))


@pytest.mark.parametrize("game", GAMES)
def test_replicate_groups_do_not_matter(game):
    counts = random_counts(8, 200, groups=10)
    merged = replace(counts, replicate_group=np.zeros(200))
    assert (shapley(counts, game=game).conversions == shapley(merged, game=game).conversions).all()


# --- by hand ------------------------------------------------------------------------------------


def test_a_channel_that_hurts_is_negative_and_reported():
    counts = counts_of([({"a"}, 5, 5, 50, 0), ({"a", "b"}, 0, 10, 0, 0)])
    credit = shapley(counts, game="rate")
    # v(a) = .5, v(b) = 0, v(ab) = .25; a adds (.5 + .25) / 2 and b (0 - .25) / 2, of 20 journeys
    assert credit.conversions == pytest.approx([7.5, -2.5])
    assert credit.revenue == pytest.approx([75, -25])
    assert credit.diagnostics == {"negative_channels": 1}


def test_exact_rate_by_hand():
    counts = counts_of([({"a"}, 4, 4, 4, 0), ({"b"}, 0, 9, 0, 0), ({"a", "b"}, 1, 9, -3, 0)])
    credit = shapley(counts, game="exact_rate")
    # a alone: 4. The set ab, v = .1 of 10: a gets (.5 + .1) / 2, b gets (0 - .4) / 2, of 10
    assert credit.conversions == pytest.approx([4 + 3, -2])
    # v(a) = .5 and v(ab) = -.3 in money
    assert credit.revenue == pytest.approx([4 + 1, -4])
    assert credit.diagnostics == {"negative_channels": 1}


def test_rounding_is_no_negative_channel():
    """z changes no rate, so that its value is 0 but for rounding, above or below."""
    found = []
    for seed in range(30):
        counts = random_counts(9, 60, seed)
        names = (*counts.channels, "z")
        alone, joined = (np.column_stack([counts.members, np.full(60, z)]) for z in (False, True))
        numbers = (np.tile(getattr(counts, name), 2)
                   for name in ("replicate_group", "conversions", "nulls", "revenue"))  # fmt: skip
        credit = shapley(CoalitionCounts(names, np.vstack([alone, joined]), *numbers), game="rate")
        found.append(credit.conversions[-1])
        hurting = np.count_nonzero(credit.conversions[:-1] < 0)
        assert credit.diagnostics["negative_channels"] == hurting
    assert min(found) < 0
    assert found == pytest.approx([0] * 30, abs=1e-9)


def test_the_model_of_channels_without_effect_is_all_baseline():
    counts = counts_of([({"a"}, 3, 7, 30, 0), ({"b"}, 6, 14, 60, 0), ({"a", "b"}, 3, 7, 5, 0)])
    credit = shapley(counts, game="model")
    assert credit.conversions == pytest.approx([0, 0], abs=1e-6)
    assert credit.baseline_conversions == pytest.approx(12)
    assert credit.baseline_revenue == pytest.approx(95)
    assert credit.baseline_name == "(baseline)"


def test_the_model_recovers_its_own_probabilities():
    """Two channels with known odds, and sets as often as they should convert."""
    odds = {"a": -1.0, "b": -2.0, "ab": 0.5}  # intercept -3.5, slopes 2.5 and 1.5
    rows = [(set(own), 1e6 * p, 1e6 * (1 - p), 1e6 * p, 0)
            for own, odd in odds.items() for p in [1 / (1 + math.exp(-odd))]]  # fmt: skip
    credit = shapley(counts_of(rows), game="model")
    none, a, b, ab = (1 / (1 + math.exp(-odd)) for odd in (-3.5, -1.0, -2.0, 0.5))
    expected = 1e6 * np.array([(a - none) + (a - none + ab - b) / 2,
                               (b - none) + (b - none + ab - a) / 2])  # fmt: skip
    assert credit.conversions == pytest.approx(expected, rel=1e-4)
    assert credit.baseline_conversions == pytest.approx(3e6 * none, rel=1e-4)
    assert credit.revenue == pytest.approx(credit.conversions)


def test_the_model_splits_revenue_in_proportion_to_conversions():
    counts = random_counts(6, 60)
    credit = shapley(counts, game="model")
    per_conversion = counts.revenue.sum() / counts.conversions.sum()
    assert credit.revenue == pytest.approx(credit.conversions * per_conversion)
    assert credit.baseline_revenue == pytest.approx(credit.baseline_conversions * per_conversion)


def test_the_model_stays_finite_where_a_channel_always_converts():
    counts = counts_of([({"a"}, 5, 0, 0, 0), ({"b"}, 1, 9, 0, 0), ({"a", "b"}, 4, 0, 0, 0)])
    credit = shapley(counts, game="model")
    assert np.isfinite(credit.conversions).all()
    assert credit.conversions[0] > 5


def test_channels_that_always_come_together_share():
    counts = counts_of([({"a", "b"}, 5, 5, 0, 0), ({"c"}, 1, 9, 0, 0), (set("abc"), 4, 4, 0, 0)])
    for game in GAMES:
        conversions = shapley(counts, game=game).conversions
        assert conversions[0] == pytest.approx(conversions[1], abs=1e-9)


@pytest.mark.parametrize("game", GAMES)
def test_refunds_may_take_all_revenue_back(game):
    rows = [({"a"}, 2, 3, 10, 0), ({"a", "b"}, 3, 3, -14, 0), ({"b", "c"}, 1, 4, 4, 0)]
    credit = shapley(counts_of(rows), game=game)
    assert credit.revenue.sum() + credit.baseline_revenue == pytest.approx(0, abs=1e-9)
    worse = shapley(counts_of([(own, won, lost, paid - 5, 0) for own, won, lost, paid, _ in rows]),
                    game=game)  # fmt: skip
    assert worse.revenue.sum() + worse.baseline_revenue == pytest.approx(-15)


# --- transforms ---------------------------------------------------------------------------------


def random_game(channels, seed=0, games=()):
    return np.random.default_rng(seed).normal(size=(*games, 1 << channels))


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_transforms_by_their_definitions(channels):
    game = random_game(channels, games=(3,))
    below, above = subset_sums(game), superset_sums(game)
    masks = np.arange(1 << channels)
    for mask in masks:
        assert below[:, mask] == pytest.approx(game[:, (masks & mask) == masks].sum(axis=1))
        assert above[:, mask] == pytest.approx(game[:, (masks & mask) == mask].sum(axis=1))
    assert dividends(below) == pytest.approx(game)
    for channel, found in enumerate(member_sums(game).T):
        assert found == pytest.approx(game[:, masks >> channel & 1 == 1].sum(axis=1))


@given(channels=st.integers(1, 6), seed=st.integers(0, 99))
@FEW
def test_values_of_any_game_by_all_orders(channels, seed):
    game = random_game(channels, seed)
    expected = by_orders(range(channels), lambda own: game[sum(1 << i for i in own)])
    assert shapley_values(game) == pytest.approx(list(expected.values()))


@given(channels=st.integers(1, 7), seed=st.integers(0, 99))
@FEW
def test_local_games_one_by_one_at_once_and_by_pairs(channels, seed):
    game, journeys = random_game(channels, seed), random_game(channels, seed + 100)
    game[0] = journeys[0] = 0
    expected = np.zeros(channels)
    for mask in range(1, 1 << channels):
        own = [i for i in range(channels) if mask >> i & 1]
        cut = [sum(1 << own[i] for i in range(len(own)) if small >> i & 1)
               for small in range(1 << len(own))]  # fmt: skip
        expected[own] += journeys[mask] * shapley_values(game[cut])
    assert local_shapley(game, journeys) == pytest.approx(expected)
    members = (np.arange(1, 1 << channels)[:, None] >> np.arange(channels) & 1).astype(bool)
    members = members[:, ::-1]  # the rarest channel must not be the first or last by chance
    pairs = local_shapley_by_pairs(members, game[1:, None], journeys[1:, None])
    assert pairs[0, ::-1] == pytest.approx(expected)


def test_pairs_in_many_blocks(monkeypatch):
    counts = random_counts(30, 500)
    whole = credit_of(counts, "exact_rate")
    monkeypatch.setattr(shapley_games, "BLOCK", 64)
    assert credit_of(counts, "exact_rate").conversions == pytest.approx(whole.conversions)


def test_a_million_sets_in_a_quarter_of_a_second():
    channels = 20
    conversions = np.random.default_rng(3).poisson(0.3, 1 << channels).astype(float)
    conversions[0] = 0
    began = time.process_time()
    values = shapley_values(subset_sums(conversions))
    assert time.process_time() - began < 0.25
    masks = np.arange(1 << channels, dtype=np.uint32)
    split = conversions / np.maximum(np.bitwise_count(masks), 1)
    even = [split[masks >> channel & 1 == 1].sum() for channel in range(channels)]
    assert values == pytest.approx(even, rel=1e-10)
    assert values.sum() == pytest.approx(conversions.sum(), rel=1e-12)


# --- many channels ------------------------------------------------------------------------------


def test_channels_beyond_the_limit_that_nobody_touched_do_not_count():
    counts = random_counts(6, 60)
    wide = replace(
        counts,
        channels=tuple(f"c{index:02}" for index in range(40)),
        members=np.pad(counts.members, ((0, 0), (0, 34))),
    )
    for game in GAMES:
        narrow = shapley(counts, game=game).conversions
        assert credit_of(wide, game, permutations=0).conversions[:6].tolist() == narrow.tolist()


def test_exact_rate_is_exact_at_any_number_of_channels(monkeypatch):
    counts = random_counts(18, 400)
    exact = credit_of(counts, "exact_rate")
    monkeypatch.setattr(shapley_games, "MOST_CHANNELS", 0)
    pairs = credit_of(counts, "exact_rate", permutations=0)
    assert pairs.conversions == pytest.approx(exact.conversions, abs=1e-9)
    assert pairs.revenue == pytest.approx(exact.revenue, abs=1e-9)


def test_exact_rate_of_forty_channels_by_all_orders():
    counts = random_counts(40, 150, largest=5)
    rows = [
        (frozenset(np.array(counts.channels)[own].tolist()), *numbers, 0)
        for own, *numbers in zip(
            counts.members, counts.conversions, counts.nulls, counts.revenue, strict=True
        )
    ]
    credit = credit_of(counts, "exact_rate", permutations=0)
    for measure, found in ((0, credit.conversions), (2, credit.revenue)):
        expected, _ = long_way("exact_rate", rows, counts.channels, measure)
        assert found == pytest.approx(list(expected.values()))


@pytest.mark.parametrize("channels", [8, 56, 57, 130])
def test_sets_are_told_apart_at_any_number_of_channels(channels):
    once = random_counts(channels, 400, largest=3)
    names = ("members", "replicate_group", "conversions", "nulls", "revenue")
    twice = CoalitionCounts(
        once.channels, *(np.concatenate([getattr(once, name)] * 2) for name in names)
    )
    sets = distinct_sets(twice)
    expected = {}
    for own, won, lost in zip(once.members, once.conversions, once.nulls, strict=True):
        before = expected.get(own[sets.channels].tobytes(), (0, 0))
        expected[own[sets.channels].tobytes()] = (before[0] + 2 * won, before[1] + 2 * lost)
    found = zip(sets.members, sets.conversions, sets.nulls, strict=True)
    assert {own.tobytes(): (won, lost) for own, won, lost in found} == expected
    assert len(sets.members) == len(expected)
    assert (sets.members[sets.place] == twice.members[:, sets.channels]).all()


def test_the_model_set_by_set_and_on_the_lattice(monkeypatch):
    counts = random_counts(18, 400, largest=10)
    exact = credit_of(counts, "model")
    monkeypatch.setattr(shapley_model, "MOST_CHANNELS", 0)
    monkeypatch.setattr(shapley_model, "BLOCK", 1 << 12)
    by_sets = credit_of(counts, "model", permutations=0)
    assert by_sets.conversions == pytest.approx(exact.conversions, abs=1e-8)
    assert by_sets.revenue == pytest.approx(exact.revenue, abs=1e-8)
    assert by_sets.baseline_conversions == pytest.approx(exact.baseline_conversions)


def made_to_sample(monkeypatch):
    monkeypatch.setattr(shapley_games, "MOST_CHANNELS", 3)
    monkeypatch.setattr(shapley_model, "MOST_CHANNELS", 3)
    monkeypatch.setattr(shapley_model, "MOST_MEMBERS", 3)


@pytest.mark.parametrize("game", ["rate", "model"])
def test_sampled_values_are_near_the_exact_ones(game, monkeypatch):
    counts = random_counts(9, 120, seed=5)
    converted = counts.conversions.sum()
    exact = credit_of(counts, game)
    made_to_sample(monkeypatch)
    errors = {}
    for orders in (500, 5000):
        credit = sampled(counts, game, permutations=orders, seed=1)
        assert credit.diagnostics["permutations"] == orders
        error = errors[orders] = credit.diagnostics["sampling_standard_error"]
        assert 0 < error < 0.02
        off = np.abs(credit.conversions - exact.conversions) / converted
        assert off.max() < 4 * error
        assert credit.conversions.sum() + credit.baseline_conversions == pytest.approx(converted)
        paid = credit.revenue.sum() + credit.baseline_revenue
        assert paid == pytest.approx(counts.revenue.sum())
        assert credit.revenue == pytest.approx(exact.revenue, abs=0.03 * counts.revenue.sum())
    assert errors[500] / errors[5000] == pytest.approx(math.sqrt(10), rel=0.2)


@pytest.mark.parametrize("game", ["rate", "model"])
def test_an_order_and_its_reverse_are_all_orders_of_two(game, monkeypatch):
    counts = random_counts(2, 9)
    exact = credit_of(counts, game)
    monkeypatch.setattr(shapley_games, "MOST_CHANNELS", 1)
    monkeypatch.setattr(shapley_model, "MOST_CHANNELS", 1)
    monkeypatch.setattr(shapley_model, "MOST_MEMBERS", 1)
    credit = sampled(counts, game, permutations=2)
    assert credit.conversions == pytest.approx(exact.conversions)
    assert credit.diagnostics["sampling_standard_error"] < 1e-7


@pytest.mark.parametrize("game", ["rate", "model"])
def test_the_standard_error_is_what_seeds_differ_by(game, monkeypatch):
    counts = random_counts(7, 60, seed=2)
    made_to_sample(monkeypatch)
    credits = [sampled(counts, game, permutations=60, seed=seed) for seed in range(60)]
    shares = np.array([credit.conversions for credit in credits]) / counts.conversions.sum()
    stated = np.mean([credit.diagnostics["sampling_standard_error"] for credit in credits])
    assert shares.std(axis=0, ddof=1).max() == pytest.approx(stated, rel=0.3)


@pytest.mark.parametrize("game", ["rate", "model"])
def test_a_seed_gives_the_same_bits_and_another_others(game):
    counts = random_counts(25, 150, largest=18)
    first, again, other = (sampled(counts, game, permutations=20, seed=s) for s in (4, 4, 5))
    assert first.conversions.tobytes() == again.conversions.tobytes()
    assert first.revenue.tobytes() == again.revenue.tobytes()
    assert dict(first.diagnostics) == dict(again.diagnostics)
    assert first.conversions.tobytes() != other.conversions.tobytes()
    shuffled = np.random.default_rng(0).permutation(150)
    rows = CoalitionCounts(
        counts.channels,
        *(getattr(counts, name)[shuffled] for name in
          ("members", "replicate_group", "conversions", "nulls", "revenue")),
    )  # fmt: skip
    assert sampled(rows, game, permutations=20, seed=4).conversions == pytest.approx(
        first.conversions
    )


def test_orders_drawn_in_portions_are_the_same_orders(monkeypatch):
    counts = random_counts(25, 150)
    whole = sampled(counts, "rate", permutations=30)
    monkeypatch.setattr(shapley_games, "CACHED", 150 * 7)
    assert sampled(counts, "rate", permutations=30).conversions == pytest.approx(whole.conversions)


@pytest.mark.parametrize(
    ("game", "says"),
    [("rate", "exact to 20 channels and journeys touched 25"), ("model", "one touched 1[78]")],
)
def test_exact_or_nothing(game, says):
    counts = random_counts(25, 150, largest=18)
    with pytest.raises(ModelError, match=says) as refused:
        shapley(counts, game=game, permutations=0)
    assert "\n" not in str(refused.value)
    for exact in ("conversions", "exact_rate"):
        assert credit_of(counts, exact, permutations=0).conversions.sum() > 0


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("game", GAMES)
def test_nothing_to_credit(game):
    counts = counts_of([({"a"}, 0, 5, 0, 0)])
    empty = replace(counts, nulls=np.zeros(1))
    none = CoalitionCounts((), np.zeros((0, 0), bool), *(np.zeros(0) for _ in range(4)))
    for nothing in (counts, empty, none):
        with pytest.raises(NoConversions, match=r"^no journey with a touch converts: shapley"):
            shapley(nothing, game=game)
        with pytest.raises(NoConversions):
            replicates(nothing, 1, game=game)
    with pytest.raises(NoConversions, match="shapley_ordered"):
        shapley_ordered(aggregate_paths([(["a"], 0, 5, 0), ([], 1, 0, 0)]))


def test_unknown_game_names_the_games():
    counts = counts_of([({"a"}, 1, 5, 0, 0)])
    for ask in (shapley, partial(replicates, groups=1)):
        with pytest.raises(UsageError, match=r"'rates': choose one of conversions, rate, exact_ra"):
            ask(counts, game="rates")


@pytest.mark.parametrize("number", [-1, 1])
def test_numbers_of_orders_that_make_no_sense(number):
    with pytest.raises(UsageError, match=f"permutations={number}: choose 2 or more, or 0"):
        shapley(counts_of([({"a"}, 1, 5, 0, 0)]), permutations=number)


def test_a_model_needs_journeys_of_both_kinds():
    with pytest.raises(ModelError, match="journeys that convert and journeys that do not") as error:
        shapley(counts_of([({"a"}, 4, 0, 0, 0), ({"b"}, 1, 0, 0, 0)]), game="model")
    assert "\n" not in str(error.value)
    one = credit_of(counts_of([({"a"}, 4, 1, 0, 0)]), "model")
    assert one.conversions.sum() + one.baseline_conversions == pytest.approx(4)


def test_a_regression_that_does_not_settle_is_refused(monkeypatch):
    patient = sklearn.linear_model.LogisticRegression

    def hurried(**options):
        return patient(**options | {"max_iter": 1})

    monkeypatch.setattr(sklearn.linear_model, "LogisticRegression", hurried)
    with pytest.raises(ConvergenceError, match="does not settle"):
        shapley(random_counts(5, 30), game="model")


# --- without a group ----------------------------------------------------------------------------


def without(counts, group):
    kept = counts.replicate_group != group
    names = ("members", "replicate_group", "conversions", "nulls", "revenue")
    return CoalitionCounts(counts.channels, *(getattr(counts, name)[kept] for name in names))


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("channels", [1, 6, 12])
def test_replicates_are_refits(game, channels):
    counts = random_counts(channels, 150, groups=5)
    found = replicates(counts, 5, game=game)
    assert found.shape == (5, channels)
    for group in range(5):
        assert found[group] == pytest.approx(share_of(without(counts, group), game), abs=1e-7)


@given(rows=ROWS)
@settings(max_examples=15)
def test_replicates_where_groups_hold_sets_of_their_own(rows):
    counts = counts_of(rows, "abcdef")
    for game in ("conversions", "rate", "exact_rate"):
        for group, found in enumerate(replicates(counts, 4, game=game)):
            rest = without(counts, group)
            if rest.conversions.any():
                assert found == pytest.approx(share_of(rest, game), abs=1e-9)
            else:
                assert np.isnan(found).all()


def test_replicates_without_conversions_or_nulls_are_missing():
    rows = [({"a"}, 2.1, 0, 1, 0), ({"a", "b"}, 0.7, 0, 1, 0), ({"b"}, 0, 3, 0, 1)]
    counts = counts_of(rows)
    for game in GAMES:
        found = replicates(counts, 3, game=game)
        assert np.isnan(found[0]).all()
        assert np.isnan(found[1]).all() == (game == "model")
        assert found[2] == pytest.approx(share_of(counts, game))


def test_groups_out_of_range_are_refused():
    counts = counts_of([({"a"}, 1, 1, 1, 3)])
    for ask in (replicates, rate_influence):
        with pytest.raises(InvalidPaths, match="from 3 to 3, and there are 3 groups"):
            ask(counts, 3)


def test_where_replicates_are_offered(monkeypatch):
    def offered(channels):
        counts = random_counts(channels, 300, groups=3)
        return [game for game in GAMES if replicates(counts, 3, game=game) is not None]

    assert offered(12) == list(GAMES)
    assert offered(13) == offered(17) == offered(20) == ["conversions", "rate", "exact_rate"]
    assert offered(21) == ["conversions", "exact_rate"]
    monkeypatch.setattr(shapley_replicates, "MOST_PAIRS", 100)
    assert offered(21) == ["conversions"]


@pytest.mark.parametrize("channels", [1, 5, 14])
def test_influence_by_finite_differences(channels):
    counts = random_counts(channels, 150, groups=4)
    influence = rate_influence(counts, 4)

    def weighted(group, weight):
        factor = np.where(counts.replicate_group == group, weight, 1.0)
        names = ("conversions", "nulls", "revenue")
        return share_of(replace(counts, **{n: getattr(counts, n) * factor for n in names}), "rate")

    for group in range(4):
        step = 1e-4
        slope = (weighted(group, 1 + step) - weighted(group, 1 - step)) / (2 * step)
        assert influence[group] == pytest.approx(slope, abs=1e-6)
    assert influence.sum(axis=0) == pytest.approx(0, abs=1e-12)
    assert influence.sum(axis=1) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("groups", "off"), [(8, 0.5), (100, 0.2)])
def test_one_step_is_near_a_refit(monkeypatch, groups, off):
    counts = random_counts(10, 5000, groups=groups)
    refits = replicates(counts, groups, game="rate")
    assert refits[7] == pytest.approx(share_of(without(counts, 7), "rate"))
    monkeypatch.setattr(shapley_replicates, "MOST_REFITTED", 3)
    steps = replicates(counts, groups, game="rate")
    assert steps.std(axis=0) == pytest.approx(refits.std(axis=0), rel=0.05)
    assert np.abs(steps - refits).max() < off * refits.std(axis=0).max()


# --- positions ----------------------------------------------------------------------------------


def test_positions_by_hand():
    paths = aggregate_paths(
        [(["b", "a", "b", "c"], 6, 9, 30), (["a", "a"], 1, 0, 5), (["a", "c"], 2, 0, -4),
         (["c", "d"], 0, 7, 0)]
    )  # fmt: skip
    credit = shapley_ordered(paths)
    rows = zip(credit.channel_index, credit.position, credit.conversions, credit.revenue,
               strict=True)  # fmt: skip
    assert [tuple(map(float, row)) for row in rows] == [
        (0, 1, 1 + 1, 5 - 2),  # a first: alone, and before c
        (0, 2, 2, 10),
        (1, 1, 2, 10),
        (2, 2, 1, -2),
        (2, 3, 2, 10),
    ]


@given(
    rows=st.lists(
        st.tuples(
            st.lists(st.sampled_from("abcdef"), min_size=1, max_size=9),
            st.integers(0, 4),
            st.integers(0, 4),
            st.integers(-9, 50),
        ).map(lambda row: row if row[1] else (*row[:3], 0)),
        min_size=1,
        max_size=12,
    ).filter(lambda rows: any(row[1] for row in rows))
)
@FEW
def test_positions_add_up_to_the_even_split(rows):
    paths = aggregate_paths(rows)
    ordered, whole = shapley_ordered(paths), shapley(coalition_counts(paths))
    size = len(paths.channels)
    for part, total in ((ordered.conversions, whole.conversions), (ordered.revenue, whole.revenue)):
        added = np.bincount(ordered.channel_index, part, minlength=size)
        assert added == pytest.approx(total, abs=1e-12 * (1 + np.abs(part).sum()))
    expected = {}
    for names, won, _, paid in rows:
        distinct = list(dict.fromkeys(names))
        for place, name in enumerate(distinct, 1):
            if won:
                key = (paths.channels.index(name), place)
                before = expected.get(key, (0, 0))
                share = (won / len(distinct), paid / len(distinct))
                expected[key] = (before[0] + share[0], before[1] + share[1])
    keys = zip(ordered.channel_index.tolist(), ordered.position.tolist(), strict=True)
    assert list(keys) == sorted(expected)
    values = np.array([expected[key] for key in sorted(expected)])
    assert ordered.conversions == pytest.approx(values[:, 0])
    assert ordered.revenue == pytest.approx(values[:, 1])


# --- real paths ---------------------------------------------------------------------------------


@pytest.mark.parametrize("game", FITTED)
def test_path_data(game):
    file = SHARED / "data" / "channelattribution_pathdata" / "Data.csv"
    if not file.exists():
        pytest.skip("no channelattribution_pathdata in the shared folder (set ATTRIBUTION_SHARED)")
    columns = {"conversions": "total_conversions", "revenue": "total_conversion_value",
               "nulls": "total_null"}  # fmt: skip
    counts = coalition_counts(read_paths(file, delimiter=";", columns=columns))
    credit = credit_of(counts, game)
    assert credit.conversions.sum() + credit.baseline_conversions == pytest.approx(19785, rel=1e-9)
    paid = credit.revenue.sum() + credit.baseline_revenue
    assert paid == pytest.approx(counts.revenue.sum(), rel=1e-9)
    if game == "rate":  # sampling the same game comes near
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shapley_games, "MOST_CHANNELS", 3)
            near = sampled(counts, game)
        error = near.diagnostics["sampling_standard_error"]
        assert np.abs(near.conversions - credit.conversions).max() / 19785 < 4 * error

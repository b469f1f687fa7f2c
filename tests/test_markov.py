"""Markov chains of every order against brute force, identities, real paths and hostile input."""

import os
import time
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from attribution.errors import ConvergenceError, InvalidPaths, ModelError, NoConversions
from attribution.fits import fit_markov, shares
from attribution.intervals import jackknife
from attribution.models import markov as markov_module
from attribution.models import markov_order
from attribution.models.markov import (
    markov,
    markov_influence,
    markov_replicates,
    removal_effects,
)
from attribution.models.markov_order import choose_order
from attribution.paths import aggregate_paths, read_paths
from attribution.transitions import (
    CONVERSION,
    NULL,
    START,
    TransitionCounts,
    join_transitions,
    lower_order,
    read_transition_counts,
    transition_counts,
)

SHARED = Path(os.environ.get("ATTRIBUTION_SHARED", Path(__file__).parents[2] / "shared"))

pytestmark = pytest.mark.filterwarnings("ignore:markov. every journey converts")

ROWS = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcd"), min_size=1, max_size=6),
        st.integers(0, 4),
        st.integers(0, 4),
        st.integers(0, 50),
    ).map(lambda row: row if row[1] else (*row[:3], 0)),
    min_size=1,
    max_size=12,
).filter(lambda rows: any(row[1] for row in rows))
QUICK = settings(max_examples=25, deadline=None, derandomize=True)
LOOPY = [(list("aabab"), 1, 1, 5), (list("babba"), 2, 0, 0), (list("cabab"), 0, 3, 0)]

ORDERS = (1, 2, 3, 4)
every_order = pytest.mark.parametrize("order", ORDERS)


def shared(*parts):
    file = SHARED.joinpath(*parts)
    if not file.exists():
        pytest.skip(f"no {'/'.join(parts)} in the shared folder (set ATTRIBUTION_SHARED)")
    return file


@pytest.fixture(scope="module")
def path_data():
    columns = {
        "conversions": "total_conversions",
        "revenue": "total_conversion_value",
        "nulls": "total_null",
    }
    file = shared("data", "channelattribution_pathdata", "Data.csv")
    return read_paths(file, delimiter=";", columns=columns)


def counted(rows, order=1):
    return transition_counts(aggregate_paths(rows), order)


def in_groups(rows, order, groups):
    """The journeys of each row dealt out to groups of customers, one after the other."""
    channels = aggregate_paths(rows).channels
    everywhere = [(channels, 0, 0, 0)]  # so that all parts have the same channels
    dealt = [[] for _ in range(groups)]
    turn = 0
    for path, conversions, nulls, revenue in rows:
        for won, lost in [(1, 0)] * conversions + [(0, 1)] * nulls:
            money = revenue / conversions if won else 0
            dealt[turn % groups].append((path, won, lost, money))
            turn += 1
    return join_transitions([counted(part + everywhere, order) for part in dealt])


# Oracle 1: a chain over tuples of channel names, solved densely with and without each channel.


def tuple_chain(rows, order):
    """Weight of each step between tuples of the last touches; outcomes are (won, revenue)."""
    moves, won, paid, leaving = (defaultdict(float) for _ in range(4))
    for path, conversions, nulls, revenue in rows:
        states = [tuple(path[max(0, i - order) : i]) for i in range(len(path) + 1)]
        for one, other in pairwise(states):
            moves[one, other] += conversions + nulls
        for state in states:
            leaving[state] += conversions + nulls
        won[states[-1]] += conversions
        paid[states[-1]] += revenue
    return moves, won, paid, leaving


def value_of_start(rows, order, outcome, removed=None):
    """Expected outcome of a journey when every touch of the removed channel leads nowhere."""
    moves, *outcomes, leaving = tuple_chain(rows, order)
    states = [state for state, weight in leaving.items() if weight]
    place = {state: i for i, state in enumerate(states)}
    matrix, right = np.eye(len(states)), np.zeros(len(states))
    for (one, other), weight in moves.items():
        if weight and (removed is None or other[-1] != removed):
            matrix[place[one], place[other]] -= weight / leaving[one]
    for state, i in place.items():
        right[i] = outcomes[outcome][state] / leaving[state]
    return np.linalg.solve(matrix, right)[place[()]]


def effects_by_removal(rows, order, outcome=0):
    whole = value_of_start(rows, order, outcome)
    channels = sorted({step for path, *_ in rows for step in path})
    return np.array([1 - value_of_start(rows, order, outcome, c) / whole for c in channels])


# Oracle 2: every journey the chain can make, step by step, with the set of channels it has touched.


def effects_by_enumeration(rows, order, rest=1e-13):
    moves, won, _, leaving = tuple_chain(rows, order)
    onward = defaultdict(list)
    for (one, other), weight in moves.items():
        if weight:
            onward[one].append((other, weight / leaving[one]))
    channels = sorted({step for path, *_ in rows for step in path})
    under_way = {((), frozenset()): 1.0}
    converted, passed = 0.0, dict.fromkeys(channels, 0.0)
    while sum(under_way.values()) > rest:
        moved = defaultdict(float)
        for (state, touched), mass in under_way.items():
            gain = mass * won[state] / leaving[state]
            converted += gain
            for channel in touched:
                passed[channel] += gain
            for other, probability in onward[state]:
                moved[other, touched | {other[-1]}] += mass * probability
        under_way = moved
    return converted, np.array(list(passed.values())) / converted


@every_order
@given(rows=ROWS)
@QUICK
def test_removal_effects_by_removal(order, rows):
    base, effects = removal_effects(counted(rows, order))
    conversions = sum(row[1] for row in rows)
    assert base == pytest.approx(conversions / sum(row[1] + row[2] for row in rows), rel=1e-11)
    assert effects == pytest.approx(effects_by_removal(rows, order), abs=1e-10)
    assert effects.min() >= 0
    assert effects.max() <= 1


@pytest.mark.parametrize("order", [1, 2, 3])
@given(rows=ROWS)
@example(rows=LOOPY)
@settings(QUICK, max_examples=12)
def test_removal_effects_by_enumeration(order, rows):
    base, effects = removal_effects(counted(rows, order))
    expected_base, expected = effects_by_enumeration(rows, order)
    assert base == pytest.approx(expected_base, rel=1e-10)
    assert effects == pytest.approx(expected, abs=1e-10)


@every_order
@given(rows=ROWS)
@QUICK
def test_credit_of_conversions_and_revenue(order, rows):
    credit = markov(counted(rows, order))
    conversions, total = sum(row[1] for row in rows), sum(row[3] for row in rows)
    effects = effects_by_removal(rows, order)
    expected = conversions * effects / effects.sum()
    assert credit.conversions == pytest.approx(expected, abs=1e-9 * conversions)
    if total:
        effects = effects_by_removal(rows, order, outcome=1)
        expected = total * effects / effects.sum()
        assert credit.revenue == pytest.approx(expected, abs=1e-9 * total)
    else:
        assert (credit.revenue == 0).all()


@given(rows=ROWS)
@QUICK
def test_memory_of_whole_journeys_leaves_the_influenced_share(rows):
    """With order >= the longest path a chain knows each path: RE_c = influenced_c / C."""
    rows = [(path[:4], *counts) for path, *counts in rows]
    channels = sorted({step for path, *_ in rows for step in path})
    influenced = [sum(row[1] for row in rows if channel in row[0]) for channel in channels]
    _, effects = removal_effects(counted(rows, 4))
    assert effects == pytest.approx(np.array(influenced) / sum(row[1] for row in rows), abs=1e-12)


@given(rows=ROWS)
@QUICK
def test_repeats_do_not_change_order_1(rows):
    collapsed = [
        ([step for i, step in enumerate(path) if i == 0 or path[i - 1] != step], *counts)
        for path, *counts in rows
    ]
    _, effects = removal_effects(counted(rows))
    assert removal_effects(counted(collapsed))[1] == pytest.approx(effects, abs=1e-12)


@every_order
@given(rows=ROWS, factor=st.sampled_from([1e-6, 0.5, 3, 1e6]))
@QUICK
def test_scaling_all_counts_leaves_effects(order, rows, factor):
    counts = counted(rows, order)
    scaled = replace(counts, journeys=factor * counts.journeys, revenue=factor * counts.revenue)
    one, other = markov(counts), markov(scaled)
    assert other.removal_effect == pytest.approx(one.removal_effect, abs=1e-10)
    assert other.conversions == pytest.approx(factor * one.conversions, rel=1e-9, abs=1e-9 * factor)
    assert other.revenue == pytest.approx(factor * one.revenue, rel=1e-9, abs=1e-7 * factor)


@every_order
@given(rows=ROWS, random=st.randoms(use_true_random=False))
@QUICK
def test_neither_names_nor_the_order_of_rows_matter(order, rows, random):
    names = dict(zip("abcd", "zyxw", strict=True))
    shuffled = random.sample(rows, len(rows))
    renamed = [([names[step] for step in path], *counts) for path, *counts in shuffled]
    credit = markov(counted(rows, order))
    again = markov(counted(shuffled, order))
    assert (again.conversions == credit.conversions).all()
    assert (again.revenue == credit.revenue).all()
    mirrored = markov(counted(renamed, order))
    assert mirrored.removal_effect[::-1] == pytest.approx(credit.removal_effect, abs=1e-10)
    assert mirrored.revenue[::-1] == pytest.approx(credit.revenue, abs=1e-7)


@every_order
@given(rows=ROWS)
@QUICK
def test_a_channel_of_null_paths_alone_has_nothing(order, rows):
    extra = [(["f"], 0, 3, 0), (["a", "f"], 0, 1, 0), (["g", "g"], 0, 0, 0)]
    if order > 1:  # order 1 forgets what came before the last touch, so it would go on from here
        extra += [(["f", "a", "f"], 0, 2, 0)]
    credit = markov(counted([*rows, *extra], order))
    assert credit.removal_effect[-2:].tolist() == [0, 0]
    assert credit.conversions[-2:].tolist() == [0, 0]
    assert credit.revenue[-2:].tolist() == [0, 0]


# Counts of higher order


def test_codes_of_states():
    """a > b > a, conversion worth 7: digits are channel index + 1, the last touch lowest."""
    counts = counted([(["a", "b", "a"], 2, 1, 7)], order=3)
    ab, aba = 2 + 256 * 1 - 1, 1 + 256 * 2 + 256**2 * 1 - 1
    rows = zip(counts.source, counts.target, counts.journeys, counts.revenue, strict=True)
    assert sorted(map(tuple, np.array(list(rows)).tolist())) == [
        (START, 0, 3, 0),
        (0, ab, 3, 0),
        (ab, aba, 3, 0),
        (aba, NULL, 1, 0),
        (aba, CONVERSION, 2, 7),
    ]
    assert (counts.order, counts.conversions, counts.nulls) == (3, 2, 1)
    assert counts.states.tolist() == [NULL, CONVERSION, START, 0, ab, aba]
    assert counts.last_channel().tolist() == [0, 1, 0]
    assert counts.revenue_after().tolist() == [0, 0, 7]
    assert counts.state_name(aba) == "'a' > 'b' > 'a'"


def table(counts):
    frame = pd.DataFrame(
        {
            "replicate_group": counts.replicate_group,
            "from_state": counts.source,
            "to_state": counts.target,
            "journeys": counts.journeys,
            "revenue": counts.revenue,
        }
    )
    return frame.sort_values(["replicate_group", "from_state", "to_state"], ignore_index=True)


@pytest.mark.parametrize("order", [2, 3, 4])
@given(rows=ROWS)
@QUICK
def test_lower_orders_are_exact(order, rows):
    high = counted(rows, order)
    assert lower_order(high, order) is high
    for lower in range(1, order):
        cut, straight = lower_order(high, lower), counted(rows, lower)
        assert cut.order == lower
        pd.testing.assert_frame_equal(table(cut), table(straight), check_exact=True)


@given(rows=ROWS)
@QUICK
def test_lower_orders_are_exact_in_every_group(rows):
    high, low = in_groups(rows, 3, groups=3), in_groups(rows, 2, groups=3)
    cut, straight = table(lower_order(high, 2)), table(low)
    pd.testing.assert_frame_equal(cut, straight)  # revenue is shared out, so all but rounding


def test_a_higher_order_cannot_be_made_up():
    counts = counted(LOOPY, 2)
    for order in (3, 0, -1):
        with pytest.raises(ModelError, match=f"order {order} cannot be had .* at order 2"):
            lower_order(counts, order)


@every_order
def test_counts_of_the_warehouse(order):
    whole = in_groups(LOOPY, order, groups=4)
    assert set(whole.replicate_group.tolist()) == {0, 1, 2, 3}
    frame = table(whole).sample(frac=1, random_state=1).assign(goal="contract")
    read = read_transition_counts(["a", "b", "c"], frame, order)
    pd.testing.assert_frame_equal(table(read), table(whole))
    assert markov(read).conversions == pytest.approx(markov(counted(LOOPY, order)).conversions)


def test_joined_parts_are_groups():
    one, other = counted(LOOPY[:2], 2), counted(LOOPY[1:], 2)
    with pytest.raises(InvalidPaths, match="not of the same channels"):
        join_transitions([one, other])
    with pytest.raises(InvalidPaths, match="not of the same channels and order"):
        join_transitions([counted(LOOPY, 1), counted(LOOPY, 2)])
    with pytest.raises(InvalidPaths, match="parts to join"):
        join_transitions([])
    twice = join_transitions([counted(LOOPY, 2), counted(LOOPY, 2)])
    assert np.bincount(twice.replicate_group).tolist() == [counted(LOOPY, 2).source.size] * 2
    assert twice.conversions == 2 * counted(LOOPY, 2).conversions


@pytest.mark.parametrize("order", [2, 3, 4])
def test_the_last_of_240_channels(order):
    names = [f"c{index:03}" for index in range(240)]
    rows = [(names, 1, 0, 3), (names[:1], 1, 2, 0), (names[-1:] * 5, 0, 1, 0)]
    counts = counted(rows, order)
    pd.testing.assert_frame_equal(table(lower_order(counts, 1)), table(counted(rows)))
    _, effects = removal_effects(counts)
    assert effects == pytest.approx([1, *[0.5] * 239], abs=1e-10)


def test_only_order_1_takes_more_channels():
    names = [f"c{index:03}" for index in range(700)]
    rows = [(names, 1, 0, 0), (names[256:513], 0, 1, 0)]
    _, effects = removal_effects(counted(rows))
    assert effects == pytest.approx([0.5] * 256 + [1.0] * 444)
    with pytest.raises(InvalidPaths, match="700 channels: a chain of order 2 takes 240"):
        counted(rows, 2)


# Solving


def random_chain(channels, journeys, seed=0, back=0.0, stay=0.9):
    """Journeys whose next touch depends on the last two: on the one before last by `back`."""
    random = np.random.default_rng(seed)
    favourite = random.integers(channels, size=(channels + 1, channels))
    rows = []
    for _ in range(journeys):
        path = [int(random.integers(channels))]
        while random.random() < stay:
            before = path[-2] if len(path) > 1 else channels
            if random.random() < back:
                path.append(before if before < channels else int(random.integers(channels)))
            elif random.random() < 0.5:
                path.append(int(favourite[before, path[-1]]))
            else:
                path.append(int(random.integers(channels)))
        won = int(random.random() < 0.1 + 0.3 * (path[-1] % 3 == 0))
        rows.append(([f"c{step:02}" for step in path], won, 1 - won, 2 * won))
    return rows


@pytest.mark.parametrize("order", [2, 3])
def test_more_channels_than_a_block(order):
    rows = random_chain(channels=35, journeys=120)
    credit = markov(counted(rows, order))
    assert credit.removal_effect.size > markov_order.BLOCK
    assert credit.removal_effect == pytest.approx(effects_by_removal(rows, order), abs=1e-10)
    assert credit.diagnostics["residual"] <= 1e-11


def test_residual_bounds_the_error(monkeypatch):
    rows = random_chain(channels=5, journeys=300)
    exact = effects_by_removal(rows, 2)
    errors = []
    for tolerance in (1e-1, 1e-3, 1e-5, 1e-9):
        monkeypatch.setattr(markov_order, "TOLERANCE", tolerance)
        effects, found = markov_module._by_sweeps(*solvable(rows, 2))
        errors.append(np.abs(effects[0] - exact).max())
        assert errors[-1] <= found["residual"] <= 2 * tolerance
    assert errors[0] > 1e-6  # a bound that nothing comes near would be no test


def solvable(rows, order):
    counts = counted(rows, order)
    return counts, markov_module._rewards(counts)[:, :1]


@pytest.mark.parametrize("order", ORDERS)
def test_sweeps_give_the_closed_form(order):
    """At order 1 the sweeps must come to what one inverse says."""
    rows = random_chain(channels=6, journeys=300)
    effects, found = markov_module._by_sweeps(*solvable(rows, order))
    assert effects[0] == pytest.approx(removal_effects(counted(rows, order))[1], abs=1e-11)
    assert found["states"] == counted(rows, order).states.size - 2


def test_where_order_1_misleads(monkeypatch):
    """Journeys go to and fro, which the last touch cannot tell: the correction must give way."""
    rows = random_chain(channels=12, journeys=200, back=0.97)
    credit = markov(counted(rows, 2))
    assert credit.removal_effect == pytest.approx(effects_by_removal(rows, 2), abs=1e-10)
    monkeypatch.setattr(markov_order, "PATIENCE", 10**9)
    monkeypatch.setattr(markov_order, "MOST_SWEEPS", 3000)
    with pytest.raises(ConvergenceError):
        markov(counted(rows, 2))


def test_order_1_foresees_most():
    """Journeys of twenty touches ask for hundreds of sweeps, and the correction spares most."""
    chain = markov_order.chain_of(counted(random_chain(channels=12, journeys=500, stay=0.95), 2))
    start, worth = np.eye(chain.last.size, 1), np.ones((chain.last.size, 1))
    assert markov_order.visits(chain, start, worth, np.arange(12)).sweeps < 100
    assert markov_order.visits(chain, start, worth).sweeps > 200


def test_repeats_cost_no_sweeps():
    one, other = (
        markov(counted([(["a"] * n + ["b"], 1, 1, 0), (["b"], 1, 0, 0)], 2)) for n in (3, 300)
    )
    assert other.diagnostics["iterations"] == one.diagnostics["iterations"]
    assert other.removal_effect == pytest.approx(one.removal_effect, abs=1e-12)


@every_order
def test_identical_bits_on_a_second_run(order):
    rows = random_chain(channels=35, journeys=300, seed=4)
    one, other = (in_groups(rows, order, groups=7) for _ in range(2))
    assert markov(one).removal_effect.tobytes() == markov(other).removal_effect.tobytes()
    assert markov(one).revenue.tobytes() == markov(other).revenue.tobytes()
    assert dict(markov(one).diagnostics) == dict(markov(other).diagnostics)


@every_order
def test_path_data_at_every_order(path_data, order):
    counts = transition_counts(path_data, order)
    credit = markov(counts)
    assert credit.diagnostics["base"] == pytest.approx(19785 / 88387, rel=1e-11)
    assert credit.diagnostics["base"] == pytest.approx(0.2238451356, abs=1e-10)
    assert credit.diagnostics["order"] == order
    assert credit.conversions.sum() == pytest.approx(19785, rel=1e-12)
    assert credit.revenue.sum() == pytest.approx(path_data.total_revenue, rel=1e-12)
    pd.testing.assert_frame_equal(
        table(lower_order(transition_counts(path_data, 4), order))[["from_state", "journeys"]],
        table(counts)[["from_state", "journeys"]],
        check_exact=True,
    )


@pytest.mark.parametrize("order", [1, 2])
def test_path_data_by_removal(path_data, order):
    columns = (path_data.steps, path_data.conversions, path_data.nulls, path_data.revenue)
    rows = list(zip(*columns, strict=True))
    credit = markov(transition_counts(path_data, order))
    assert credit.removal_effect == pytest.approx(effects_by_removal(rows, order), abs=1e-10)
    effects = effects_by_removal(rows, order, outcome=1)
    expected = path_data.total_revenue * effects / effects.sum()
    assert credit.revenue == pytest.approx(expected, rel=1e-8)


def endless(probability_to_end, order):
    """One journey that goes round a, b, c for ever so long."""
    rounds = 1 / probability_to_end
    moves = {(START, 0): 1.0, (2, CONVERSION): 0.5, (2, NULL): 0.5}
    moves |= {(0, 1): rounds, (1, 2): rounds, (2, 0): rounds - 1}
    if order == 2:
        ab, bc, ca = 2 + 256 - 1, 3 + 2 * 256 - 1, 1 + 3 * 256 - 1
        moves = {(START, 0): 1.0, (0, ab): 1.0, (bc, CONVERSION): 0.5, (bc, NULL): 0.5}
        moves |= {(ab, bc): rounds, (bc, ca): rounds - 1, (ca, ab): rounds - 1}
    return moves


def counts_of(moves, order, channels=("a", "b", "c"), **parts):
    source, target = np.array(list(moves)).T
    none = np.zeros(source.size)
    journeys = np.array(list(moves.values()))
    return TransitionCounts(channels, source, target, none, journeys, none, order, **parts)


def test_no_convergence_is_an_error_and_no_answer():
    counts = counts_of(endless(1e-9, 2), 2)
    with pytest.raises(ConvergenceError, match=r"after 20000 sweeps .* still under way") as refused:
        markov(counts)
    assert "\n" not in str(refused.value)
    with pytest.raises(ConvergenceError):
        markov_influence(counts, 1)
    assert removal_effects(counts_of(endless(1e-6, 1), 1))[1] == pytest.approx([1, 1, 1])


def test_long_journeys_are_solved():
    credit = markov(counts_of(endless(1e-2, 2), 2))
    assert credit.removal_effect == pytest.approx([1, 1, 1], abs=1e-10)
    assert credit.diagnostics["iterations"] > 1000


def test_an_iteration_cap_holds_for_removed_channels_too(monkeypatch):
    chain = markov_order.chain_of(counted(random_chain(6, 200), 2))
    start, worth = np.eye(chain.last.size, 1), np.ones((chain.last.size, 1))
    monkeypatch.setattr(markov_order, "MOST_SWEEPS", 3)
    with pytest.raises(ConvergenceError, match="after 3 sweeps"):
        markov_order.visits(chain, start, worth, np.arange(6))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_journeys_that_never_end_are_refused(order):
    code = {1: (0, 1), 2: (257, 512), 3: (1 + 256 * 2 + 65536 - 1, 2 + 256 + 65536 * 2 - 1)}[order]
    whole = {(START, 2): 2.0, (2, CONVERSION): 1.0, (2, NULL): 1.0}
    there, back = {(code[0], code[1]): 5.0}, {(code[1], code[0]): 5.0}
    with pytest.raises(ModelError, match="go round and never end"):
        markov(counts_of(whole | there | back, order))
    resting = {1: 0, 2: 1 + 256 - 1, 3: 1 + 256 + 65536 - 1}[order]
    with pytest.raises(ModelError, match="go round and never end"):
        markov(counts_of(whole | {(resting, resting): 5.0}, order))


@every_order
def test_a_chain_that_misses_its_own_rate_is_refused(order, monkeypatch):
    """The guard of base = C / (C + N), which checked counts never trip."""
    counts = counted(LOOPY, order)
    monkeypatch.setattr(TransitionCounts, "nulls", 5.0)
    with pytest.raises(ModelError, match="do not stem from whole journeys"):
        markov(counts)


@every_order
def test_where_every_journey_converts(order):
    counts = counted([(["a", "b"], 3, 0, 0), (["b"], 1, 0, 0)], order)
    with pytest.warns(UserWarning, match="every journey converts"):
        credit = markov(counts)
    assert credit.diagnostics["base"] == pytest.approx(1)
    assert credit.diagnostics["every_journey_converts"] == 1
    assert credit.removal_effect == pytest.approx([0.75, 1])


@pytest.mark.filterwarnings("error")
@every_order
def test_no_warning_where_journeys_end_without_conversion(order):
    assert "every_journey_converts" not in markov(counted(LOOPY, order)).diagnostics


@every_order
def test_none_convert(order):
    for rows in ([(["a", "b"], 0, 3, 0)], [([], 2, 0, 0)]):
        with pytest.raises(NoConversions):
            markov(counted(rows, order))
        with pytest.raises(NoConversions):
            removal_effects(counted(rows, order))
        with pytest.raises(NoConversions):
            markov_influence(counted(rows, order), 1)


@every_order
def test_a_net_loss_is_refused_state_by_state(order):
    """At order 2 the loss after b > a shows; at order 1 it drowns in the gain after a."""
    rows = [(["b", "a"], 1, 1, -5), (["a"], 1, 1, 20), (["c", "a"], 1, 0, 0)]
    if order == 1:
        assert markov(counted(rows)).revenue.sum() == pytest.approx(15)
        return
    with pytest.raises(ModelError, match="right after 'b' > 'a' bring a net revenue of -5"):
        markov(counted(rows, order))


# What intervals are made of


@given(rows=ROWS)
@QUICK
def test_replicates_are_fits_without_a_group(rows):
    counts = in_groups(rows, 1, groups=4)
    found = markov_replicates(counts, 4)
    for group in range(4):
        rest = counts.replicate_group != group
        names = ("source", "target", "replicate_group", "journeys", "revenue")
        left = replace(counts, **{name: getattr(counts, name)[rest] for name in names})
        if left.conversions:
            _, effects = removal_effects(left)
            assert found[group] == pytest.approx(effects / effects.sum(), abs=1e-12)
            assert found[group].sum() == pytest.approx(1, rel=1e-12)
        else:
            assert np.isnan(found[group]).all()


@pytest.mark.filterwarnings("error")
def test_replicates_without_a_conversion_are_not_a_number():
    parts = [[(["a", "b"], 2, 1, 0)], [(["a", "b"], 0, 4, 0)], [(["a", "b"], 0, 1, 0)]]
    found = markov_replicates(join_transitions([counted(part) for part in parts]), 3)
    assert np.isnan(found).tolist() == [[True] * 2, [False] * 2, [False] * 2]
    assert found[1] == pytest.approx([0.5, 0.5])


def test_replicates_do_not_depend_on_the_batch(monkeypatch):
    counts = in_groups(random_chain(5, 300), 1, groups=20)
    whole = markov_replicates(counts, 20)
    monkeypatch.setattr(markov_module, "BATCH_BYTES", 4 * 3 * counts.weights().nbytes)
    assert markov_replicates(counts, 20) == pytest.approx(whole, abs=1e-14)


def test_an_empty_group_changes_nothing():
    counts = in_groups(LOOPY, 1, groups=2)
    share = markov(counts).conversions / counts.conversions
    assert markov_replicates(counts, 3)[2] == pytest.approx(share, abs=1e-12)
    assert markov_influence(counts, 3)[2] == pytest.approx([0, 0, 0], abs=1e-12)


@every_order
@given(rows=ROWS)
@settings(QUICK, max_examples=12)
def test_influence_is_the_derivative(order, rows):
    counts = in_groups(rows, order, groups=3)
    found = markov_influence(counts, 3)
    step = 1e-4

    def shares(group, weight):
        scale = np.where(counts.replicate_group == group, weight, 1.0)
        scaled = replace(counts, journeys=counts.journeys * scale, revenue=counts.revenue * scale)
        return markov(scaled).conversions / scaled.conversions

    for group in range(3):
        difference = (shares(group, 1 + step) - shares(group, 1 - step)) / (2 * step)
        assert found[group] == pytest.approx(difference, rel=1e-5, abs=1e-7)
    assert found.sum(axis=1) == pytest.approx(np.zeros(3), abs=1e-10)
    assert found.sum(axis=0) == pytest.approx(np.zeros(found.shape[1]), abs=1e-9)


def test_influence_of_more_channels_than_a_block():
    counts = in_groups(random_chain(35, 600), 2, groups=5)
    found = markov_influence(counts, 5)
    for group in (0, 4):
        scale = np.where(counts.replicate_group == group, 1 + 1e-5, 1.0)
        moved = replace(counts, journeys=counts.journeys * scale, revenue=counts.revenue * scale)
        shares = [markov(each).conversions / each.conversions for each in (counts, moved)]
        assert found[group] == pytest.approx((shares[1] - shares[0]) / 1e-5, rel=1e-3, abs=1e-6)


def test_influence_stands_for_deleting_a_group():
    counts = in_groups(random_chain(5, 4000), 1, groups=50)
    share = markov(counts).conversions / counts.conversions
    deleted, influence = markov_replicates(counts, 50) - share, -markov_influence(counts, 50)
    assert np.abs(influence - deleted).max() < 0.1 * np.abs(deleted).max()
    assert influence.std(axis=0) == pytest.approx(deleted.std(axis=0), rel=0.05)


@pytest.mark.parametrize("groups", [4, 10])
def test_few_groups_have_errors_as_long_as_refits_give_them(groups: int):
    """Without one of four groups the others weigh a third more, not a quarter."""
    rng = np.random.default_rng(2)
    parts = [
        counted([(["a", "b"], *rng.poisson([40, 160]), 0), (["b"], *rng.poisson([30, 300]), 0),
                 (["a"], *rng.poisson([20, 150]), 0), (["c", "a"], *rng.poisson([25, 90]), 0)], 2)
        for _ in range(groups)
    ]  # fmt: skip
    counts = join_transitions(parts)
    fit = fit_markov(counts, groups, 2)
    assert fit.replicates is not None
    refits = np.array([
        shares(markov(join_transitions([p for j, p in enumerate(parts) if j != g])))
        for g in range(groups)
    ])  # fmt: skip
    error, expected = (
        jackknife(shares(fit.credit), rows).standard_error for rows in (fit.replicates, refits)
    )
    assert error == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize("made", [markov_replicates, markov_influence])
def test_groups_beyond_their_number_are_refused(made):
    with pytest.raises(InvalidPaths, match="groups 0 to 3 where 0 to 2 were expected"):
        made(in_groups(LOOPY, 1, groups=4), 3)
    counts = in_groups(LOOPY, 1, groups=4)
    with pytest.raises(InvalidPaths, match="groups -1 to 2"):
        made(replace(counts, replicate_group=counts.replicate_group - 1), 4)


def test_replicates_are_of_order_1():
    with pytest.raises(ModelError, match="order 1, not 2"):
        markov_replicates(in_groups(LOOPY, 2, groups=2), 2)


def test_intervals_material_is_cheap():
    """100 groups of 12 channels are one batch of small inverses, not 100 fits."""
    counts = in_groups(random_chain(12, 3000), 1, groups=100)
    took = []
    for _ in range(5):
        begun = time.process_time()
        markov_replicates(counts, 100)
        took.append(time.process_time() - begun)
    assert min(took) < 0.1


# The choice of the order


def journeys_of(memory, seed, journeys=3000, channels=4):
    """Rows of journeys whose next touch depends on the last, and by `memory` on the one before."""
    random = np.random.default_rng(seed)
    chances = random.dirichlet(np.ones(channels + 2), size=(channels + 1, channels))
    chances = (1 - memory) * chances[0] + memory * chances
    limits = chances.cumsum(axis=-1)
    rows = []
    for _ in range(journeys):
        path, before = [int(random.integers(channels))], channels
        while (step := int(np.searchsorted(limits[before, path[-1]], random.random()))) < channels:
            before = path[-1]
            path.append(step)
        won = int(step == channels)
        rows.append((["abcd"[touch] for touch in path], won, 1 - won, 0))
    return rows


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_the_order_that_made_the_journeys_is_chosen(order, seed):
    choice = choose_order(in_groups(journeys_of(order - 1, seed), 3, groups=40))
    assert choice.order == order
    assert choice.orders == (1, 2, 3)
    assert choice.log_likelihood.shape == choice.standard_error.shape == (3,)
    assert (choice.log_likelihood < 0).all()
    assert (choice.standard_error > 0).all()
    if order == 2:
        assert choice.log_likelihood.argmax() == 1


def test_a_gain_within_one_standard_error_is_no_reason_to_remember_more():
    choice = choose_order(in_groups(journeys_of(0.2, seed=1), 3, groups=40))
    best = choice.log_likelihood.argmax()
    assert best == 1
    assert choice.log_likelihood[0] >= choice.log_likelihood[1] - choice.standard_error[1]
    assert choice.order == 1


def log_likelihoods_by_hand(journeys, order, fold_of, folds, channels):
    """Journey by journey: ends are steps too, tuples are states, each fold foretold by the rest."""
    totals = np.zeros(folds)
    for fold in range(folds):
        counts = [defaultdict(float) for _ in range(order + 1)]
        for i, (path, end) in enumerate(journeys):
            if fold_of[i] != fold:
                for k in range(1, order + 1):
                    for at, step in enumerate([*path, end]):
                        counts[k][tuple(path[max(0, at - k) : at]), step] += 1
                        counts[k][tuple(path[max(0, at - k) : at])] += 1

        def chance(path, at, step, k, counts=counts):
            if k == 0:
                return 1 / (channels + 2)
            state = tuple(path[max(0, at - k) : at])
            lower = chance(path, at, step, k - 1)
            return (counts[k][state, step] + lower) / (counts[k][state] + 1)

        for i, (path, end) in enumerate(journeys):
            if fold_of[i] == fold:
                steps = enumerate([*path, end])
                totals[fold] += sum(np.log(chance(path, at, step, order)) for at, step in steps)
    return totals


def test_the_log_likelihood_by_hand():
    journeys = [(path, "won" if won else "lost") for path, won, _, _ in journeys_of(1, 9, 200)]
    groups = [i % 7 for i in range(len(journeys))]
    parts = [
        [(path, int(end == "won"), int(end == "lost"), 0) for path, end in journeys[group::7]]
        for group in range(7)
    ]
    everywhere = [("abcd", 0, 0, 0)]
    counts = join_transitions([counted(part + everywhere, 3) for part in parts])
    choice = choose_order(counts, folds=3)
    fold_of = [group % 3 for group in groups]
    sizes = np.bincount(fold_of)
    for order in (1, 2, 3):
        by_hand = log_likelihoods_by_hand(journeys, order, fold_of, 3, 4)
        mean = by_hand.sum() / 200
        assert choice.log_likelihood[order - 1] == pytest.approx(mean, rel=1e-12)
        variance = 3 / 2 * ((by_hand - mean * sizes) ** 2).sum() / 200**2  # of a ratio of sums
        assert choice.standard_error[order - 1] == pytest.approx(variance**0.5, rel=1e-9)


def test_a_choice_needs_customers_to_hold_out():
    for counts in (counted(LOOPY, 2), counted([([], 1, 0, 0)], 2)):
        with pytest.raises(ModelError, match="replicate groups"):
            choose_order(counts)
    ten_apart = in_groups(LOOPY, 2, groups=2)
    ten_apart = replace(ten_apart, replicate_group=ten_apart.replicate_group * 10)
    with pytest.raises(ModelError, match="replicate groups"):
        choose_order(ten_apart, folds=10)
    assert choose_order(ten_apart, folds=11).orders == (1, 2)


def test_a_choice_among_one_order():
    choice = choose_order(in_groups(LOOPY, 1, groups=4), folds=4)
    assert (choice.order, choice.orders) == (1, (1,))


# Hostile input


def order_2_parts():
    counts = counted([(["a", "b"], 2, 1, 7), (["b"], 0, 1, 0)], order=2)
    names = ("channels", "source", "target", "replicate_group", "journeys", "revenue", "order")
    return {name: getattr(counts, name) for name in names}


AB = 2 + 256 - 1
BA = 1 + 2 * 256 - 1


def swapped(name, old, new):
    def alter(parts):
        values = parts[name].copy()
        assert (values == old).any()
        values[np.argmax(values == old)] = new
        parts[name] = values

    return alter


@pytest.mark.parametrize(
    ("alter", "says"),
    [
        (lambda parts: parts.update(order=0), "order 0: a chain has order 1, 2, 3 or 4"),
        (lambda parts: parts.update(order=5), "order 5"),
        (lambda parts: parts.update(order="auto"), "order 'auto'"),
        (lambda parts: parts.update(order=1), "source is no state"),
        (lambda parts: parts.update(order=3, source=parts["source"] + 2**24), "source is no state"),
        (swapped("target", AB, BA), "'a' to 'b' > 'a': the target does not remember"),
        (swapped("target", AB, 1), "'a' to 'b': the target does not remember"),
        (swapped("target", AB, 3 + 256 - 1), "the target is no state"),  # two channels only
        (swapped("target", AB, 256 - 1), "the target is no state"),  # a touch before none
        (swapped("target", AB, AB + 256**2), "the target is no state"),  # three touches
        (swapped("target", AB, -4), "the target is no state"),
        (swapped("target", AB, START), r"nothing enters \(start\)"),
        (swapped("target", AB, 2**53), "the target is no state"),
        (swapped("source", AB, 2**40), "the source is no state"),
        (swapped("source", AB, -(2**53)), "the source is no state"),
        (swapped("source", AB, CONVERSION), "nothing leaves an absorbing state"),
        (swapped("source", START, 0), "does not remember"),
        (swapped("journeys", 3, 4), "enter 'a'"),
        (swapped("journeys", 3, 1e308), "enter"),
        (swapped("revenue", 7, np.nan), "revenue: holds a missing"),
        (lambda parts: parts.update(journeys=np.full(6, 1e308)), "too many to add up"),
        (lambda parts: parts.update(target=parts["target"] + 0.5), "fraction"),
        (lambda parts: parts.update(source=["(start)"] * 6), "not a number"),
        (lambda parts: parts.update(channels=("b", "a")), "sorted"),
    ],
)
def test_counts_that_contradict_themselves_are_refused(alter, says):
    parts = order_2_parts()
    TransitionCounts(**parts)
    alter(parts)
    with pytest.raises(InvalidPaths, match=says) as refused:
        TransitionCounts(**parts)
    assert "\n" not in str(refused.value)


def test_hostile_names_stay_on_one_line():
    names = ["'; drop table x;--", "a\nb", "a > b", "üñ✓"]
    rows = [(names, 1, 1, -3)]
    with pytest.raises(ModelError) as refused:
        markov(counted(rows, 3))
    assert "\n" not in str(refused.value)
    assert "'a > b'" in str(refused.value)


@every_order
def test_rows_without_weight_change_nothing(order):
    counts = counted(LOOPY, order)
    extra = {(START, 1): 0.0, (1, CONVERSION): 0.0, (1, NULL): 0.0}
    source, target = np.array(list(extra)).T
    padded = TransitionCounts(
        counts.channels,
        np.append(counts.source, source),
        np.append(counts.target, target),
        np.append(counts.replicate_group, [0, 0, 0]),
        np.append(counts.journeys, [0, 0, 0]),
        np.append(counts.revenue, [0, 0, 0]),
        order,
    )
    assert markov(padded).removal_effect == pytest.approx(markov(counts).removal_effect, abs=1e-11)
    assert choose_order(replace(padded, replicate_group=np.arange(padded.source.size) % 2))


@every_order
@pytest.mark.parametrize("scale", [1e-12, 1e12, 1e200])
def test_counts_of_any_size(order, scale):
    counts = counted(LOOPY, order)
    scaled = replace(counts, journeys=scale * counts.journeys, revenue=scale * counts.revenue)
    _, effects = removal_effects(counts)
    assert removal_effects(scaled)[1] == pytest.approx(effects, abs=1e-11)

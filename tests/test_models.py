"""The mathematics against published cases, brute force and axioms.

Published cases and data stand in the folder `shared` beside the repository, or where
ATTRIBUTION_SHARED points; their tests are skipped where it is absent.
"""

import json
import math
import os
import time
from itertools import groupby, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution import path_credit
from attribution.coalitions import coalition_counts
from attribution.errors import ModelError, NoConversions
from attribution.models.markov import markov, removal_effects
from attribution.models.shapley import shapley
from attribution.paths import aggregate_paths, read_paths
from attribution.transitions import CONVERSION, NULL, START, TransitionCounts, transition_counts

CLASSIC = (  # the others have files of their own
    "first_touch",
    "last_touch",
    "last_non_direct",
    "linear",
    "position_based",
    "markov",
    "shapley",
)
pytestmark = pytest.mark.filterwarnings("ignore:markov. every journey converts")
SHARED = Path(os.environ.get("ATTRIBUTION_SHARED", Path(__file__).parents[2] / "shared"))


def credit_from_paths(paths, model, options=None):
    return path_credit.credit_from_paths(paths, model, options, groups=0)


def shared(*parts):
    file = SHARED.joinpath(*parts)
    if not file.exists():
        pytest.skip(f"no {'/'.join(parts)} in the shared folder (set ATTRIBUTION_SHARED)")
    return file


def case(name):
    return json.loads(shared("cases", f"{name}.json").read_text())


def paths_of(rows):
    return aggregate_paths((row["path"], row["conversions"], row["nulls"], 0) for row in rows)


def by_channel(paths, values):
    return dict(zip(paths.channels, values.tolist(), strict=True))


def credit_of(paths, model, **options):
    return by_channel(paths, credit_from_paths(paths, model, options).conversions)


@pytest.mark.parametrize("model", ["first_touch", "last_touch", "linear", "position_40_20_40"])
def test_heuristics_3paths(model):
    published = case("heuristics_3paths")
    name = "position_based" if model.startswith("position") else model
    credit = credit_of(paths_of(published["paths"]), name)
    assert credit == pytest.approx(published["expected"][model], abs=published["tolerance"])


@pytest.mark.parametrize(
    ("index", "model", "options"),
    [
        (0, "linear", {}),
        (1, "position_based", {"first": "0.4", "last": "0.4"}),
        (2, "position_based", {"first": "0.3", "last": "0.7"}),
    ],
)
def test_heuristics_small(index, model, options):
    published = case("heuristics_small")
    rows = published["subcases"][index]
    credit = credit_of(paths_of(rows["paths"]), model, **options)
    assert credit == pytest.approx(rows["expected"], abs=published["tolerance"])


def test_heuristics_small_blank_steps(tmp_path):
    blank = case("heuristics_small")["subcases"][3]
    file = tmp_path / "paths.csv"
    file.write_text("path,conversions\n" + "".join(f"{path},1\n" for path in blank["paths_raw"]))
    paths = read_paths(file)
    assert list(paths.channels) == blank["expected_channels"]
    assert paths.unattributed_conversions == 2


@pytest.mark.parametrize(
    "name",
    [
        "markov_3path_c1c2c3",
        "markov_googleads_mailing",
        "markov_self_loops",
        "markov_transition_abac",
    ],
)
def test_markov_cases(name):
    published = case(name)
    expected, tolerance = published["expected"], published["tolerance"]
    paths = paths_of(published["paths"])
    credit = credit_from_paths(paths, "markov")
    effects = by_channel(paths, credit.removal_effect)
    assert effects == pytest.approx(expected["removal_effect"], abs=tolerance)
    assert by_channel(paths, credit.conversions) == pytest.approx(expected["credit"], abs=tolerance)
    if "p_conversion" in expected:
        assert credit.diagnostics["base"] == pytest.approx(expected["p_conversion"], abs=tolerance)


@pytest.mark.parametrize(
    "name", ["markov_3path_c1c2c3", "markov_googleads_mailing", "markov_transition_abac"]
)
def test_markov_transitions(name):
    published = case(name)
    transitions = transition_counts(paths_of(published["paths"]))
    assert probabilities(transitions) == pytest.approx(published["expected"]["transitions"])


def test_markov_self_loops_collapsed():
    published = case("markov_self_loops")
    expected = published["expected"]
    transitions = transition_counts(collapsed(paths_of(published["paths"])))
    assert probabilities(transitions) == pytest.approx(expected["transitions_repeats_collapsed"])
    paths = paths_of(published["paths"])
    assert credit_of(paths, "first_touch") == expected["heuristic_first_touch"]
    simulated = expected["simulated_peer"]["credit"]
    tolerance = published["tolerance_simulated"]
    assert credit_of(paths, "markov") == pytest.approx(simulated, abs=tolerance)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_shapley_cases(index):
    published = case("shapley_eeghor")
    rows = published["subcases"][index]
    credit = credit_of(paths_of(rows["paths"]), "shapley")
    assert credit == pytest.approx(rows["expected"], abs=published["tolerance"])


def test_absorbing_chain_openapp():
    published = case("absorbing_chain_openapp")
    chain = {
        tuple(move.split(" > ")): probability
        for move, probability in published["transitions"].items()
    }
    transitions = transitions_of_chain(chain, start=published["start"])
    base, effects = removal_effects(transitions)
    assert base == pytest.approx(published["expected"]["p_conversion"], abs=1e-9)
    assert effects == pytest.approx(removal_by_redirection(transitions))


def probabilities(transitions):
    """Transition probabilities by names such as `(start) > a`."""
    weights = transitions.weights()
    names = {**dict(enumerate(transitions.channels)), START: "(start)"}
    names |= {CONVERSION: "(conversion)", NULL: "(null)"}
    return {
        f"{names[source]} > {names[target]}": weights[source, target] / weights[source].sum()
        for source in names
        for target in names
        if weights[source, target] > 0
    }


def transitions_of_chain(chain, start):
    """Transitions of one journey on average through a chain of given probabilities."""
    channels = tuple(sorted({source for source, _ in chain} - {start}))
    code = {name: index for index, name in enumerate(channels)}
    code |= {start: START, "(conversion)": CONVERSION, "(null)": NULL}
    size = len(channels)
    matrix = np.zeros((size + 3, size + 3))
    for (source, target), probability in chain.items():
        matrix[code[source], code[target]] = probability
    visits = np.linalg.solve((np.eye(size) - matrix[:size, :size]).T, matrix[START, :size])
    weights = np.r_[visits, 0, 0, 1][:, None] * matrix
    codes = np.r_[np.arange(size), NULL, CONVERSION, START]
    source, target = np.nonzero(weights)
    none = np.zeros(source.size)
    journeys = weights[source, target]
    return TransitionCounts(channels, codes[source], codes[target], none, journeys, none)


@pytest.fixture(scope="module")
def path_data():
    columns = {
        "conversions": "total_conversions",
        "revenue": "total_conversion_value",
        "nulls": "total_null",
    }
    file = shared("data", "channelattribution_pathdata", "Data.csv")
    return read_paths(file, delimiter=";", columns=columns)


def test_path_data_facts(path_data):
    lines = shared("data", "channelattribution_pathdata", "Data.csv").read_text().splitlines()
    assert len(path_data.steps) == 5408
    assert len(lines) - 1 - len(path_data.steps) == 4592  # rows that repeat an earlier path
    assert path_data.lengths.max() == 89
    assert len(path_data.channels) == 12
    assert (path_data.conversions.sum(), path_data.nulls.sum()) == (19785, 68602)
    assert path_data.total_revenue == pytest.approx(74802.97, abs=0.005)


def test_path_data_markov(path_data):
    transitions = transition_counts(path_data)
    base, effects = removal_effects(transitions)
    assert base == pytest.approx(19785 / 88387, rel=1e-12)
    assert base == pytest.approx(0.2238451356, abs=1e-10)
    assert effects == pytest.approx(removal_by_redirection(transitions), rel=1e-9)
    credit = credit_from_paths(path_data, "markov")
    assert round(by_channel(path_data, credit.conversions)["alpha"]) == 5345


@pytest.mark.parametrize("model", CLASSIC)
def test_path_data_reconciles(path_data, model):
    credit = credit_from_paths(path_data, model)
    assert credit.conversions.sum() == pytest.approx(19785, rel=1e-9)
    assert credit.revenue.sum() == pytest.approx(path_data.total_revenue, rel=1e-9)
    assert credit.conversions.min() > 0


def test_path_data_alone_conversions_of_alpha(path_data):
    counts = coalition_counts(path_data)
    alone = (counts.members.sum(axis=1) == 1) & counts.members[:, path_data.channels.index("alpha")]
    assert counts.conversions[alone].sum() == 5742


ROWS = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcde"), min_size=1, max_size=6),
        st.integers(0, 4),
        st.integers(0, 4),
        st.integers(0, 50),
    ).map(lambda row: row if row[1] else (*row[:3], 0)),
    min_size=1,
    max_size=12,
).filter(lambda rows: any(row[1] for row in rows))

QUICK = settings(max_examples=30, deadline=None, derandomize=True)


def removal_by_redirection(transitions, paid=False, limit=None):
    """Removal effects the long way: send every entry into a channel to (null), solve again."""
    weights = transitions.weights()
    size = len(transitions.channels)
    ending = transitions.revenue_after() if paid else weights[:size, CONVERSION]
    total = weights.sum(axis=1)
    total[total == 0] = 1

    def value(removed=None):
        moves = weights[:, :size] / total[:, None]
        if removed is not None:
            moves[:, removed] = 0
        won = np.linalg.solve(np.eye(size) - moves[:size], ending / total[:size])
        return moves[START] @ won

    whole = value()
    return np.array([1 - value(channel) / whole for channel in range(size)[:limit]])


def shapley_by_permutations(paths, outcome):
    """Mean over all orders of what each channel adds when it joins those before it."""
    sets = [frozenset(steps) for steps in paths.steps]
    size = len(paths.channels)

    def value(coalition):
        inside = (won for members, won in zip(sets, outcome, strict=True) if members <= coalition)
        return sum(inside)

    added = np.zeros(size)
    for order in permutations(range(size)):
        for place, channel in enumerate(order):
            before = frozenset(order[:place])
            added[channel] += value(before | {channel}) - value(before)
    return added / math.factorial(size)


@given(ROWS)
@QUICK
def test_removal_effects_by_redirection(rows):
    transitions = transition_counts(aggregate_paths(rows))
    base, effects = removal_effects(transitions)
    assert base == pytest.approx(
        sum(row[1] for row in rows) / sum(row[1] + row[2] for row in rows), rel=1e-12
    )
    assert effects == pytest.approx(removal_by_redirection(transitions), abs=1e-9)
    assert effects.min() >= 0
    assert effects.max() <= 1


@given(ROWS)
@QUICK
def test_markov_revenue_by_redirection(rows):
    transitions = transition_counts(aggregate_paths(rows))
    revenue = markov(transitions).revenue
    total = transitions.revenue.sum()
    if total:
        effects = removal_by_redirection(transitions, paid=True)
        assert revenue == pytest.approx(total * effects / effects.sum(), abs=1e-9 * total)
    else:
        assert (revenue == 0).all()


@given(ROWS)
@QUICK
def test_shapley_by_permutations(rows):
    paths = aggregate_paths(rows)
    credit = shapley(coalition_counts(paths))
    for outcome, value in (
        (paths.conversions, credit.conversions),
        (paths.revenue, credit.revenue),
    ):
        assert value == pytest.approx(shapley_by_permutations(paths, outcome), abs=1e-9)


def heuristic_weights(model, path, first=0.4, last=0.4, direct="a"):
    """Weight of each touch of one path, read off the definitions."""
    length = len(path)
    weights = [0.0] * length
    if model == "first_touch":
        weights[0] = 1.0
    elif model == "last_touch":
        weights[-1] = 1.0
    elif model == "last_non_direct":
        others = [place for place, channel in enumerate(path) if channel != direct]
        weights[others[-1] if others else -1] = 1.0
    elif model == "linear":
        weights = [1 / length] * length
    elif length == 1:
        weights = [1.0]
    elif length == 2:
        weights = [first / (first + last), last / (first + last)]
    else:
        weights = [first, *[(1 - first - last) / (length - 2)] * (length - 2), last]
    return weights


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("first_touch", {}),
        ("last_touch", {}),
        ("last_non_direct", {"direct_channel": "a"}),
        ("linear", {}),
        ("position_based", {}),
        ("position_based", {"first": "0.2", "last": "0.6"}),
        ("position_based", {"first": "0.9", "last": "0.1"}),
        ("position_based", {"first": "0", "last": "1"}),
    ],
)
@given(rows=ROWS)
@QUICK
def test_heuristics_by_definition(model, options, rows):
    paths = aggregate_paths(rows)
    ends = {name: float(text) for name, text in options.items() if name in ("first", "last")}
    expected = {channel: [0.0, 0.0] for channel in paths.channels}
    for path, conversions, _, revenue in rows:
        for channel, weight in zip(path, heuristic_weights(model, path, **ends), strict=True):
            expected[channel][0] += weight * conversions
            expected[channel][1] += weight * revenue
    credit = credit_from_paths(paths, model, options)
    found = np.column_stack([credit.conversions, credit.revenue])
    assert found == pytest.approx(np.array(list(expected.values())), abs=1e-9)


def test_last_non_direct_says_where_direct_is_unknown():
    paths = aggregate_paths([(["a", "Direct"], 1, 0, 0)])
    credit = credit_from_paths(paths, "last_non_direct")
    assert by_channel(paths, credit.conversions) == {"Direct": 1, "a": 0}
    assert credit.diagnostics == {"direct_channel": "not among the channels"}
    known = credit_from_paths(paths, "last_non_direct", {"direct_channel": "Direct"})
    assert by_channel(paths, known.conversions) == {"Direct": 0, "a": 1}
    assert known.diagnostics == {}


def renamed(rows, names):
    return [([names.get(step, step) for step in path], *counts) for path, *counts in rows]


def collapsed(paths):
    """The same paths with consecutive repeats of a channel made one."""
    rows = zip(paths.steps, paths.conversions, paths.nulls, paths.revenue, strict=True)
    return aggregate_paths(
        ([paths.channels[step] for step, _ in groupby(steps)], *counts) for steps, *counts in rows
    )


@pytest.mark.parametrize("model", CLASSIC)
@given(rows=ROWS)
@QUICK
def test_efficiency_and_range(model, rows):
    credit = credit_from_paths(aggregate_paths(rows), model)
    assert credit.conversions.sum() == pytest.approx(sum(row[1] for row in rows), rel=1e-9)
    assert credit.revenue.sum() == pytest.approx(sum(row[3] for row in rows), rel=1e-9)
    assert credit.share.min() >= 0
    assert credit.share.max() <= 1 + 1e-12


@pytest.mark.parametrize("model", CLASSIC)
@given(rows=ROWS, factor=st.sampled_from([0.001, 0.5, 3, 1e6]))
@QUICK
def test_scaling_all_counts_leaves_shares(model, rows, factor):
    scaled = [(path, *(factor * count for count in counts)) for path, *counts in rows]
    one, other = (credit_from_paths(aggregate_paths(each), model) for each in (rows, scaled))
    assert other.share == pytest.approx(one.share, abs=1e-9)
    assert other.revenue == pytest.approx(factor * one.revenue, abs=1e-9 * factor * 1e3)


@pytest.mark.parametrize("model", CLASSIC)
@given(rows=ROWS, random=st.randoms(use_true_random=False))
@QUICK
def test_the_order_of_rows_does_not_matter(model, rows, random):
    shuffled = random.sample(rows, len(rows))
    one, other = (credit_from_paths(aggregate_paths(each), model) for each in (rows, shuffled))
    assert (one.conversions == other.conversions).all()
    assert (one.revenue == other.revenue).all()


@pytest.mark.parametrize("model", CLASSIC)
@given(rows=ROWS, order=st.permutations("vwxyz"))
@QUICK
def test_names_do_not_matter(model, rows, order):
    names = dict(zip("abcde", order, strict=True))
    one, other = aggregate_paths(rows), aggregate_paths(renamed(rows, names))
    credit = credit_of(other, model)
    expected = {names[channel]: value for channel, value in credit_of(one, model).items()}
    assert credit == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("model", ["markov", "shapley", "linear", "position_based"])
@given(rows=ROWS)
@QUICK
def test_symmetry(model, rows):
    """Two channels that may change places without a trace get the same."""
    mirrored = rows + renamed(rows, {"a": "b", "b": "a"})
    credit = credit_of(aggregate_paths(mirrored), model)
    assert credit.get("a") == pytest.approx(credit.get("b"), abs=1e-9)


@pytest.mark.parametrize("model", CLASSIC)
@given(rows=ROWS)
@QUICK
def test_a_channel_of_null_paths_alone_is_a_dummy(model, rows):
    extra = [(["f"], 0, 3, 0), (["a", "f"], 0, 1, 0), (["g", "g"], 0, 0, 0)]
    credit = credit_from_paths(aggregate_paths(rows + extra), model)
    found = by_channel(credit, credit.conversions)
    assert (found["f"], found["g"]) == (0, 0)


@pytest.mark.parametrize("model", [model for model in CLASSIC if model != "markov"])
@given(rows=ROWS, others=ROWS)
@QUICK
def test_additivity(model, rows, others):
    """Credit of two sets of journeys together is the sum; removal effects are no such game."""
    every = [([channel], 0, 1, 0) for channel in "abcde"]
    one, other, both = (
        credit_from_paths(aggregate_paths(each + every), model)
        for each in (rows, others, rows + others)
    )
    assert both.conversions == pytest.approx(one.conversions + other.conversions, abs=1e-9)
    assert both.revenue == pytest.approx(one.revenue + other.revenue, abs=1e-9)


@given(ROWS)
@QUICK
def test_splitting_a_channel_keeps_its_shapley_sum(rows):
    halves = renamed(rows, {"a": "a1"}) + renamed(rows, {"a": "a2"})
    credit = credit_of(aggregate_paths(halves), "shapley")
    whole = credit_of(aggregate_paths(rows), "shapley")
    found = credit.get("a1", 0) + credit.get("a2", 0)
    assert found == pytest.approx(2 * whole.get("a", 0), abs=1e-9)


@given(ROWS)
@QUICK
def test_repeats_do_not_change_removal_effects(rows):
    paths = aggregate_paths(rows)
    base, effects = removal_effects(transition_counts(paths))
    base_collapsed, effects_collapsed = removal_effects(transition_counts(collapsed(paths)))
    assert base_collapsed == pytest.approx(base, rel=1e-12)
    assert effects_collapsed == pytest.approx(effects, abs=1e-9)


@given(ROWS)
@QUICK
def test_ignoring_nulls_is_having_none(rows):
    paths = aggregate_paths(rows)
    without = aggregate_paths((path, won, 0, revenue) for path, won, _, revenue in rows)
    ignored = credit_from_paths(paths, "markov", {"nulls": "ignore"})
    assert ignored.diagnostics["base"] == pytest.approx(1)
    expected = credit_from_paths(without, "markov")
    assert (ignored.conversions == expected.conversions).all()
    assert (ignored.revenue == expected.revenue).all()


def test_ignoring_nulls_is_not_dropping_the_last_transition():
    paths = aggregate_paths([(["a", "b"], 1, 0, 0), (["a", "c"], 1, 0, 0), (["a", "b"], 0, 8, 0)])
    assert credit_of(paths, "markov", nulls="ignore") == pytest.approx({"a": 1, "b": 0.5, "c": 0.5})


@pytest.mark.parametrize("model", CLASSIC)
def test_a_single_channel_has_it_all(model):
    paths = aggregate_paths([(["a"], 1, 2, 3), (["a"] * 5, 2, 7, 4)])
    credit = credit_from_paths(paths, model)
    assert credit.share == pytest.approx([1], rel=1e-12)
    assert credit.revenue == pytest.approx([7], rel=1e-12)


def test_all_convert():
    transitions = transition_counts(aggregate_paths([(["a", "b"], 3, 0, 0), (["b"], 1, 0, 0)]))
    base, effects = removal_effects(transitions)
    assert base == pytest.approx(1)
    assert effects == pytest.approx([0.75, 1])


def test_rounding_is_no_effect_above_one():
    """The plain formula gives 1 + 2e-16 here."""
    transitions = transition_counts(aggregate_paths([(["b", "a"], 2, 1, 0), (["a"], 1, 3, 0)]))
    assert removal_effects(transitions)[1].max() <= 1


def test_none_convert():
    transitions = transition_counts(aggregate_paths([(["a", "b"], 0, 3, 0)]))
    with pytest.raises(NoConversions):
        removal_effects(transitions)


def chain_of(channels, *rows):
    """Transitions from rows of (source, target, journeys, revenue)."""
    source, target, journeys, revenue = zip(*rows, strict=True)
    return TransitionCounts(channels, source, target, np.zeros(len(rows)), journeys, revenue)


def test_states_without_weight_do_no_harm():
    rows = [(START, 1, 4, 0), (1, CONVERSION, 3, 6), (1, NULL, 1, 0)]
    result = markov(chain_of(("a", "b", "c"), *rows))
    assert result.conversions.tolist() == [0, 3, 0]
    assert result.revenue.tolist() == [0, 6, 0]
    assert result.removal_effect.tolist() == [0, 1, 0]


def test_rounding_below_zero_is_no_loss():
    starts = [(START, 0, 1, 0), (START, 1, 2, 0)]
    ends = [(0, CONVERSION, 1, 1), (1, CONVERSION, 1, 0.3), (1, CONVERSION, 1, -0.3 - 1e-15)]
    transitions = chain_of(("a", "b"), *starts, *ends)
    assert transitions.revenue_after()[1] < 0
    assert markov(transitions).revenue == pytest.approx([1, 0], abs=1e-14)


def test_journeys_that_never_end_are_refused():
    """They balance in every channel, so that only the model can see them."""
    rows = [(START, 0, 1, 0), (0, CONVERSION, 1, 0), (1, 2, 5, 0), (2, 1, 5, 0)]
    with pytest.raises(ModelError, match="never end"):
        removal_effects(chain_of(("a", "b", "c"), *rows))


def test_a_chain_that_contradicts_its_counts_is_refused(monkeypatch):
    transitions = transition_counts(aggregate_paths([(["a", "b"], 3, 1, 0), (["b"], 1, 5, 0)]))
    monkeypatch.setattr(TransitionCounts, "nulls", property(lambda self: 7.0))
    with pytest.raises(ModelError, match=r"0\.4 .*0\.363636"):
        removal_effects(transitions)


def test_two_hundred_channels():
    random = np.random.default_rng(7)
    names = [f"c{index:03}" for index in range(200)]
    rows = [
        (random.choice(names, random.integers(1, 8)).tolist(), *random.integers(0, 5, 2), 0)
        for _ in range(5_000)
    ]
    rows += [([name], 1, 1, 2.5) for name in names]
    paths = aggregate_paths(rows)
    began = time.perf_counter()
    credits = {model: credit_from_paths(paths, model) for model in CLASSIC}
    assert time.perf_counter() - began < 5
    assert all(credit.conversions.min() > 0 for credit in credits.values())
    transitions = transition_counts(paths)
    effects = credits["markov"].removal_effect[:5]
    assert effects == pytest.approx(removal_by_redirection(transitions, limit=5), rel=1e-9)

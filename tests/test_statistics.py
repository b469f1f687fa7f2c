"""Counts that models read: their checks, and the two ways to build them."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from attribution.coalitions import CoalitionCounts, coalition_counts, read_coalition_counts
from attribution.errors import InvalidPaths
from attribution.paths import aggregate_paths
from attribution.transitions import (
    CONVERSION,
    NULL,
    START,
    TransitionCounts,
    read_transition_counts,
    transition_counts,
)

# a > b: 3 conversions worth 30 and 1 null; a: 2 nulls; b > b > a: 1 conversion worth 4.
ROWS = [
    (["a", "b"], 3, 1, 30),
    (["a"], 0, 2, 0),
    (["b", "b", "a"], 1, 0, 4),
    (["c"], 0, 0, 0),
    ([], 5, 6, 7),
]
PATHS = aggregate_paths(ROWS)
A, B, C = range(3)
EDGES = {
    (START, A): (6, 0),
    (START, B): (1, 0),
    (A, B): (4, 0),
    (B, B): (1, 0),
    (B, A): (1, 0),
    (A, CONVERSION): (1, 4),
    (B, CONVERSION): (3, 30),
    (A, NULL): (2, 0),
    (B, NULL): (1, 0),
}


def transition_parts():
    cells = list(EDGES)
    return {
        "channels": ("a", "b", "c"),
        "source": np.array([source for source, _ in cells]),
        "target": np.array([target for _, target in cells]),
        "replicate_group": np.zeros(len(cells), dtype=int),
        "journeys": np.array([EDGES[cell][0] for cell in cells], dtype=float),
        "revenue": np.array([EDGES[cell][1] for cell in cells], dtype=float),
    }


def coalition_parts():
    return {
        "channels": ("a", "b"),
        "members": np.array([[True, False], [True, True]]),
        "replicate_group": np.array([0, 0]),
        "conversions": np.array([1.0, 2.0]),
        "nulls": np.array([3.0, 0.0]),
        "revenue": np.array([10.0, 0.0]),
    }


def edges(counts):
    values = zip(counts.journeys, counts.revenue, strict=True)
    return dict(zip(zip(counts.source, counts.target, strict=True), values, strict=True))


def test_transitions_of_paths():
    counts = transition_counts(PATHS)
    assert edges(counts) == EDGES  # the path without weight and the one without steps are absent
    assert counts.channels == ("a", "b", "c")
    assert counts.replicate_group.tolist() == [0] * len(EDGES)
    assert (counts.conversions, counts.nulls) == (4, 3)


def test_the_dense_matrix_is_indexed_by_the_codes():
    weights = transition_counts(PATHS).weights()
    assert weights.shape == (6, 6)
    assert {cell: (weights[cell], revenue) for cell, (_, revenue) in EDGES.items()} == EDGES
    assert weights.sum() == sum(journeys for journeys, _ in EDGES.values())


def test_revenue_after_each_channel():
    assert transition_counts(PATHS).revenue_after().tolist() == [4, 30, 0]


def test_groups_add_up_to_the_same_totals():
    parts = transition_parts()
    doubled = {name: np.concatenate([value] * 2) for name, value in parts.items() if name[0] != "c"}
    doubled["replicate_group"][len(EDGES) :] = 1
    counts = TransitionCounts(parts["channels"], **doubled)
    assert (counts.conversions, counts.nulls) == (8, 6)
    assert (counts.weights() == 2 * transition_counts(PATHS).weights()).all()


def test_flow_need_not_balance_inside_a_group():
    """A jackknife group is a slice of a total; only the total must be whole journeys."""
    parts = transition_parts()
    parts["replicate_group"] = np.arange(len(EDGES))
    assert TransitionCounts(**parts).conversions == 4


def altered(name, index, value):
    def alter(parts):
        parts[name] = parts[name].copy()
        parts[name][index] = value

    return alter


@pytest.mark.parametrize(
    ("alter", "says"),
    [
        (lambda parts: parts.update(channels=("b", "a", "c")), "sorted"),
        (lambda parts: parts.update(channels=("a", "a", "c")), "unique"),
        (lambda parts: parts.update(journeys=parts["journeys"][:-1]), "journeys: has shape"),
        (lambda parts: parts.update(target=parts["target"][:-1]), "target: has shape"),
        (lambda parts: parts.update(replicate_group=[[0]]), "replicate_group: has shape"),
        (lambda parts: parts.update(source=parts["source"] + 0.5), "source: holds a fraction"),
        (lambda parts: parts.update(source=["(start)"] * 9), "source: .* not a number"),
        (altered("journeys", 0, np.nan), "journeys: holds a missing"),
        (altered("revenue", 5, np.inf), "revenue: holds a missing or infinite"),
        (altered("journeys", 0, -1), "journeys: holds -1, below 0"),
        (altered("source", 0, 3), "source is no state"),
        (altered("source", 0, -4), "source is no state"),
        (altered("target", 0, 3), "target is no state"),
        (altered("target", 0, -4), "target is no state"),
        (altered("source", 0, CONVERSION), "leaves an absorbing state"),
        (altered("source", 0, NULL), "leaves an absorbing state"),
        (altered("target", 0, START), r"enters \(start\)"),
        (altered("target", 0, CONVERSION), "without a touch"),
        (altered("target", 0, NULL), "without a touch"),
        (altered("revenue", 2, 1), "row 2, 'a' to 'b': revenue stands at conversions only"),
        (altered("journeys", 5, 0), "revenue without a conversion"),
        (altered("journeys", 0, 6 * (1 + 1e-6)), "journeys enter 'a'"),
        (altered("journeys", 8, 1.5), "6 journeys enter 'b' and 6.5 leave it"),
    ],
)
def test_transitions_that_contradict_themselves_are_refused(alter, says):
    parts = transition_parts()
    alter(parts)
    with pytest.raises(InvalidPaths, match=says) as refused:
        TransitionCounts(**parts)
    assert "\n" not in str(refused.value)


def test_rounding_is_no_lost_journey():
    parts = transition_parts()
    altered("journeys", 0, 6 * (1 + 1e-12))(parts)
    TransitionCounts(**parts)


@pytest.mark.parametrize(
    ("alter", "says"),
    [
        (lambda parts: parts.update(channels=("b", "a")), "sorted"),
        (lambda parts: parts.update(channels=("a", "b", "c")), "members is bool of shape"),
        (lambda parts: parts.update(members=parts["members"].astype(int)), "members is int"),
        (lambda parts: parts.update(nulls=parts["nulls"][:1]), "nulls: has shape"),
        (altered("conversions", 0, -1), "conversions: holds -1"),
        (altered("nulls", 0, np.inf), "nulls: holds a missing or infinite"),
        (altered("revenue", 0, np.nan), "revenue: holds a missing"),
        (altered("members", 0, False), "row 0 has no channel"),
        (altered("conversions", 0, 0), "row 0 has revenue without a conversion"),
        (lambda parts: parts.update(replicate_group=np.array([0.5, 1])), "fraction"),
    ],
)
def test_coalitions_that_contradict_themselves_are_refused(alter, says):
    parts = coalition_parts()
    alter(parts)
    with pytest.raises(InvalidPaths, match=says):
        CoalitionCounts(**parts)


def test_counts_are_read_only_copies():
    parts = transition_parts()
    counts = TransitionCounts(**parts)
    parts["journeys"][0] = 99
    assert counts.journeys[0] == 6
    for array in (counts.journeys, counts.source, CoalitionCounts(**coalition_parts()).members):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def coalitions(counts):
    names = [frozenset(np.array(counts.channels)[row].tolist()) for row in counts.members]
    values = zip(counts.conversions, counts.nulls, counts.revenue, strict=True)
    return dict(zip(names, values, strict=True))


def test_coalitions_of_paths():
    counts = coalition_counts(PATHS)
    assert coalitions(counts) == {
        frozenset("ab"): (4, 1, 34),
        frozenset("a"): (0, 2, 0),
        frozenset("c"): (0, 0, 0),
    }


@pytest.mark.parametrize("channels", [7, 8, 9, 17, 200])
def test_coalitions_of_many_channels(channels):
    names = [f"c{index:03}" for index in range(channels)]
    paths = aggregate_paths([(names, 1, 0, 0), (names[:1], 2, 0, 0), (names[-1:] * 3, 4, 0, 0)])
    assert coalitions(coalition_counts(paths)) == {
        frozenset(names): (1, 0, 0),
        frozenset(names[:1]): (2, 0, 0),
        frozenset(names[-1:]): (4, 0, 0),
    }


def test_without_a_touch_there_is_nothing_to_count():
    paths = aggregate_paths([([], 5, 0, 0)])
    assert transition_counts(paths).source.size == 0
    assert coalition_counts(paths).members.shape == (0, 0)


def warehouse_transitions():
    parts = transition_parts()
    return pd.DataFrame(
        {
            "goal": "conversion",
            "revenue": [Decimal(int(value)) for value in parts["revenue"]],
            "journeys": parts["journeys"].astype("int64"),
            "to_state": parts["target"].astype("int32"),
            "from_state": parts["source"].astype("int32"),
            "replicate_group": np.arange(len(EDGES)),
        }
    )


def test_transitions_of_the_warehouse():
    counts = read_transition_counts(["a", "b", "c"], warehouse_transitions())
    assert edges(counts) == EDGES
    assert counts.replicate_group.tolist() == list(range(len(EDGES)))


@pytest.mark.parametrize("missing", ["replicate_group", "from_state", "journeys"])
def test_a_missing_column_of_transitions_is_named(missing):
    with pytest.raises(InvalidPaths, match=f"transition_counts: no column {missing}"):
        read_transition_counts(["a", "b", "c"], warehouse_transitions().drop(columns=missing))


def test_a_missing_number_is_refused():
    frame = warehouse_transitions()
    frame["from_state"] = frame["from_state"].astype("Int64")
    frame.loc[0, "from_state"] = pd.NA
    with pytest.raises(InvalidPaths, match="source"):
        read_transition_counts(["a", "b", "c"], frame)


def warehouse_coalitions():
    counts = pd.DataFrame(
        {
            "coalition_id": [70, 10, 70],
            "replicate_group": [0, 1, 2],
            "conversions": [3, 0, 1],
            "nulls": [1, 2, 0],
            "revenue": [Decimal(30), Decimal(0), Decimal(4)],
        }
    )
    members = pd.DataFrame({"coalition_id": [10, 70, 99, 70], "channel_index": [0, 1, 2, 0]})
    return counts, members


def test_coalitions_of_the_warehouse():
    counts = read_coalition_counts(["a", "b", "c"], *warehouse_coalitions())
    assert counts.members.tolist() == [
        [True, True, False],
        [True, False, False],
        [True, True, False],
    ]
    assert counts.replicate_group.tolist() == [0, 1, 2]
    assert counts.conversions.tolist() == [3, 0, 1]
    assert counts.nulls.tolist() == [1, 2, 0]
    assert counts.revenue.tolist() == [30, 0, 4]


def test_coalitions_without_members_or_with_strange_ones_are_refused():
    counts, members = warehouse_coalitions()
    with pytest.raises(InvalidPaths, match="row 1 has no channel"):
        read_coalition_counts(["a", "b", "c"], counts, members[members["coalition_id"] != 10])
    for index in (-1, 3):
        strange = members.assign(channel_index=[0, index, 2, 0])
        with pytest.raises(InvalidPaths, match="there are 3 channels"):
            read_coalition_counts(["a", "b", "c"], counts, strange)
    lost = counts.assign(coalition_id=[70, None, 70])
    with pytest.raises(InvalidPaths, match="row 1 has no channel"):
        read_coalition_counts(["a", "b", "c"], lost, members)
    with pytest.raises(InvalidPaths, match="coalition_members: no column channel_index"):
        read_coalition_counts(["a"], counts, members[["coalition_id"]])

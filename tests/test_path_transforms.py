"""Shortening paths before credit."""

import json
import os
import warnings
from pathlib import Path

import pytest

from attribution.errors import UsageError
from attribution.path_credit import credit_from_paths
from attribution.path_transforms import transform
from attribution.paths import aggregate_paths

SHARED = Path(os.environ.get("ATTRIBUTION_SHARED", Path(__file__).parents[2] / "shared"))
NAMES = {
    "keep_last_1": "keep_last=1",
    "keep_last_2": "keep_last=2",
    "collapse_consecutive": "collapse_consecutive",
    "first_occurrence_only": "first_occurrence_only",
    "drop_Direct_if_not_all": "drop=Direct",
    "drop_trailing_Direct_if_not_all": "drop_trailing=Direct",
    "frequency": "frequency",
}


def steps(paths):
    return [" > ".join(paths.channels[step] for step in path) for path in paths.steps]


@pytest.mark.parametrize("column", NAMES)
def test_published_transforms(column):
    file = SHARED / "cases" / "path_transforms.json"
    if not file.exists():
        pytest.skip("no cases in the shared folder (set ATTRIBUTION_SHARED)")
    case = json.loads(file.read_text())
    assert set(case["columns"]) == {"input", *NAMES}
    for row in case["rows"]:
        expected = row[case["columns"].index(column)]
        paths = aggregate_paths([(row[0].split(" > "), 1, 0, 0)])
        assert steps(transform(paths, [NAMES[column]])) == [expected]


def test_transforms_follow_each_other_and_equal_paths_add_up():
    paths = aggregate_paths(
        [(["a", "a", "b"], 2, 1, 10), (["c", "a", "b"], 3, 0, 5), ([], 4, 2, 7), (["b"], 1, 0, 0)]
    )
    short = transform(paths, ["collapse_consecutive", "keep_last=2"])
    assert steps(short) == ["a > b", "b"]
    assert short.conversions.tolist() == [5, 1]
    assert (short.revenue.tolist(), short.nulls.tolist()) == ([15, 0], [1, 0])
    assert (short.unattributed_conversions, short.unattributed_nulls) == (4, 2)
    assert short.total_revenue == paths.total_revenue == 22


def test_collapsing_repeats_does_not_change_a_first_order_chain():
    paths = aggregate_paths([(["a", "a", "b", "b", "a"], 3, 2, 0), (["b", "b"], 1, 9, 0)])
    shares = [
        credit_from_paths(each, "markov").share
        for each in (paths, transform(paths, ["collapse_consecutive"]))
    ]
    assert shares[0] == pytest.approx(shares[1], rel=1e-12)


@pytest.mark.parametrize("text", ["nothing", "keep_last", "keep_last=0", "keep_last=-1", "drop="])
def test_transforms_that_do_not_exist_are_refused(text):
    with pytest.raises(UsageError) as refused:
        transform(aggregate_paths([(["a"], 1, 0, 0)]), [text])
    assert text.split("=")[0] in str(refused.value)


def test_frequency_needs_no_value():
    with pytest.raises(UsageError, match="frequency=3"):
        transform(aggregate_paths([(["a"], 1, 0, 0)]), ["frequency=3"])


def test_a_channel_that_no_path_has_is_told():
    paths = aggregate_paths([(["direct", "mail"], 1, 0, 0)])
    for wrong in ("drop=driect", "drop_trailing=driect"):
        with pytest.warns(UserWarning, match=f"^{wrong}: no path has this channel"):
            assert steps(transform(paths, [wrong])) == ["direct > mail"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transform(paths, ["keep_last=5", "frequency", "drop=mail(1)"])

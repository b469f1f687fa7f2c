"""The result of every model: what it refuses, and how it reads as plain values."""

import json

import numpy as np
import pytest

from attribution.credit import Credit, Totals, credit_of
from attribution.errors import InvalidPaths, ModelError, NoConversions, UsageError
from attribution.fits import Fit
from attribution.intervals import none
from attribution.path_credit import MODELS, credit_from_paths
from attribution.paths import aggregate_paths
from attribution.statistics import ChannelCredit

PATHS = aggregate_paths(
    [
        (["search", "mail"], 3, 1, 30),
        (["direct"], 1, 4, 5),
        (["search", "mail", "direct"], 2, 2, 8),
    ],
    source="paths.csv",
)
UNTOUCHED = aggregate_paths([(["a", "b"], 3, 1, 30), ([], 1, 9, 12)], source="paths.csv")


def parts(**changes):
    totals = {
        name: changes.pop(f"{prefix}_{name.removeprefix('unattributed_')}", default)
        for name, prefix, default in (
            ("conversions", "total", 4.0),
            ("revenue", "total", 15.0),
            ("unattributed_conversions", "unattributed", 1.0),
            ("unattributed_revenue", "unattributed", 5.0),
        )
    }
    return {
        "model": "linear",
        "options": {},
        "channels": ("a", "b"),
        "conversions": np.array([1.0, 2.0]),
        "revenue": np.array([10.0, 0.0]),
        "totals": Totals(**totals),
        "intervals": none(2),
    } | changes


def test_share_is_of_all_conversions():
    assert Credit(**parts()).share.tolist() == [0.25, 0.5]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"total_conversions": 4.00001}, "credited conversions sum to 4, not to 4.00001"),
        ({"total_revenue": 15.0001}, "credited revenue sum to 15, not to 15.0001"),
        ({"unattributed_conversions": 0.0}, "conversions sum to 3"),
        ({"unattributed_revenue": 0.0}, "revenue sum to 10"),
        ({"conversions": np.array([np.nan, 2.0])}, "conversions is not one finite number"),
        ({"revenue": np.array([10.0, np.inf])}, "revenue is not one finite number"),
        ({"revenue": np.array([10.0])}, "revenue is not one finite number"),
        ({"removal_effect": np.array([0.5])}, "removal_effect is not one finite number"),
        ({"total_revenue": np.nan}, "not to nan"),
        ({"channels": ("(unattributed)", "b")}, "rename the channel"),
    ],
)
def test_credit_that_does_not_add_up_is_refused(changes, says):
    with pytest.raises(ModelError, match=says):
        Credit(**parts(**changes))


def test_rounding_adds_up():
    Credit(**parts(total_conversions=4 * (1 + 1e-10), total_revenue=15 * (1 - 1e-10)))


def test_refunds_are_compared_with_the_money_moved():
    refunds = np.array([1e9 + 1e-4, -1e9])
    credit = Credit(**parts(revenue=refunds, unattributed_revenue=0.0, total_revenue=0.0))
    assert credit.revenue.tolist() == refunds.tolist()


@pytest.mark.parametrize("model", ["linear", "shapley", "shao_li"])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_refunds_as_large_as_sales_leave_credit_as_it_is(model, scale):
    """All revenue is 0, or what rounding leaves of it, and no ratio to scale by."""
    rows = [
        (["a"], 1, 3, 120 * scale),
        (["a", "b", "c"], 1, 3, 100 * scale),
        (["c"], 1, 4, -220 * scale),
    ]
    credit = credit_from_paths(aggregate_paths(rows), model)
    more = credit_from_paths(aggregate_paths([*rows, (["b"], 1, 1, 1000 * scale)]), model)
    assert credit.revenue[0] == pytest.approx(more.revenue[0], rel=0.2)
    assert credit.revenue[0] > 100 * scale
    assert abs(credit.revenue.sum()) < 1e-9 * scale * 220


def test_money_of_a_fit_that_left_journeys_out_follows_its_own_or_the_conversions():
    channels, totals = ("a", "b"), Totals(10.0, 500.0)
    share = np.ones(4)

    def paid(*revenue):
        fit = Fit(ChannelCredit(np.array([3.0, 1.0]), np.array(revenue)))
        return credit_of("markov", {}, channels, fit, totals, share).revenue.tolist()

    assert paid(150.0, 50.0) == pytest.approx([375, 125])
    # which says nothing of money: all, or nearly all, was paid back; or more than that
    for nothing in ((100.0, -100.0), (100.0, -99.99), (50.0, -100.0), (0.0, 0.0)):
        assert paid(*nothing) == pytest.approx([375, 125])


def test_no_conversions_no_credit():
    nothing = {"conversions": np.zeros(2), "total_conversions": 0.0, "unattributed_conversions": 0}
    with pytest.raises(NoConversions):
        Credit(**parts(**nothing))


def test_credit_cannot_be_rebound():
    with pytest.raises(AttributeError):
        Credit(**parts()).model = "other"


def test_as_json_without_removal_effects():
    assert credit_from_paths(UNTOUCHED, "first_touch", groups=0).as_json() == {
        "model": "first_touch",
        "options": {},
        "channels": [
            {
                "channel": "a",
                "conversions": 3.0,
                "revenue": 30.0,
                "share": 0.75,
                "share_low": None,
                "share_high": None,
                "standard_error": None,
            },
            {
                "channel": "b",
                "conversions": 0.0,
                "revenue": 0.0,
                "share": 0.0,
                "share_low": None,
                "share_high": None,
                "standard_error": None,
            },
            {
                "channel": "(unattributed)",
                "conversions": 1.0,
                "revenue": 12.0,
                "share": 0.25,
                "share_low": None,
                "share_high": None,
                "standard_error": None,
            },
        ],
        "diagnostics": {},
    }


def test_as_json_with_removal_effects():
    result = credit_from_paths(UNTOUCHED, "markov", groups=0).as_json()
    rows = result["channels"]
    assert [row["channel"] for row in rows] == ["a", "b", "(unattributed)"]
    assert [row["conversions"] for row in rows] == pytest.approx([1.5, 1.5, 1])
    assert [row.get("removal_effect") for row in rows] == pytest.approx([1, 1, None])
    assert "removal_effect" not in rows[2]
    assert result["options"] == {"order": "1", "nulls": "use"}
    assert result["diagnostics"]["base"] == pytest.approx(0.75)


def test_shares_of_path_files_have_intervals():
    credit = credit_from_paths(UNTOUCHED, "linear")
    row = credit.as_json()["channels"][0]
    assert 0 <= row["share_low"] < row["share"] == 0.375 < row["share_high"] <= 1
    assert row["standard_error"] > 0
    assert credit.diagnostics["replicate_groups"] == 100
    assert "drawn" in credit.diagnostics["customers"]


@pytest.mark.parametrize("model", [model for model in MODELS if model != "logistic"])
def test_json_is_strict_and_complete(model):
    for paths in (PATHS, UNTOUCHED):
        result = credit_from_paths(paths, model).as_json()
        assert json.loads(json.dumps(result, allow_nan=False)) == result
        rows = result["channels"]
        assert sum(row["conversions"] for row in rows) == pytest.approx(paths.total_conversions)
        assert sum(row["revenue"] for row in rows) == pytest.approx(paths.total_revenue)
        assert sum(row["share"] for row in rows) == pytest.approx(1)


def test_without_unattributed_there_is_no_such_row():
    channels = [row["channel"] for row in credit_from_paths(PATHS, "linear").as_json()["channels"]]
    assert channels == ["direct", "mail", "search"]


def test_unattributed_revenue_alone_keeps_its_row():
    rest = parts(
        conversions=np.array([2.0, 2.0]), unattributed_conversions=0.0, unattributed_revenue=5.0
    )
    assert Credit(**rest).as_json()["channels"][-1]["revenue"] == 5


@pytest.mark.parametrize("model", MODELS)
def test_where_no_journey_has_a_touch_all_is_unattributed(model):
    credit = credit_from_paths(aggregate_paths([([], 2, 0, 3)]), model)
    rows = credit.as_json()["channels"]
    assert [(row["channel"], row["share"]) for row in rows] == [("(unattributed)", 1)]


def test_a_channel_may_be_called_unattributed_where_nothing_is():
    paths = aggregate_paths([(["(unattributed)"], 2, 0, 3)])
    assert credit_from_paths(paths, "linear").conversions.tolist() == [2]


@pytest.mark.parametrize("model", MODELS)
def test_no_conversions_names_the_file(model):
    paths = aggregate_paths([(["a"], 0, 5, 0)], source="paths.csv")
    with pytest.raises(NoConversions, match=r"^paths\.csv: no .* converts"):
        credit_from_paths(paths, model)


def test_journeys_that_only_fail_get_nothing_where_others_came_untouched():
    paths = aggregate_paths([(["a"], 0, 5, 0), ([], 2, 0, 0)], source="paths.csv")
    for model in MODELS:
        assert credit_from_paths(paths, model).conversions.tolist() == [0]


def test_markov_refuses_a_net_loss_and_the_even_split_does_not():
    paths = aggregate_paths([(["a"], 1, 0, 10), (["b"], 1, 0, -3)], source="paths.csv")
    with pytest.raises(ModelError, match=r"^paths\.csv: .*right after 'b'.*-3"):
        credit_from_paths(paths, "markov")
    assert credit_from_paths(paths, "shapley").revenue.tolist() == [10, -3]


def test_options_come_as_text_and_are_reported_typed():
    credit = credit_from_paths(PATHS, "position_based", {"first": "0.2"})
    assert credit.options == {"first": 0.2, "last": 0.4}
    credit = credit_from_paths(PATHS, "last_non_direct", {"direct_channel": "mail"})
    assert credit.options == {"direct_channel": "mail"}
    assert credit_from_paths(PATHS, "linear").options == {}


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        ("lineal", {}, "'lineal'.*first_touch.*linear.*markov.*shapley"),
        ("", {}, "choose one of"),
        ("linear", {"first": ".2"}, "linear has no option 'first': it has none"),
        ("markov", {"null": "use"}, "markov has no option 'null': it has order, nulls"),
        ("markov", {"nulls": "drop"}, "'drop': choose use or ignore"),
        ("position_based", {"frist": ".2"}, "'frist': it has first, last"),
        ("position_based", {"first": "much"}, "first='much': give a number"),
        ("position_based", {"first": "nan"}, "first='nan': give a number"),
        ("position_based", {"first": "inf"}, "first='inf': give a number"),
        ("position_based", {"first": "-0.1"}, "first=-0.1"),
        ("position_based", {"last": "-0.1"}, "last=-0.1"),
        ("position_based", {"first": "0", "last": "0"}, "above 0"),
        ("position_based", {"first": "0.7"}, "at most 1"),
        ("shapley", {"game": "core"}, "'core': choose one of conversions, .*model, ordered"),
        ("ladder", {}, "ladder needs the time of each touch.*or choose markov"),
        ("time_decay", {"half_life_days": "7"}, "time_decay needs the time of each touch"),
    ],
)
def test_wrong_usage_says_what_exists(model, options, says):
    with pytest.raises(UsageError, match=says) as refused:
        credit_from_paths(PATHS, model, options)
    assert "\n" not in str(refused.value)


def test_a_wrong_path_is_no_wrong_usage():
    with pytest.raises(InvalidPaths):
        aggregate_paths([(["a"], -1, 0, 0)])

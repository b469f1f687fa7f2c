"""Every model on a simulated bank, by the line: from channel to conversion to touchpoint."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Home

from attribution.paths import aggregate_paths
from attribution.transitions import transition_counts

HEURISTICS = "first_touch, last_touch, last_non_direct, linear, position_based, time_decay"
FITTED = ("markov", "shapley", "path_counterfactual", "shao_li", "logistic", "additive_hazard")
WITHOUT_INTERVAL = ("path_counterfactual", "logistic", "additive_hazard")
SETTINGS = (
    f"models=[{HEURISTICS}, {', '.join(FITTED)}]",
    "markov_order=2",
    "shapley_game=rate",
    "sample_customers=2000",
)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("everything"))
    home.must("simulate", "--customers", "4000", "--days", "60")
    home.must("run", *(word for setting in SETTINGS for word in ("--set", setting)))
    return home


def test_every_conversion_is_divided_whole_by_every_model(everything: Home) -> None:
    models = everything.published("select count(distinct model) from conversion_credit")
    assert models == [(12,)]
    [(worst,)] = everything.published(
        "select max(abs(total - 1)) from (select sum(credit) as total from conversion_credit "
        "group by model, conversion_id)"
    )
    assert worst <= 1e-9


def test_conversions_add_up_to_channels_apart_from_the_reported_gaps(everything: Home) -> None:
    rows = everything.published(
        "select model, goal, channel, c.conversions::double, c.revenue::double, "
        "coalesce(reconciliation_gap, 0), coalesce(revenue_reconciliation_gap, 0), "
        "coalesce(sum(credit), 0)::double, coalesce(sum(revenue_credit), 0)::double "
        "from channel_credit as c left join conversion_credit using (model, goal, channel) "
        "group by all"
    )
    totals: dict[tuple[str, str], np.ndarray] = {}
    for model, goal, _, *figures in rows:
        totals.setdefault((model, goal), np.zeros(6))
        totals[model, goal] += np.abs(figures)
    for model, goal, channel, conversions, revenue, gap, paid_gap, credit, paid in rows:
        scale = totals[model, goal]
        assert abs(conversions - gap - credit) <= 1e-9 * scale[0], (model, goal, channel)
        assert abs(revenue - paid_gap - paid) <= 1e-9 * scale[1], (model, goal, channel)
        assert model in FITTED or gap == paid_gap == 0


def test_gaps_are_told_where_single_conversions_cannot_be_divided_so(everything: Home) -> None:
    """The rate game gives channels less than the conversions that touched nothing else."""
    rows = everything.published(
        "select name, max(value) from model_diagnostics "
        "where model = 'shapley' and name like '%reconciliation_gap' group by name order by name"
    )
    assert [name for name, _ in rows] == ["reconciliation_gap", "revenue_reconciliation_gap"]
    assert min(value for _, value in rows) > 0.1


def test_every_share_has_its_interval_or_none(everything: Home) -> None:
    rows = everything.published(
        "select model, share, share_low, share_high, standard_error from channel_credit "
        "where channel <> '(unattributed)'"
    )
    for model, share, low, high, error in rows:
        if model in WITHOUT_INTERVAL:
            assert low is high is error is None, model
        else:
            assert low <= share <= high, model
            assert error >= 0
    some = {model for model, _, low, high, _ in rows if low is not None and low < high}
    assert len(some) == 9


def test_states_of_sql_are_those_of_paths(everything: Home) -> None:
    """The same journeys as paths, counted by Python, make the same chain of order 2."""
    journeys = everything.warehouse(
        "select max(goal), list(channel_index order by position), max(fit_weight), "
        "max(conversions) > 0 from journeys.journey_touchpoints where fit_weight > 0 "
        "group by customer_key, goal, journey_start having max(goal) = 'account' "
        "or max(goal) is null"
    )
    rows = [
        ([f"{index:03d}" for index in path], weight * converts, weight * (not converts), 0)
        for _, path, weight, converts in journeys
    ]
    paths = aggregate_paths(rows)
    [(channels,)] = everything.warehouse("select count(*) from staging.stg_channels")
    assert paths.channels == tuple(f"{index:03d}" for index in range(channels))
    expected = transition_counts(paths, 2)
    found = everything.warehouse(
        "select from_state, to_state, sum(journeys)::double from statistics.transition_counts "
        "where goal = 'account' or goal is null group by all order by all"
    )
    order = np.lexsort([expected.target, expected.source])
    assert found == list(
        zip(
            expected.source[order].tolist(),
            expected.target[order].tolist(),
            expected.journeys[order].tolist(),
            strict=True,
        )
    )
    assert max(state for state, *_ in found) > 255


def test_a_rerun_gives_the_same_bits(everything: Home, tmp_path: Path) -> None:
    shutil.copytree(everything.path, tmp_path / "again", symlinks=True)
    again = Home(tmp_path / "again")
    again.must("run", *(word for setting in SETTINGS for word in ("--set", setting)))
    assert again.hashes() == everything.hashes()


def test_a_conversion_is_explained(everything: Home) -> None:
    [(conversion_id, touches)] = everything.published(
        "select conversion_id, count(distinct touchpoint_id) from touchpoint_credit "
        "group by 1 order by 2 desc, 1 limit 1"
    )
    done = everything.must("explain", conversion_id, "--format", "json")
    explained = json.loads(done.stdout)
    assert [touch["position"] for touch in explained["touchpoints"]] == list(range(1, touches + 1))
    for model in ("markov", "last_touch", "additive_hazard"):
        credit = sum(touch["credit"][model] for touch in explained["touchpoints"])
        assert credit == pytest.approx(1, abs=1e-9)
        assert sum(c.get(model, 0) for c in explained["channels"].values()) == pytest.approx(1)
    assert explained["touchpoints"][-1]["credit"]["last_touch"] == 1
    shown = everything.must("explain", conversion_id).stdout
    assert explained["touchpoints"][0]["channel"] in shown
    assert "100.0%" in shown


def test_an_unattributed_conversion_says_why(everything: Home) -> None:
    [(conversion_id, reason)] = everything.published(
        "select conversion_id, unattributed_reason from conversion_credit "
        "where unattributed_reason is not null order by 1 limit 1"
    )
    explained = everything.must("explain", conversion_id).stdout
    assert f"(unattributed) {reason}" in explained


def test_a_conversion_that_is_not_there_is_one_clear_line(everything: Home, home: Home) -> None:
    done = everything.main("explain", "nobody's")
    assert done.returncode == 2
    assert "no conversion" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "nothing published" in home.main("explain", "c1").stderr

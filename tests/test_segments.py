"""Segments: every value of a journey column has fits of its own, or says why it has none."""

import shutil
from pathlib import Path

import pytest
from conftest import ROOT, Home

from attribution.path_credit import credit_from_paths
from attribution.paths import aggregate_paths

SETTINGS = ("--set", "segments=[customer_status, entry_channel, persona]")
MODELS = ("--set", "models=[last_touch, linear, markov, shapley, shao_li, path_counterfactual]")


def own_project(path: Path) -> Path:
    """A company's copy, with a persona: blank, missing, or one of 22 types, the later the rarer."""
    project = path / "dbt_project"
    shutil.copytree(ROOT / "dbt_project", project, ignore=shutil.ignore_patterns("target"))
    model = project / "models" / "journeys" / "journey_attributes.sql"
    text = model.read_text()
    changed = text.replace(
        "    channels.channel as entry_channel,",
        "    channels.channel as entry_channel,\n"
        "    case cast(floor(sqrt(entries.customer_key % 576)) as integer)\n"
        "        when 22 then ' ' when 23 then null\n"
        "        else 'type ' || cast(23 - floor(sqrt(entries.customer_key % 576)) as integer)\n"
        "    end as persona,",
    )
    assert changed != text
    model.write_text(changed)
    return project


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Home:
    path = tmp_path_factory.mktemp("segmented")
    home = Home(path / "home", own_project(path))
    home.must("simulate", "--customers", "5000", "--days", "60")
    home.must("run", *SETTINGS, *MODELS)
    return home


def test_every_journey_is_in_one_value_of_each_segment(segmented: Home) -> None:
    for table, count in (
        ("transition_counts", "sum(journeys)"),
        ("coalition_counts", "sum(conversions + nulls)"),
        ("heuristic_counts", "sum(conversions)"),
        ("path_counts", "sum(conversions)"),
    ):
        rows = segmented.warehouse(f"select segment, {count} from statistics.{table} group by 1")
        assert {segment for segment, _ in rows} == {
            "all",
            "customer_status",
            "entry_channel",
            "persona",
        }
        assert len({total for _, total in rows}) == 1, (table, rows)


def test_a_column_of_many_values_is_bounded(segmented: Home) -> None:
    values = segmented.warehouse(
        "select segment_value, sum(journeys) from statistics.segment_counts "
        "where segment = 'persona' group by 1 order by 2 desc"
    )
    assert len(values) == 21
    named = {value for value, _ in values}
    assert {"(unknown)", "(other)", "type 2"} <= named
    assert named.isdisjoint({"type 22", "type 23", "all", ""})


def test_a_segments_credit_is_that_of_its_journeys_alone(segmented: Home) -> None:
    journeys = segmented.warehouse(
        "select string_agg(channel, ' > ' order by position), max(t.fit_weight), "
        "max(t.conversions) "
        "from journeys.journey_touchpoints as t "
        "inner join staging.stg_channels using (channel_index) "
        "inner join journeys.journey_segments as s on s.customer_key = t.customer_key "
        "and s.journey_start = t.journey_start and s.goal is not distinct from t.goal "
        "where s.segment_value = 'new' and (t.goal = 'account' or t.goal is null) "
        "and fit_weight > 0 group by t.customer_key, t.goal, t.journey_start"
    )
    paths = aggregate_paths(
        (path.split(" > "), weight * (converts > 0), weight * (converts == 0), 0)
        for path, weight, converts in journeys
    )
    for model in ("linear", "markov", "shapley", "shao_li", "path_counterfactual"):
        expected = credit_from_paths(paths, model, {}, groups=0)
        found = dict(
            segmented.published(
                "select channel, share from channel_credit where model = ? "
                "and goal = 'account' and segment_value = 'new' and channel <> '(unattributed)'",
                [model],
            )
        )
        assert found == pytest.approx(
            dict(zip(expected.channels, expected.share.tolist(), strict=True)), abs=1e-9
        )


def test_too_little_data_is_said_and_not_published(segmented: Home) -> None:
    few = segmented.published(
        "select goal, segment, segment_value, value from model_diagnostics "
        "where name = 'too_few_conversions'"
    )
    assert few
    assert all(converted < 30 for *_, converted in few)
    published = segmented.published(
        "select goal, segment, segment_value, sum(conversions) from channel_credit "
        "where segment <> 'all' and model = 'last_touch' group by all"
    )
    assert {row[:3] for row in few}.isdisjoint(row[:3] for row in published)
    assert published
    assert all(conversions >= 30 for *_, conversions in published)
    every = segmented.warehouse(
        "select count(distinct (segment, segment_value)) from statistics.segment_counts"
    )
    goals = segmented.published("select count(distinct goal) from channel_credit")
    assert len(few) + len(published) == every[0][0] * goals[0][0]


def test_shares_of_a_segment_sum_to_one_and_have_intervals(segmented: Home) -> None:
    rows = segmented.published(
        "select sum(share), bool_and(share_low <= share and share <= share_high), "
        "bool_or(channel = '(unattributed)') from channel_credit "
        "where segment <> 'all' and model in ('linear', 'markov') group by model, goal, "
        "segment, segment_value"
    )
    assert rows
    for share, inside, unattributed in rows:
        assert share == pytest.approx(1, abs=1e-9)
        assert inside
        assert not unattributed


def test_what_speaks_of_the_whole_knows_no_segment(segmented: Home) -> None:
    [(conversions,)] = segmented.published(
        "select sum(conversions) from channel_credit where segment = 'all' and model = 'markov'"
    )
    for table in ("channel_performance", "channel_credit_daily"):
        [(total,)] = segmented.published(
            f"select sum(conversions) from {table} where model = 'markov'"
        )
        assert float(total) == pytest.approx(float(conversions), rel=1e-9)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[persona]", "persona is no column of journey_attributes (customer_status, entry_channel"),
        ("[customer_status, customer_status]", "names each column once"),
        ("[all]", "`all` is always there"),
        ("['entry_mode; drop table x']", "segments.0"),
        ("persona", "segments"),
    ],
)
def test_a_wrong_segment_is_one_clear_line(
    bank: Home, tmp_path: Path, value: str, message: str
) -> None:
    shutil.copytree(bank.path, tmp_path / "bank", symlinks=True)
    home = Home(tmp_path / "bank")
    before = home.current.resolve()
    done = home.main("run", "--set", f"segments={value}")
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert home.current.resolve() == before

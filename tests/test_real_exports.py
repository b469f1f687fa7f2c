"""The whole line on real exports, brought in by a company's own copy of the dbt project."""

from collections.abc import Callable

import pytest
from conftest import Home, real_export

MODELS = {
    "first_touch",
    "last_touch",
    "last_non_direct",
    "linear",
    "position_based",
    "time_decay",
    "markov",
    "shapley",
}


def totals(home: Home) -> dict[str, tuple[float, float]]:
    rows = home.published(
        "select model, sum(conversions)::double, sum(revenue)::double "
        "from channel_credit group by model"
    )
    return {model: (conversions, revenue) for model, conversions, revenue in rows}


@pytest.fixture(scope="module")
def campaign(company: Callable[[str], Home]) -> Home:
    export = real_export("attribution_data_62k", "attribution_data.csv.gz")
    home = company("campaign_events")
    home.land("campaign_events", "attribution_data.csv.gz", export)
    home.must("run")
    return home


@pytest.fixture(scope="module")
def playbook(company: Callable[[str], Home]) -> Home:
    home = company("playbook")
    for export, name in (
        ("sessions", "sessions.csv"),
        ("customer_conversions", "customer_conversions.csv"),
        ("ad_spend", "ad_spend.csv"),
    ):
        home.land(export, name, real_export("dbtlabs_playbook", name))
    home.must("run")
    return home


def test_campaign_credit_sums_to_every_conversion_and_all_revenue(campaign: Home) -> None:
    found = totals(campaign)
    assert set(found) == MODELS
    for model, (conversions, revenue) in found.items():
        assert conversions == pytest.approx(1838, rel=1e-9), model
        assert revenue == pytest.approx(11423.5, rel=1e-9), model


def test_campaign_reads_every_row_once(campaign: Home) -> None:
    [(read, loaded, rejected, deduplicated)] = campaign.published(
        "select sum(rows_read), sum(rows_loaded), sum(rows_rejected), sum(rows_deduplicated) "
        "from load_files"
    )
    assert (read, loaded, rejected, deduplicated) == (62483, 62483, 0, 0)
    [(touches,)] = campaign.warehouse("select count(*) from journeys.journey_touchpoints")
    assert touches == 62483  # one goal: no customer is repeated


def test_campaign_has_most_unconverted_journeys_open(campaign: Home) -> None:
    rows = dict(
        campaign.published("select name, value from model_diagnostics where model = '(journeys)'")
    )
    unconverted = rows["journeys"] - rows["converted_journeys"]
    assert rows["open_journeys"] > 0.9 * unconverted
    assert rows["gross_conversions"] == 1838
    assert rows["unattributed_conversions"] == 0  # each conversion is its own last touch


def test_campaign_base_is_the_conversion_rate_of_its_journeys(campaign: Home) -> None:
    rows = dict(campaign.published("select name, value from model_diagnostics"))
    journeys, converted = rows["journeys"], rows["converted_journeys"]
    assert rows["base"] == pytest.approx(converted / journeys, rel=1e-9)


def test_campaign_matches_an_independent_count_of_journeys(campaign: Home) -> None:
    """Journeys by plain Python: touches up to the next conversion, 30 days back, gaps split."""
    import csv
    import gzip
    from datetime import datetime, timedelta
    from itertools import groupby

    path = real_export("attribution_data_62k", "attribution_data.csv.gz")
    with gzip.open(path, "rt") as lines:
        rows = [
            (row["customer_id"], datetime.fromisoformat(row["time"]), row["conversion"] == "1")
            for row in csv.DictReader(lines)
        ]
    month = timedelta(days=30)
    converted = other = 0
    for _, touches in groupby(sorted(rows), key=lambda row: row[0]):
        touches = list(touches)
        instants = sorted({when for _, when, is_conversion in touches if is_conversion})
        journeys = set()
        previous = None
        for _, when, _ in touches:
            following = next((instant for instant in instants if instant >= when), None)
            inside = following is not None and when >= following - month
            if inside:
                key = ("converted", following)
            elif previous and previous[0] == (following, inside) and when - previous[1] <= month:
                key = previous[2]
            else:
                key = ("other", following, when)
            journeys.add(key)
            previous = ((following, inside), when, key)
        converted += sum(key[0] == "converted" for key in journeys)
        other += sum(key[0] == "other" for key in journeys)
    found = dict(
        campaign.warehouse(
            "select outcome = 'converted', count(*) from journeys.journeys group by 1"
        )
    )
    assert found == {True: converted, False: other}


def test_playbook_totals_and_spend(playbook: Home) -> None:
    for model, (conversions, revenue) in totals(playbook).items():
        assert conversions == pytest.approx(21, rel=1e-9), model
        assert revenue == pytest.approx(275, rel=1e-9), model
    costs = playbook.published(
        "select model, sum(cost)::double from channel_performance group by model"
    )
    assert {model for model, _ in costs} == MODELS
    assert all(cost == 359 for _, cost in costs)


def test_playbook_pads_ragged_rows_and_reads_hours_without_zero(playbook: Home) -> None:
    [(read, rejected)] = playbook.published(
        "select rows_read, rows_rejected from load_files where export = 'sessions'"
    )
    assert (read, rejected) == (90, 0)
    [(early,)] = playbook.warehouse(
        "select count(*) from raw.customer_conversions where converted_at = '2020-02-04 04:30:21'"
    )
    assert early == 1


def test_playbook_maps_every_session_to_a_channel(playbook: Home) -> None:
    channels = {row[0] for row in playbook.warehouse("select channel from staging.stg_channels")}
    assert channels == {"direct", "email", "organic_search", "paid_search", "social"}


def test_without_steps_the_ladder_is_left_out_and_says_so(campaign: Home, playbook: Home) -> None:
    for home in (campaign, playbook):
        refused = home.published(
            "select distinct model from model_diagnostics where name = 'refused'"
        )
        assert refused == [("ladder",)]
    warned = campaign.manifest()["steps"]["attribute"]["warnings"]
    assert any("ladder: no step of the setting `steps` was recorded" in text for text in warned)

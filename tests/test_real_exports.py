"""The whole line on real exports, brought in by a company's own copy of the dbt project."""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal

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


def csv_rows(*parts: str) -> list[dict[str, str]]:
    with real_export(*parts).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def read_and_loaded(home: Home) -> list[tuple]:
    """Per file; what was read is what became of it."""
    files = home.warehouse(
        "select export, file, state, rows_read, rows_loaded, rows_rejected, rows_suppressed "
        "from raw._files order by export, file"
    )
    assert all(file[3] == sum(file[4:]) for file in files)
    return [file[:5] for file in files]


def test_sessions_in_an_object_of_arrays_with_bare_nan(company: Callable[[str], Home]) -> None:
    folder = "sber_autopodpiska"
    home = company("web_sessions")
    day = real_export(folder, "ga_sessions_new_2022-01-02.json.gz")
    home.land("sessions", day.name, day)
    for export, name in (
        ("sessions", "ga_sessions_new_2022-01-01.json"),
        ("hits", "ga_hits_new_2022-01-01.json"),
        ("sessions", "ga_sessions_sample1000.csv"),
        ("sessions", "ga_sessions_valid.csv"),
        ("hits", "ga_hits_sample1000.csv"),
        ("hits", "ga_hits_valid.csv"),
    ):
        home.land(export, name, real_export(folder, name))
    home.must("load", "--set", "pseudonymise=false")
    counts = {
        name: len(csv_rows(folder, name))
        for name in (
            "ga_hits_sample1000.csv",
            "ga_hits_valid.csv",
            "ga_sessions_sample1000.csv",
            "ga_sessions_valid.csv",
        )
    }
    [rows] = json.loads(gzip.decompress(day.read_bytes())).values()
    assert read_and_loaded(home) == [
        ("hits", "ga_hits_new_2022-01-01.json", "loaded", 0, 0),
        *(("hits", n, "loaded", counts[n], counts[n]) for n in counts if "hits" in n),
        ("sessions", "ga_sessions_new_2022-01-01.json", "loaded", 0, 0),
        ("sessions", day.name, "loaded", len(rows), len(rows)),
        *(("sessions", n, "loaded", counts[n], counts[n]) for n in counts if "sessions" in n),
    ]
    # ids that look like floats stay to the last digit; what is not set is nothing
    found = home.warehouse(
        "select s.session_id, s.client_id, s.utm_medium, s.utm_campaign from raw.sessions as s "
        "join raw._files as f on s._file_id = f.file_id where f.file = ? order by s._row",
        [day.name],
    )
    nothing = ("(not set)", "(none)", "")
    assert found == [
        (
            row["session_id"],
            row["client_id"],
            None if row["utm_medium"] in nothing else row["utm_medium"],
            row["utm_campaign"] if isinstance(row["utm_campaign"], str) else None,
        )
        for row in rows
    ]


def test_ad_platforms_with_money_in_millionths_and_as_it_is(
    company: Callable[[str], Home],
) -> None:
    folder = "prjctr_ads_exports"
    home = company("ad_platforms")
    files = {
        "google_ads": "marketing_google.csv",
        "facebook_ads": "marketing_facebook.csv",
        "users": "user.csv",
        "payments": "payment.csv",
    }
    for export, name in files.items():
        home.land(export, name, real_export(folder, name))
    home.must("run", "--set", "window_days=all")
    rows = {export: csv_rows(folder, name) for export, name in files.items()}
    assert {(f[0], f[3], f[4]) for f in read_and_loaded(home)} == {
        (export, len(found), len(found)) for export, found in rows.items()
    }
    cost = sum(Decimal(row["cost_micros"]) for row in rows["google_ads"]) / 10**6
    cost += sum(Decimal(row["spend"]) for row in rows["facebook_ads"])
    paid = sum(Decimal(row["paid_amount"]) for row in rows["payments"])
    for model, (conversions, revenue) in totals(home).items():
        assert conversions == pytest.approx(len(rows["payments"]), rel=1e-9), model
        assert revenue == pytest.approx(float(paid), rel=1e-9), model
    [(published,)] = home.published(
        "select sum(cost)::double from channel_performance where model = 'last_touch'"
    )
    # each cost is rounded to four digits as it comes in
    assert published == pytest.approx(float(cost), abs=0.00005 * len(rows["google_ads"]))


def test_leads_become_deals_months_later(company: Callable[[str], Home]) -> None:
    folder = "olist_funnel"
    leads = "olist_marketing_qualified_leads_dataset.csv"
    deals = "olist_closed_deals_dataset.csv"
    home = company("lead_funnel")
    home.land("leads", leads, real_export(folder, leads))
    home.land("deals", deals, real_export(folder, deals))
    home.must("run")
    origin = {row["mql_id"]: row["origin"] or "unknown" for row in csv_rows(folder, leads)}
    won = csv_rows(folder, deals)
    assert {(f[0], f[3], f[4]) for f in read_and_loaded(home)} == {
        ("leads", len(origin), len(origin)),
        ("deals", len(won), len(won)),
    }
    expected = Counter(origin[row["mql_id"]] for row in won)
    revenue = sum(float(row["declared_monthly_revenue"] or 0) for row in won)
    # one touch each, so every heuristic says the same; a few deals were dated before the contact
    found = home.published(
        "select channel, conversions::double from channel_credit "
        "where model = 'last_touch' and segment = 'all' and conversions > 0"
    )
    credit = dict(found)
    unattributed = credit.pop("(unattributed)", 0)
    assert sum(credit.values()) + unattributed == len(won)
    assert unattributed < 0.02 * len(won)
    assert all(expected[channel] >= conversions for channel, conversions in credit.items())
    assert totals(home)["last_touch"][1] == pytest.approx(revenue, rel=1e-9)


def test_web_events_without_steps_publish_all_but_the_ladder(
    company: Callable[[str], Home],
) -> None:
    parts = ("snowplow_fractribution", "snowplow_fractribution_events.csv")
    home = company("web_events")
    home.land("web_events", parts[1], real_export(*parts))
    told = home.must("run").stderr
    rows = csv_rows(*parts)
    orders = [Decimal(row["tr_total"]) for row in rows if row["tr_total"]]
    [(_, _, _, read, loaded)] = read_and_loaded(home)
    assert read == len(rows)
    assert loaded == len(rows)
    assert "ladder: no step of the setting `steps` was recorded" in told
    found = totals(home)
    assert set(found) == MODELS
    for conversions, revenue in found.values():
        assert (conversions, revenue) == pytest.approx((len(orders), float(sum(orders))), rel=1e-9)

"""What a version says differently from the one before it, on two small worlds."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import duckdb
import pytest
from test_report_headline import MANIFEST, WHOLE, text, world

from attribution.report import render
from attribution.restated import Change, Restated, compare
from attribution.warehouse import open_published
from attribution.wording import Wording

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 31)


def version(folder: Path, *changes: str) -> Path:
    """Three days of two goals and two channels that cost 50 a day, then changed."""
    folder.mkdir()
    with duckdb.connect(folder / "attribution.duckdb") as con:
        con.execute(
            "create table channel_credit_daily as select '2026-03-29'::date + d::int as date, "
            "model, goal, channel, 2.0 as conversions, 20.0 as revenue, null::double as cost "
            "from range(3) as days(d), (values ('last_touch'), ('linear')) as m(model), "
            "(values ('account'), ('loan')) as g(goal), "
            "(values ('search'), ('email')) as c(channel)"
        )
        con.execute(
            "insert into channel_credit_daily select distinct date, model, '(all goals)', channel, "
            "0.0, 0.0, 50.0 from channel_credit_daily"
        )
        con.execute(
            "create table run_manifest as select * from (values ('run', 'run_date', '2026-03-31'), "
            "('settings', 'window_days', '90'), ('settings', 'reporting_currency', 'EUR'), "
            "('settings', 'reporting_timezone', 'UTC'), ('settings', 'lookback_days', '30'), "
            "('settings', 'lookback_days_by_goal', '{}')) as t(section, name, value)"
        )
        for change in changes:
            con.execute(change)
    return folder


def restated(tmp_path: Path, *changes: str) -> Restated | None:
    """This version beside one that was changed before."""
    before = version(tmp_path / "before", *changes)
    with open_published(version(tmp_path / "now")) as con:
        return compare(con, FIRST, LAST, before)


def said(found: Restated | None, language: str = "en") -> str:
    html = render(world(WHOLE), MANIFEST, found, Wording(language, "EUR"))
    [part] = re.findall(r'id="restated-title">(.*?)<h3 id="unattributed-title', html, re.S)
    return text(part)


@pytest.mark.parametrize(
    ("change", "goals", "channels"),
    [
        ("update channel_credit_daily set conversions = 9 where model = 'linear'", [], []),
        (
            "update channel_credit_daily set conversions = 3 where goal = 'loan' and "
            "channel = 'email' and date = '2026-03-30'",
            [Change("loan", 1, [13, 120, 0], [12, 120, 0])],
            [Change("email", 1, [13, 120, 150], [12, 120, 150])],
        ),
        # ad platforms restate cost
        (
            "update channel_credit_daily set cost = cost * 2 where channel = 'search'",
            [],
            [Change("search", 3, [12, 120, 300], [12, 120, 150])],
        ),
        # credit that moved between channels leaves the goals alone
        (
            "update channel_credit_daily set conversions = case channel when 'email' then 1 else 3 "
            "end where cost is null and goal = 'loan' and date = '2026-03-29'",
            [],
            [
                Change("email", 1, [11, 120, 150], [12, 120, 150]),
                Change("search", 1, [13, 120, 150], [12, 120, 150]),
            ],
        ),
        # a channel that was not there
        (
            "delete from channel_credit_daily where channel = 'email'",
            [
                Change("account", 3, [6, 60, 0], [12, 120, 0]),
                Change("loan", 3, [6, 60, 0], [12, 120, 0]),
            ],
            [Change("email", 3, [0, 0, 0], [12, 120, 150])],
        ),
    ],
)
def test_what_changed_is_told_by_goal_and_by_channel(
    tmp_path: Path, change: str, goals: list[Change], channels: list[Change]
) -> None:
    found = restated(tmp_path, change)
    assert found == Restated(date(2026, 3, 31), FIRST, LAST, [], goals, channels)
    page = said(found)
    assert ("Nothing: of the days" in page) is (not channels)
    for entry in channels:
        figures = " ".join(
            f"{value:,.0f}" for pair in zip(entry.then, entry.now, strict=True) for value in pair
        )
        assert f"{entry.name} {entry.days} {figures}" in page


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("reporting_currency", "USD", "reporting_currency USD → EUR."),
        ("reporting_timezone", "Europe/Berlin", "reporting_timezone Europe/Berlin → UTC."),
        ("lookback_days", "14", "lookback_days 14 → 30."),
        ("lookback_days_by_goal", '{"loan": 60}', 'lookback_days_by_goal {"loan": 60} → {}.'),
    ],
)
def test_other_settings_are_told_and_not_taken_for_late_rows(
    tmp_path: Path, name: str, value: str, expected: str
) -> None:
    found = restated(
        tmp_path,
        "update channel_credit_daily set revenue = revenue * 1.08",
        f"update run_manifest set value = '{value}' where name = '{name}'",
    )
    page = said(found)
    assert page.endswith(expected)
    assert "Late rows" not in page
    assert said(found, "de").startswith("Geändert gegenüber der vorigen Version Nicht verglichen")


def test_a_version_that_ended_before_is_compared_over_its_own_days(tmp_path: Path) -> None:
    found = restated(
        tmp_path,
        "update run_manifest set value = '2026-03-29' where name = 'run_date'",
        "update channel_credit_daily set conversions = 9 where date > '2026-03-29'",
    )
    assert found == Restated(date(2026, 3, 29), FIRST, date(2026, 3, 29), [])
    assert "as the version of 29 Mar 2026 said" in said(found)


def test_a_version_before_that_cannot_be_read_stops_no_night(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    with open_published(version(tmp_path / "now")) as con:
        assert compare(con, FIRST, LAST, before) is None
        (before / "attribution.duckdb").write_text("no database")
        assert compare(con, FIRST, LAST, before) is None
        (before / "attribution.duckdb").unlink()
        duckdb.connect(before / "attribution.duckdb").close()
        assert compare(con, FIRST, LAST, before) is None
        # nor does one that ended before this one begins
        far = version(
            tmp_path / "far", "update run_manifest set value = '2025-12-01' where name = 'run_date'"
        )
        assert compare(con, FIRST, LAST, far) is None
    assert "no earlier version" in said(None)

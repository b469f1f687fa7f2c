"""Settings and contract: typed, checked whole, every problem in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
import yaml
from conftest import ROOT

from attribution import warehouse
from attribution.contract import declared, read_contract
from attribution.dbt_plugin import Plugin
from attribution.errors import ContractError, SettingsError
from attribution.settings import WARNINGS, Folders, hmac_key, load_settings
from attribution.warehouse import bound_threads, open_reader, open_warehouse

PROJECT = ROOT / "dbt_project"


def test_declared_settings_are_valid() -> None:
    settings = load_settings(PROJECT)
    assert settings.lookback_days == 30
    assert settings.models[-3:] == ["markov", "shapley", "ladder"]


def test_overrides_stand_above_the_file_and_change_the_fingerprint() -> None:
    assert load_settings(PROJECT, {"lookback_days": 60}).lookback_days == 60
    assert load_settings(PROJECT).fingerprint() == load_settings(PROJECT, {}).fingerprint()
    assert (
        load_settings(PROJECT, {"lookback_days": 60}).fingerprint()
        != load_settings(PROJECT).fingerprint()
    )


def test_every_problem_is_listed_at_once_with_its_key() -> None:
    wrong = {
        "lookback": 30,
        "lookback_days": 0,
        "window_days": "some",
        "reporting_timezone": "Mars/Olympus",
        "models": ["markov", "majic"],
        "lookback_days_by_goal": {"mortgage": -1},
        "pseudonymise": "yes",
    }
    with pytest.raises(SettingsError) as refused:
        load_settings(PROJECT, wrong)
    message = str(refused.value)
    assert "\n" not in message
    assert "lookback: is no setting" in message
    for key in ("lookback_days:", "window_days", "reporting_timezone:", "models:", "pseudonymise:"):
        assert key in message
    assert "lookback_days_by_goal.mortgage" in message
    assert "majic" in message


def test_ends_of_position_based_must_fit() -> None:
    with pytest.raises(SettingsError, match="position_based_first"):
        load_settings(PROJECT, {"position_based_first": 0.7, "position_based_last": 0.5})


def test_checks_that_may_refuse_are_the_warnings_of_the_gates() -> None:
    suites = [json.loads(path.read_text()) for path in ROOT.glob("expectations/*.json")]
    warnings = {
        expectation["kwargs"]["column"]
        for suite in suites
        for expectation in suite["expectations"]
        if expectation["severity"] == "warning"
    }
    assert set(WARNINGS) == warnings
    load_settings(PROJECT, {"critical_checks": list(WARNINGS)})
    with pytest.raises(SettingsError, match="critical_checks: 'days_overdu' is none of days_over"):
        load_settings(PROJECT, {"critical_checks": ["days_overdu"]})


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"goals": []}, "goals"),
        ({"touchpoint_sources": ["exports", "crm"]}, "no model stg_touchpoints__crm"),
        ({"conversion_sources": ["crm"]}, "no model stg_conversions__crm"),
        ({"spend_sources": ["crm"]}, "no model stg_spend__crm"),
    ],
)
def test_what_would_fail_in_dbt_is_refused_before(overrides: dict, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load_settings(PROJECT, overrides)


def test_missing_setting_is_named(tmp_path: Path) -> None:
    project = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())
    del project["vars"]["attribution"]["goals"]
    (tmp_path / "dbt_project.yml").write_text(yaml.safe_dump(project))
    with pytest.raises(SettingsError, match="goals: is missing"):
        load_settings(tmp_path)


def test_settings_and_contract_are_judged_at_once(tmp_path: Path) -> None:
    project = tmp_path / "dbt_project"
    shutil.copytree(ROOT / "dbt_project", project, ignore=shutil.ignore_patterns("target"))
    contract = project / "models" / "staging" / "_exports.yml"
    contract.write_text(
        contract.read_text().replace("{name: date, data_type: date", "{name: date, data_type: day")
    )
    folders = Folders.from_environment(
        {"ATTRIBUTION_HOME": str(tmp_path), "ATTRIBUTION_DBT_PROJECT": str(project)}
    )
    with pytest.raises(ContractError, match=r"spend\.date: data_type `day`"):
        declared(folders)
    with pytest.raises(SettingsError) as wrong:
        declared(folders, {"window_days": 0, "lokback_days": 3})
    for key in ("window_days.", "lokback_days: is no setting", "spend.date: data_type `day`"):
        assert key in str(wrong.value)
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize("text", ["", "name: [", "name: x\nvars: {}", "- 1"])
def test_no_project_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "dbt_project.yml").write_text(text)
    with pytest.raises(SettingsError) as refused:
        load_settings(tmp_path)
    assert "\n" not in str(refused.value)
    with pytest.raises(SettingsError, match="ATTRIBUTION_DBT_PROJECT"):
        load_settings(tmp_path / "nowhere")


def test_key_is_needed_unless_the_settings_say_otherwise() -> None:
    settings = load_settings(PROJECT)
    assert hmac_key(settings, {"ATTRIBUTION_HMAC_KEY": "k"}) == b"k"
    for environment in ({}, {"ATTRIBUTION_HMAC_KEY": " "}):
        with pytest.raises(SettingsError, match="ATTRIBUTION_HMAC_KEY"):
            hmac_key(settings, environment)
    assert hmac_key(load_settings(PROJECT, {"pseudonymise": False}), {}) is None


def test_folders_can_be_set_apart() -> None:
    folders = Folders.from_environment({"ATTRIBUTION_HOME": "/h", "ATTRIBUTION_STATE": "/s"})
    assert (str(folders.landing), str(folders.state), str(folders.publish)) == (
        "/h/landing",
        "/s",
        "/h/publish",
    )
    assert Folders.from_environment({}).landing == Path("var/landing").absolute()


def test_declared_contract_is_valid_and_matches_the_interface() -> None:
    contract = read_contract(PROJECT / "models" / "staging" / "_exports.yml")
    required = {
        export.name: [column.name for column in export.columns if column.required]
        for export in contract.values()
    }
    assert required == {
        "touchpoints": ["touchpoint_id", "customer_id", "occurred_at"],
        "steps": ["step_id", "customer_id", "occurred_at", "step"],
        "conversions": ["conversion_id", "customer_id", "converted_at"],
        "spend": ["date", "channel", "cost"],
        "identities": ["anonymous_id", "customer_id", "linked_at"],
        "rates": ["date", "currency", "rate"],
        "lift_tests": ["channel", "lift", "standard_error"],
    }
    assert [export.name for export in contract.values() if not export.optional] == [
        "touchpoints",
        "conversions",
    ]


def test_every_problem_of_a_contract_is_listed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "_exports.yml"
    meta = {"required": ["nobody"], "delimiter": ";;", "time_zone": "Mars", "encodng": "utf-8"}
    meta["pseudonyms"] = ["b"]
    columns = [{"name": "Big", "data_type": "varchar"}, {"name": "b", "data_type": "money"}]
    table = {"name": "visits", "config": {"meta": meta}, "columns": columns}
    path.write_text(yaml.safe_dump({"sources": [{"name": "exports", "tables": [table]}]}))
    with pytest.raises(ContractError) as refused:
        read_contract(path)
    message = str(refused.value)
    assert "\n" not in message
    for part in ("encodng", "nobody", "delimiter", "time_zone", "Big", "visits.b: data_type",
                 "visits: pseudonyms names `b`, whose data_type is not varchar"):  # fmt: skip
        assert part in message


@pytest.mark.parametrize("text", ["", "sources: []", "sources: [{name: exports}]", "{"])
def test_no_contract_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "_exports.yml"
    path.write_text(text)
    with pytest.raises(ContractError, match="does not declare") as refused:
        read_contract(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4 * 10**9), ("1.5 GiB", 3 * 2**29), ("800MB", 8 * 10**8), ("2TB", 2 * 10**12)],
)
def test_the_memory_limit_in_bytes(text: str, size: int) -> None:
    assert load_settings(PROJECT, {"memory_limit": text}).memory_bytes == size


@pytest.mark.parametrize(("memory", "threads"), [(10**9, 8), (10**8, 1), (10**12, 64)])
def test_memory_bounds_threads(memory: int, threads: int) -> None:
    """On a machine of 64 cores, in the line's own engines and in dbt's."""
    plugin = Plugin("bounded", {"folders": "", "memory_limit": f"{memory // 10**6}MB"})
    for bound in (lambda con: bound_threads(con, memory), plugin.configure_connection):
        with duckdb.connect(config={"threads": 64}) as con:
            bound(con)
            assert con.execute("select current_setting('threads')").fetchone() == (threads,)


@pytest.mark.parametrize("opened", [open_warehouse, open_reader])
def test_each_engine_has_no_more_threads_than_its_memory_feeds(
    tmp_path: Path, opened: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warehouse, "BYTES_OF_A_THREAD", 10**9)
    folders = Folders.from_environment({"ATTRIBUTION_HOME": str(tmp_path)})
    folders.scratch.mkdir(parents=True)
    with opened(folders, load_settings(PROJECT, {"memory_limit": "1GB"})) as con:
        assert con.execute("select current_setting('threads')").fetchone() == (1,)

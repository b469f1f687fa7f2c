"""What was refused: the operator's verdicts, and what is kept no longer than allowed."""

import json
import os
import shutil
import stat
from datetime import UTC, datetime, timedelta

import pytest
from conftest import KEY, Home
from faults import (
    bytes_below,
    folders,
    ledger_adds_up,
)

from attribution import archive
from attribution.pseudonyms import pseudonym
from attribution.retention import expire_files, expire_quarantine
from attribution.settings import load_settings

BROKEN = (
    "touchpoint_id,customer_id,occurred_at,channel\n"
    "b1,k9,2026-01-02 10:00:00,search\n"
    "b2,k9,yesterday,search\n"
)


def listed(home: Home) -> list[dict]:
    return json.loads(home.must("quarantine", "list", "--format", "json").stdout)


def test_rejected_rows_stop_the_run_until_the_operator_accepts_the_loss(after_run: Home) -> None:
    after_run.land("touchpoints", "broken.csv", BROKEN)
    refused = after_run.main("run")
    assert refused.returncode == 3
    [entry] = listed(after_run)
    assert (entry["file"], entry["rows_read"], entry["rows_rejected"]) == ("broken.csv", 2, 1)
    assert "the other rows are loaded" in after_run.must("quarantine", "list").stdout
    shown = after_run.must("quarantine", "show", entry["id"]).stdout
    assert shown.startswith("touchpoints/broken.csv: 1 of 2 rows rejected\n")
    assert "line 3: occurred_at is empty or no timestamp: b2,k9,yesterday,search" in shown
    assert "dropped" in after_run.must("quarantine", "drop", entry["id"]).stdout
    assert listed(after_run) == []
    assert list((after_run.path / "state" / "quarantine").glob("*/*")) == []
    after_run.must("run")
    assert after_run.published("select sum(rows_rejected) from load_files") == [(1,)]
    ledger_adds_up(after_run)


def test_a_broken_correction_is_refused_and_taken_away(after_run: Home) -> None:
    """What it should have corrected stands, and the next night goes on."""
    revenue = "select sum(revenue) from channel_credit where model = 'last_touch'"
    before = after_run.published(revenue)
    good = after_run.path / "landing" / "conversions" / "c_2026-01-05.csv"
    text = good.read_text()
    good.write_text(text.replace("2026-01-0", "so: 2026-01-0"))
    refused = after_run.main("run")
    assert refused.returncode == 3
    assert "c_2026-01-05.csv" in refused.stderr
    doctor = after_run.main("doctor")
    assert doctor.returncode == 1
    assert "FAIL  refused files: conversions/c_2026-01-05.csv: " in doctor.stdout
    good.unlink()
    assert "ok    refused files" in after_run.must("doctor").stdout
    after_run.must("run")
    assert after_run.published(revenue) == before


def test_doctor_tells_of_rejected_rows_that_refuse_the_next_night(after_run: Home) -> None:
    after_run.land("touchpoints", "broken.csv", BROKEN)
    after_run.must("load")
    assert "FAIL  refused files: touchpoints/broken.csv: " in after_run.main("doctor").stdout
    after_run.must("quarantine", "drop", listed(after_run)[0]["id"])
    assert "ok    refused files" in after_run.must("doctor").stdout


def test_equal_files_of_two_exports_are_told_apart(after_run: Home) -> None:
    for export in ("touchpoints", "conversions"):
        after_run.land(export, "x.csv", "nonsense\n")
    after_run.must("load")
    id = listed(after_run)[0]["id"]
    for name in (id, "", id[:7], "spend/x.csv"):
        done = after_run.main("quarantine", "drop", name)
        assert done.returncode == 1
        assert f"touchpoints/{id}, conversions/{id}" in done.stderr
    after_run.must("quarantine", "drop", "conversions/x.csv")
    assert [entry["export"] for entry in listed(after_run)] == ["touchpoints"]
    after_run.must("quarantine", "drop", f"touchpoints/{id}")
    assert listed(after_run) == []


def test_a_file_that_was_corrected_awaits_no_verdict(after_run: Home) -> None:
    after_run.land("touchpoints", "day.csv", b"touchpoint_id,customer_id\nb1,k9\n")
    after_run.must("load")
    assert [entry["file"] for entry in listed(after_run)] == ["day.csv"]
    right = "touchpoint_id,customer_id,occurred_at,channel\nb1,k9,2026-01-02 10:00:00,search\n"
    after_run.land("touchpoints", "day.csv", right)
    after_run.must("load")
    assert listed(after_run) == []
    # refused after it was loaded: what it should have corrected stands as it was
    after_run.land("touchpoints", "day.csv", b"touchpoint_id,customer_id\nb2,k9\n")
    after_run.must("load")
    assert [entry["file"] for entry in listed(after_run)] == ["day.csv"]


def test_a_corrected_contract_and_requeue_load_the_file_again(after_run: Home) -> None:
    after_run.land("touchpoints", "old.csv", b"touchpoint_id,customer_id\nb1,k9\n")
    assert after_run.main("run").returncode == 3
    [entry] = listed(after_run)
    assert entry["reason"] == "required column occurred_at is missing"
    (after_run.path / "landing" / "touchpoints" / "old.csv").unlink()
    assert "will be read again" in after_run.must("quarantine", "requeue", entry["id"]).stdout
    landed = after_run.path / "landing" / "touchpoints" / "old.csv"
    assert landed.read_bytes() == b"touchpoint_id,customer_id\nb1,k9\n"
    after_run.must("load")
    [again] = listed(after_run)  # read again, refused again: the contract was not mended
    assert again["loaded_at"] > entry["loaded_at"]
    project = after_run.path / "project"
    shutil.copytree(after_run.dbt_project, project, ignore=shutil.ignore_patterns("target"))
    contract = project / "models" / "staging" / "_exports.yml"
    required = "required: [touchpoint_id, customer_id, occurred_at]"
    assert required in contract.read_text()
    contract.write_text(
        contract.read_text().replace(required, "required: [touchpoint_id, customer_id]")
    )
    home = Home(after_run.path, project)
    home.must("load")  # known: the mended contract alone changes nothing
    assert [entry["id"] for entry in listed(home)] == [entry["id"]]
    home.must("quarantine", "requeue", entry["id"])
    home.must("load")
    assert listed(home) == []
    assert home.warehouse("select touchpoint_id from raw.touchpoints where customer_id = ?", [
        pseudonym(KEY.encode(), "k9")
    ]) == [("b1",)]  # fmt: skip


@pytest.mark.parametrize("action", ["show", "requeue", "drop"])
def test_an_id_that_is_not_in_quarantine_is_answered_in_one_line(
    small_world: Home, action: str
) -> None:
    done = small_world.main("quarantine", action, "0123")
    assert done.returncode == 1
    assert (
        done.stderr == "attribution: quarantine: 0123 names no file; the quarantine holds: empty\n"
    )


def test_hostile_raw_text_has_no_power_over_the_terminal(after_run: Home) -> None:
    after_run.land("touchpoints", "x.csv", BROKEN + "b3,\x1b[2Jk,never,\u202esearch\n")
    after_run.must("load")
    [entry] = listed(after_run)
    shown = after_run.must("quarantine", "show", entry["id"]).stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert r"\x1b[2Jk" in shown


def test_requeue_without_the_file_says_what_to_do(after_run: Home) -> None:
    after_run.land("touchpoints", "broken.csv", BROKEN)
    after_run.must("load")
    (after_run.path / "landing" / "touchpoints" / "broken.csv").unlink()
    done = after_run.main("quarantine", "requeue", listed(after_run)[0]["id"])
    assert done.returncode == 1
    assert "land it again, corrected" in done.stderr


def test_requeue_writes_over_no_correction(after_run: Home) -> None:
    landed = after_run.land("touchpoints", "broken.csv", "touchpoint_id,customer_id\nb9,k1\n")
    after_run.must("load")
    correction = "touchpoint_id,customer_id,occurred_at,channel\nb9,k1,2026-01-03 10:00:00,branch\n"
    landed.write_text(correction)  # which no load has read yet
    done = after_run.main("quarantine", "requeue", listed(after_run)[0]["id"])
    assert done.returncode == 1
    assert "another file lies in landing/ as touchpoints/broken.csv" in done.stderr
    assert landed.read_text() == correction


def test_old_files_and_old_quarantine_expire(after_run: Home) -> None:
    good = "".join(f"g{n},k1,2026-01-02 10:00:00,search\n" for n in range(300))
    after_run.land("touchpoints", "x.csv", BROKEN + good)
    after_run.land(
        "touchpoints",
        "old.csv",
        "touchpoint_id,customer_id,occurred_at,channel\no1,k1,2023-01-01 10:00:00,search\n",
    )
    after_run.must("run")
    settings = load_settings(after_run.dbt_project)
    where = folders(after_run)
    states = dict(after_run.warehouse("select file, state from raw._files"))
    assert states["old.csv"] == "expired"
    assert states["t_2026-01-05.csv"] == "loaded"
    assert after_run.warehouse("select * from raw.touchpoints where touchpoint_id = 'o1'") == []
    [rejects] = (after_run.path / "state" / "quarantine").glob("*/*")
    assert expire_quarantine(where, settings) == 0
    os.utime(rejects, (0, 0))
    after_run.must("load")  # whether or not a gate lets the night publish
    assert not rejects.exists()
    before = after_run.hashes()
    after_run.must("rebuild")
    after_run.must("run")
    assert after_run.hashes() | {"load_files": ""} == before | {"load_files": ""}
    ledger_adds_up(after_run)


def test_what_is_declared_no_longer_expires_by_the_day_of_its_loading(after_run: Home) -> None:
    settings, where = load_settings(after_run.dbt_project), folders(after_run)
    today = datetime.now(UTC).date()
    assert expire_files(where, settings, {}, today) == 0
    assert expire_files(where, settings, {}, today + timedelta(days=731)) == 3
    assert {entry["state"] for entry in archive.entries(where)} == {"expired"}
    assert list(where.archive.glob("*/*")) == []
    for export in ("touchpoints", "conversions", "identities"):
        assert after_run.warehouse(f"select count(*) from raw.{export}") == [(0,)]
    ledger_adds_up(after_run)


def test_the_pseudonym_key_stands_in_no_file(small_world: Home) -> None:
    assert (
        bytes_below([small_world.path / "state", small_world.path / "publish"], [KEY.encode()])
        == []
    )


def test_state_is_for_the_owner_only(small_world: Home) -> None:
    for folder in (small_world.path / "state", small_world.path / "state" / "scratch"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

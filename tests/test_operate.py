"""What an operator does: quarantine, rebuild, erase, and what is kept no longer than allowed."""

import json
import os
import shutil
import stat
from datetime import date
from pathlib import Path

import pytest
from conftest import KEY, Home
from faults import bytes_below, folders, ledger_adds_up, no_litter, published_is_whole
from test_line import land_small_world

from attribution import archive
from attribution.pseudonyms import pseudonym
from attribution.retention import expire
from attribution.settings import load_settings

BROKEN = (
    "touchpoint_id,customer_id,occurred_at,channel\n"
    "b1,k9,2026-01-02 10:00:00,search\n"
    "b2,k9,yesterday,search\n"
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The small world after a run; tests must not change it."""
    home = land_small_world(Home(tmp_path_factory.mktemp("ran")))
    home.must("run")
    return home


@pytest.fixture
def copy(ran: Home, tmp_path: Path) -> Home:
    shutil.copytree(ran.path, tmp_path / "copy", symlinks=True)
    return Home(tmp_path / "copy")


def listed(home: Home) -> list[dict]:
    return json.loads(home.must("quarantine", "list", "--format", "json").stdout)


def test_rejected_rows_stop_the_run_until_the_operator_accepts_the_loss(copy: Home) -> None:
    copy.land("touchpoints", "broken.csv", BROKEN)
    refused = copy.main("run")
    assert refused.returncode == 3
    [entry] = listed(copy)
    assert (entry["file"], entry["rows_read"], entry["rows_rejected"]) == ("broken.csv", 2, 1)
    shown = copy.must("quarantine", "show", entry["id"]).stdout
    assert "line 3: occurred_at is empty or no timestamp: b2,k9,yesterday,search" in shown
    assert "dropped" in copy.must("quarantine", "drop", entry["id"]).stdout
    assert listed(copy) == []
    assert list((copy.path / "state" / "quarantine").glob("*/*")) == []
    copy.must("run")
    assert copy.published("select sum(rows_rejected) from load_files") == [(1,)]
    ledger_adds_up(copy)


def test_a_corrected_contract_and_requeue_load_the_file_again(copy: Home) -> None:
    copy.land("touchpoints", "old.csv", b"touchpoint_id,customer_id\nb1,k9\n")
    assert copy.main("run").returncode == 3
    [entry] = listed(copy)
    assert entry["reason"] == "required column occurred_at is missing"
    (copy.path / "landing" / "touchpoints" / "old.csv").unlink()
    assert "will be read again" in copy.must("quarantine", "requeue", entry["id"]).stdout
    landed = copy.path / "landing" / "touchpoints" / "old.csv"
    assert landed.read_bytes() == b"touchpoint_id,customer_id\nb1,k9\n"
    copy.must("load")
    [again] = listed(copy)  # read again, refused again: the contract was not mended
    assert again["loaded_at"] > entry["loaded_at"]
    project = copy.path / "project"
    shutil.copytree(copy.dbt_project, project, ignore=shutil.ignore_patterns("target"))
    contract = project / "models" / "staging" / "_exports.yml"
    required = "required: [touchpoint_id, customer_id, occurred_at]"
    assert required in contract.read_text()
    contract.write_text(
        contract.read_text().replace(required, "required: [touchpoint_id, customer_id]")
    )
    home = Home(copy.path, project)
    home.must("load")  # known: the mended contract alone changes nothing
    assert [entry["id"] for entry in listed(home)] == [entry["id"]]
    home.must("quarantine", "requeue", entry["id"])
    home.must("load")
    assert listed(home) == []
    assert home.warehouse("select touchpoint_id from raw.touchpoints where customer_id = ?", [
        pseudonym(KEY.encode(), "k9")
    ]) == [("b1",)]  # fmt: skip


@pytest.mark.parametrize("action", ["show", "requeue", "drop"])
def test_an_id_that_is_not_in_quarantine_is_answered_in_one_line(ran: Home, action: str) -> None:
    done = ran.main("quarantine", action, "0123")
    assert done.returncode == 1
    assert (
        done.stderr == "attribution: quarantine: 0123 names no file; the quarantine holds: empty\n"
    )


def test_hostile_raw_text_has_no_power_over_the_terminal(copy: Home) -> None:
    copy.land("touchpoints", "x.csv", BROKEN + "b3,\x1b[2Jk,never,\u202esearch\n")
    copy.must("load")
    [entry] = listed(copy)
    shown = copy.must("quarantine", "show", entry["id"]).stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert r"\x1b[2Jk" in shown


def test_requeue_without_the_file_says_what_to_do(copy: Home) -> None:
    copy.land("touchpoints", "broken.csv", BROKEN)
    copy.must("load")
    (copy.path / "landing" / "touchpoints" / "broken.csv").unlink()
    done = copy.main("quarantine", "requeue", listed(copy)[0]["id"])
    assert done.returncode == 1
    assert "land it again, corrected" in done.stderr


@pytest.mark.parametrize("loss", ["corrupt", "gone"])
def test_a_lost_warehouse_is_built_anew_to_the_same_hashes(copy: Home, loss: str) -> None:
    copy.must("run", "--date", "2026-01-04")  # history has two nights
    copy.must("run")
    before = copy.hashes()
    history = copy.published("from credit_history order by all")
    assert len({row[0] for row in history}) == 2
    warehouse = copy.path / "state" / "warehouse.duckdb"
    shutil.rmtree(copy.path / "landing")  # nothing is read from there
    (copy.path / "landing").mkdir()
    if loss == "corrupt":
        warehouse.write_bytes(b"\0" * 8192 + warehouse.read_bytes()[8192:])
        Path(f"{warehouse}.wal").write_bytes(b"not a log")
        doctor = copy.main("doctor")
        assert doctor.returncode == 1
        assert "FAIL  warehouse" in doctor.stdout
        assert "attribution rebuild" in doctor.stdout
    else:
        warehouse.unlink()
        lost = copy.main("run")
        assert lost.returncode == 1
        assert "attribution rebuild" in lost.stderr
    assert "15 rows" not in copy.must("rebuild").stdout
    copy.must("run")
    assert copy.hashes() == before
    assert copy.published("from credit_history order by all") == history
    ledger_adds_up(copy)
    no_litter(copy)


def test_rebuild_says_which_rows_the_archive_lost(copy: Home) -> None:
    where = folders(copy)
    [entry] = [e for e in archive.entries(where) if e["export"] == "identities"]
    archive.rows_file(where, "identities", entry["sha256"]).write_bytes(b"rotten")
    done = copy.must("rebuild")
    assert "identities/i.csv: its rows in the archive are not what was written" in done.stderr
    before = copy.hashes()
    copy.must("run")  # the file still lies in landing/ and is read again
    assert copy.hashes() == before


def test_a_line_of_the_journal_cut_short_is_passed_over(copy: Home) -> None:
    journal = copy.path / "state" / "archive" / "journal.jsonl"
    whole = archive.entries(folders(copy))
    with journal.open("ab") as lines:
        lines.write(b'{"export": "touchpoints", "sha25')
    assert archive.entries(folders(copy)) == whole
    archive.append(folders(copy), whole[:1])
    assert len(journal.read_text().splitlines()) == len(whole) + 2
    copy.must("rebuild")
    ledger_adds_up(copy)


def test_nothing_to_rebuild_from_is_said(home: Home) -> None:
    done = home.main("rebuild")
    assert done.returncode == 1
    assert "holds nothing to build from" in done.stderr


def test_an_erased_customer_is_in_no_byte_and_stays_away(copy: Home) -> None:
    """Raw ids, pseudonyms, visitors linked to them; old versions, quarantine, logs, receipts."""
    canary, visitor = "CANARY-4711-müller", "VISITOR-4711"
    copy.land(
        "touchpoints",
        "canary_2026-01-05.csv",
        "touchpoint_id,customer_id,occurred_at,channel\n"
        f"touch-4711-a,{visitor},2026-01-02 10:00:00,search\n"
        f"touch-4711-b,{canary},2026-01-03 10:00:00,branch\n",
    )
    copy.land(
        "identities",
        "j.csv",
        f"anonymous_id,customer_id,linked_at\n{visitor},{canary},2026-01-03\n",
    )
    delivery = (
        "conversion_id,customer_id,converted_at,goal,revenue\n"
        f"contract-4711-a,{canary},2026-01-04 12:00:00,account,11\n"
    )
    copy.land("conversions", "canary_2026-01-05.csv", delivery)
    copy.must("run", "--set", "max_bad_row_share=1")
    gross = copy.published(
        "select value from model_diagnostics where name = 'gross_conversions' and goal = 'account'"
    )
    good = "".join(f"g{n},k1,2026-01-02 10:00:00,search\n" for n in range(300))
    copy.land("touchpoints", "b.csv", BROKEN + f"b3,{canary},never,search\n" + good)
    copy.land(
        "touchpoints", "whole.csv", f"touchpoint_id,customer_id\nw1,{canary}\n".encode("utf-16")
    )
    copy.must("load")
    needles = [
        text.encode(encoding)
        for name in (canary, visitor)
        for text in (name, pseudonym(KEY.encode(), name))
        for encoding in ("utf-8", "utf-16-le")
    ] + [b"touch-4711-a", b"touch-4711-b", b"contract-4711-a"]
    kept = [copy.path / "state", copy.path / "publish"]
    assert bytes_below(kept, needles)
    for path in (copy.path / "landing").rglob("*"):
        if path.name in ("b.csv", "whole.csv"):
            path.unlink()
    receipt = json.loads(copy.must("erase", canary).stdout)
    assert (receipt["customers"], receipt["visitors"]) == (1, 1)
    assert receipt["rows"]["touchpoints"] == 2
    assert receipt["rows"]["conversions"] == 1
    assert receipt["rows"]["identities"] == 1
    assert (receipt["quarantined_rows"], receipt["quarantined_files"]) == (1, 1)
    assert bytes_below(kept, needles) == []
    published_is_whole(copy)
    ledger_adds_up(copy)
    no_litter(copy)
    assert len(list((copy.path / "publish" / "versions").iterdir())) == 1

    copy.land(
        "conversions",
        "again_2026-01-06.csv",
        delivery + "contract-4711-b,k1,2026-01-05 09:00:00,account,1\n",
    )
    copy.must("run")
    assert copy.published(
        "select rows_read, rows_loaded, rows_suppressed from load_files where file like 'again%'"
    ) == [(2, 1, 1)]
    assert bytes_below(kept, needles[:-3]) == []
    [(after,)] = copy.published(
        "select value from model_diagnostics where name = 'gross_conversions' and goal = 'account'"
    )
    assert after == gross[0][0]  # one gone, one new
    copy.must("rebuild")
    copy.must("run")
    assert bytes_below(kept, needles[:-3]) == []


def test_erasing_says_where_publishing_without_them_failed(copy: Home) -> None:
    before = published_is_whole(copy)
    copy.land("touchpoints", "broken.csv", BROKEN)
    done = copy.main("erase", "k1")
    assert done.returncode == 1
    assert "published versions still do" in done.stderr
    assert published_is_whole(copy) == before
    copy.must("quarantine", "drop", listed(copy)[0]["id"])
    copy.must("erase", "k1")
    assert copy.published("select count(*) from conversion_credit where conversion_id = 'c1'") == [
        (0,)
    ]


def test_erasing_before_anything_was_published_needs_no_run(home: Home) -> None:
    land_small_world(home)
    home.must("load")
    receipt = json.loads(home.must("erase", "k1").stdout)
    assert receipt["rows"]["touchpoints"] == 2
    assert not home.current.exists()


def test_erase_takes_ids_from_a_file_and_refuses_none(copy: Home, tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    ids.write_text("k1\n\nk2\n")
    assert json.loads(copy.must("erase", "--file", str(ids)).stdout)["customers"] == 2
    for arguments in (["erase"], ["erase", "--file", str(tmp_path / "none")]):
        done = copy.main(*arguments)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1


def test_receipts_and_suppression_are_for_the_owner_only(copy: Home) -> None:
    copy.must("erase", "k1")
    state = copy.path / "state"
    for path in [state / "suppressed.json", *(state / "receipts").iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_pseudonym_key_stands_in_no_file(ran: Home) -> None:
    assert bytes_below([ran.path / "state", ran.path / "publish"], [KEY.encode()]) == []


def test_old_files_and_old_quarantine_expire(copy: Home) -> None:
    copy.land("touchpoints", "x.csv", BROKEN)
    copy.land(
        "touchpoints",
        "old.csv",
        "touchpoint_id,customer_id,occurred_at,channel\no1,k1,2023-01-01 10:00:00,search\n",
    )
    copy.must("run", "--set", "max_bad_row_share=1")
    settings = load_settings(copy.dbt_project)
    where = folders(copy)
    states = dict(copy.warehouse("select file, state from raw._files"))
    assert states["old.csv"] == "expired"
    assert states["t_2026-01-05.csv"] == "loaded"
    assert copy.warehouse("select * from raw.touchpoints where touchpoint_id = 'o1'") == []
    [rejects] = (copy.path / "state" / "quarantine").glob("*/*")
    assert expire(where, settings, {}, date(2026, 1, 5))["quarantine_expired"] == 0
    os.utime(rejects, (0, 0))
    assert expire(where, settings, {}, date(2026, 1, 5))["quarantine_expired"] == 1
    assert not rejects.exists()
    before = copy.hashes()
    copy.must("rebuild")
    copy.must("run", "--set", "max_bad_row_share=1")
    assert copy.hashes() | {"load_files": ""} == before | {"load_files": ""}
    ledger_adds_up(copy)

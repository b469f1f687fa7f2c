"""What an operator does: quarantine, rebuild, erase, and what is kept no longer than allowed."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import KEY, Home
from faults import (
    bytes_below,
    folders,
    ledger_adds_up,
    no_litter,
    published_is_whole,
    say,
    times,
)
from test_line import land_small_world

from attribution import archive
from attribution.pseudonyms import pseudonym
from attribution.retention import expire_quarantine
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
    whole, content = archive.entries(folders(copy)), journal.read_bytes()
    with journal.open("ab") as lines:
        lines.write(b'0123abcd [{"export": "touchpoints", "sha25')
    assert archive.entries(folders(copy)) == whole
    archive.append(folders(copy), whole[:1])
    assert journal.read_bytes().startswith(content)
    assert len(journal.read_bytes().splitlines()) == len(content.splitlines()) + 1
    copy.must("rebuild")
    ledger_adds_up(copy)


@pytest.mark.parametrize("verb", ["load", "rebuild", "erase"])
def test_a_damaged_line_of_the_journal_stops_everything(copy: Home, verb: str) -> None:
    """Nothing may be swept, built or erased by a journal that is not what was written."""
    journal = copy.path / "state" / "archive" / "journal.jsonl"
    content = bytearray(journal.read_bytes())
    content[len(content) // 2] ^= 1
    journal.write_bytes(content)
    there = sorted((copy.path / "state" / "archive").glob("*/*"))
    done = copy.main(verb, *(["k1"] if verb == "erase" else []))
    assert done.returncode == 1
    assert "is not what was written: restore the file" in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted((copy.path / "state" / "archive").glob("*/*")) == there


def test_a_warehouse_of_another_night_is_refused(copy: Home) -> None:
    warehouse = copy.path / "state" / "warehouse.duckdb"
    earlier = warehouse.read_bytes()
    for day in (6, 7):
        copy.land(
            "touchpoints",
            f"t_2026-01-0{day}.csv",
            "touchpoint_id,customer_id,occurred_at,channel\n"
            f"n{day},k1,2026-01-0{day} 08:00:00,search\n",
        )
    copy.must("run")
    after = copy.hashes()
    shutil.rmtree(copy.path / "landing")
    (copy.path / "landing").mkdir()
    warehouse.write_bytes(earlier)
    done = copy.main("run")
    assert done.returncode == 1
    assert "knows 2 files otherwise than the warehouse" in done.stderr
    assert "attribution rebuild" in done.stderr
    copy.must("rebuild")
    copy.must("run")
    assert copy.hashes() == after


def test_a_journal_of_another_night_is_refused(copy: Home) -> None:
    journal = copy.path / "state" / "archive" / "journal.jsonl"
    *earlier, _ = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(earlier))
    there = sorted((copy.path / "state" / "archive").glob("*/*"))
    for verb in (["run"], ["rebuild"], ["erase", "k1"]):
        done = copy.main(*verb)
        assert done.returncode == 1
        assert "the archive's journal lacks 1 files that the warehouse holds" in done.stderr
        assert sorted((copy.path / "state" / "archive").glob("*/*")) == there


def test_a_run_that_died_before_its_commit_is_caught_up(copy: Home) -> None:
    """The journal has the file, the warehouse does not, and its exporter took it away since."""
    warehouse = copy.path / "state" / "warehouse.duckdb"
    earlier = warehouse.read_bytes()
    copy.land(
        "touchpoints",
        "t_2026-01-06.csv",
        "touchpoint_id,customer_id,occurred_at,channel\nn6,k1,2026-01-06 08:00:00,search\n",
    )
    copy.must("run")
    after = copy.hashes()
    warehouse.write_bytes(earlier)
    (copy.path / "landing" / "touchpoints" / "t_2026-01-06.csv").unlink()
    copy.must("run")
    assert copy.hashes() == after
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


def test_nothing_is_erased_from_a_damaged_archive(copy: Home) -> None:
    """The warehouse is built anew from it: the rows of everyone else would be gone."""
    where = folders(copy)
    [entry] = [e for e in archive.entries(where) if e["export"] == "identities"]
    rows = archive.rows_file(where, "identities", entry["sha256"])
    content = bytearray(rows.read_bytes())
    content[len(content) // 2] ^= 1
    rows.write_bytes(content)
    before = published_is_whole(copy)
    counts = copy.warehouse("select count(*) from raw.touchpoints")
    done = copy.main("erase", "k1")
    assert done.returncode == 1
    assert "identities/i.csv: its rows in the archive are not what was written" in done.stderr
    assert "nothing was erased yet" in done.stderr
    assert published_is_whole(copy) == before
    assert copy.warehouse("select count(*) from raw.touchpoints") == counts
    assert not (copy.path / "state" / "suppressed.json").exists()


DIES = """
import os, signal, sys
from attribution.cli import main

left = int(sys.argv[1])

def watch(event, arguments):
    global left
    appends = event == "open" and "journal.jsonl" in str(arguments[0]) and arguments[1] == "a+b"
    if appends or event in ("os.rename", "os.remove"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
sys.exit(main(["erase", "k1"]))
"""


def test_an_erasure_that_died_is_finished_by_another(home: Home, tmp_path: Path) -> None:
    """Killed wherever archive and suppression list change: the others keep all of their rows."""
    land_small_world(home)
    home.must("load")  # nothing is published, so that erasing is short

    def rows(of: Home) -> list[tuple]:
        return [
            row
            for table in ("touchpoints", "conversions", "identities")
            for row in of.warehouse(f"from raw.{table} order by all")
        ]

    whole, other = Home(tmp_path / "whole"), Home(tmp_path / "other")
    shutil.copytree(home.path, whole.path, symlinks=True)
    whole.must("erase", "k1")
    # the short form: each time after a line of the journal, before the file that it speaks of
    dies_at, step, died = times(3, 1), times(2, 1), 0
    while True:
        shutil.rmtree(other.path, ignore_errors=True)
        shutil.copytree(home.path, other.path, symlinks=True)
        done = subprocess.run(
            [sys.executable, "-c", DIES, str(dies_at)],
            env=other.environment,
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        died += 1
        refused = other.main("load")  # what is half erased is not loaded upon
        assert refused.returncode == 0 or "attribution rebuild" in refused.stderr
        other.must("erase", "k1")
        assert rows(other) == rows(whole)
        ledger_adds_up(other)
        no_litter(other)
        dies_at += step
    say(f"erase killed at {died} places, each finished by erasing again")
    assert died >= times(3, 9)


def test_erasing_publishes_with_the_settings_of_what_was_published(copy: Home) -> None:
    copy.must("run", "--set", "models=[last_touch, linear]", "--date", "2026-01-04")
    copy.must("erase", "k3")
    assert copy.published("select distinct model from channel_credit order by 1") == [
        ("last_touch",), ("linear",)
    ]  # fmt: skip
    assert copy.published("select value from run_manifest where name = 'run_date'") == [
        ("2026-01-04",)
    ]


def test_a_candidate_does_not_keep_an_erased_customer(home: Home) -> None:
    land_small_world(home)
    for verb in (("load",), ("check", "exports"), ("build",), ("check", "statistics"),
                 ("attribute",), ("marts",), ("stage",)):  # fmt: skip
        home.must(*verb)
    assert (home.path / "publish" / "candidate").exists()
    home.must("erase", "k1")
    assert not (home.path / "publish" / "candidate").exists()


def test_what_is_refused_after_an_erasure_keeps_no_id(copy: Home) -> None:
    """A visitor is known by a pseudonym alone, and still no raw text that names one is kept."""
    copy.land("identities", "j.csv", "anonymous_id,customer_id,linked_at\nVISIT-77,k1,2026-01-03\n")
    copy.must("run")
    good = "".join(f"g{n},k2,2026-01-02 10:00:00,search\n" for n in range(300))
    named = "b3,VISIT-77,2026-01-02 10:00:00,search,?\nb4,k2,never,search\n"
    head = "touchpoint_id,customer_id,occurred_at,channel\n"
    copy.land("touchpoints", "rows.csv", head + named + good)
    copy.must("load")
    copy.must("erase", "k1")
    needles = [b"VISIT-77"]
    assert bytes_below([copy.path / "state", copy.path / "publish"], needles) == []
    copy.land("touchpoints", "again.csv", head + named + good.replace("g", "h"))
    copy.land("touchpoints", "whole.csv", "touchpoint_id,customer_id\nw1,VISIT-77\n")
    copy.land("touchpoints", "other.csv", "touchpoint_id,customer_id\nw1,k2\n")
    copy.must("load")
    assert bytes_below([copy.path / "state", copy.path / "publish"], needles) == []
    kept = {path.name[13:] for path in (copy.path / "state" / "quarantine").glob("*/*")}
    assert kept == {"rows.csv.rejected.jsonl", "again.csv.rejected.jsonl", "other.csv"}
    [again] = [e for e in listed(copy) if e["file"] == "again.csv"]
    shown = copy.must("quarantine", "show", again["id"]).stdout
    assert "line 2: " in shown
    assert "(not kept)" in shown
    assert "b4,k2,never,search" in shown


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


def test_state_is_for_the_owner_only(ran: Home) -> None:
    for folder in (ran.path / "state", ran.path / "state" / "scratch"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_corrupt_block_is_found_and_the_way_out_named(copy: Home) -> None:
    warehouse = copy.path / "state" / "warehouse.duckdb"
    [(block,)] = copy.warehouse(
        "select min(block_id) from pragma_storage_info('raw.touchpoints') where persistent "
        "and block_id >= 0"
    )
    content = bytearray(warehouse.read_bytes())
    content[3 * 4096 + block * 262144 + 64] ^= 1  # three headers, then blocks, each after its sum
    warehouse.write_bytes(content)
    doctor = copy.main("doctor")
    assert doctor.returncode == 1
    assert "FAIL  warehouse" in doctor.stdout
    run = copy.main("run")
    assert run.returncode == 1
    for said in (doctor.stdout, run.stderr):
        assert "attribution rebuild" in said
    copy.must("rebuild")
    copy.must("run")
    ledger_adds_up(copy)


def test_rebuild_after_a_rollback_keeps_all_of_the_history(copy: Home) -> None:
    copy.must("run", "--date", "2026-01-04")
    copy.must("run")
    history = copy.published("from credit_history order by all")
    copy.must("rollback")
    copy.must("rollback")
    (copy.path / "state" / "warehouse.duckdb").unlink()
    copy.must("rebuild")
    copy.must("run")
    assert copy.published("from credit_history order by all") == history


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
    assert expire_quarantine(where, settings) == 0
    os.utime(rejects, (0, 0))
    copy.must("load")  # whether or not a gate lets the night publish
    assert not rejects.exists()
    before = copy.hashes()
    copy.must("rebuild")
    copy.must("run", "--set", "max_bad_row_share=1")
    assert copy.hashes() | {"load_files": ""} == before | {"load_files": ""}
    ledger_adds_up(copy)

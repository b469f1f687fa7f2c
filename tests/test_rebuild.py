"""The warehouse from the archive: what was lost, cut short, or restored from another night."""

import shutil
from pathlib import Path

import pytest
from conftest import Home, keep, put_back
from faults import (
    folders,
    ledger_adds_up,
    no_litter,
)

from attribution import archive


@pytest.fixture(scope="module")
def two_nights(small_world: Home) -> Home:
    """The small world after a run for another day and one more; tests must not change it."""
    home = put_back(small_world)
    home.must("run", "--date", "2026-01-04")
    home.must("run")
    return keep(home, "two nights")


@pytest.mark.parametrize("loss", ["corrupt", "gone"])
def test_a_lost_warehouse_is_built_anew_to_the_same_hashes(two_nights: Home, loss: str) -> None:
    home = put_back(two_nights)
    before = home.hashes()
    history = home.published("from credit_history order by all")
    assert len({row[0] for row in history}) == 2
    warehouse = home.path / "state" / "warehouse.duckdb"
    shutil.rmtree(home.path / "landing")  # nothing is read from there
    (home.path / "landing").mkdir()
    if loss == "corrupt":
        warehouse.write_bytes(b"\0" * 8192 + warehouse.read_bytes()[8192:])
        Path(f"{warehouse}.wal").write_bytes(b"not a log")
        doctor = home.main("doctor")
        assert doctor.returncode == 1
        assert "FAIL  warehouse" in doctor.stdout
        assert "attribution rebuild" in doctor.stdout
    else:
        warehouse.unlink()
        doctor = home.main("doctor")
        assert doctor.returncode == 1
        assert "FAIL  archive: holds 3 files that the warehouse lacks" in doctor.stdout
        lost = home.main("run")
        assert lost.returncode == 1
        assert "attribution rebuild" in lost.stderr
    assert ": 10 rows of 3 files\n" in home.must("rebuild").stdout
    home.must("run")
    assert home.hashes() == before
    assert home.published("from credit_history order by all") == history
    ledger_adds_up(home)
    no_litter(home)


def test_rebuild_says_which_rows_the_archive_lost(after_run: Home) -> None:
    where = folders(after_run)
    [entry] = [e for e in archive.entries(where) if e["export"] == "identities"]
    archive.rows_file(where, "identities", entry["sha256"]).write_bytes(b"rotten")
    done = after_run.must("rebuild")
    assert "identities/i.csv: its rows in the archive are not what was written" in done.stderr
    before = after_run.hashes()
    after_run.must("run")  # the file still lies in landing/ and is read again
    assert after_run.hashes() == before


def test_a_line_of_the_journal_cut_short_is_passed_over(after_run: Home) -> None:
    journal = after_run.path / "state" / "archive" / "journal.jsonl"
    whole, content = archive.entries(folders(after_run)), journal.read_bytes()
    with journal.open("ab") as lines:
        lines.write(b'0123abcd [{"export": "touchpoints", "sha25')
    assert archive.entries(folders(after_run)) == whole
    archive.append(folders(after_run), whole[:1])
    assert journal.read_bytes().startswith(content)
    assert len(journal.read_bytes().splitlines()) == len(content.splitlines()) + 1
    after_run.must("rebuild")
    ledger_adds_up(after_run)


@pytest.mark.parametrize("verb", ["load", "rebuild", "erase"])
def test_a_damaged_line_of_the_journal_stops_everything(after_run: Home, verb: str) -> None:
    """Nothing may be swept, built or erased by a journal that is not what was written."""
    journal = after_run.path / "state" / "archive" / "journal.jsonl"
    content = bytearray(journal.read_bytes())
    content[len(content) // 2] ^= 1
    journal.write_bytes(content)
    there = sorted((after_run.path / "state" / "archive").glob("*/*"))
    done = after_run.main(verb, *(["k1"] if verb == "erase" else []))
    assert done.returncode == 1
    assert "is not what was written: restore the file" in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted((after_run.path / "state" / "archive").glob("*/*")) == there


def test_a_warehouse_of_another_night_is_refused(after_run: Home) -> None:
    warehouse = after_run.path / "state" / "warehouse.duckdb"
    earlier = warehouse.read_bytes()
    for day in (6, 7):
        after_run.land(
            "touchpoints",
            f"t_2026-01-0{day}.csv",
            "touchpoint_id,customer_id,occurred_at,channel\n"
            f"n{day},k1,2026-01-0{day} 08:00:00,search\n",
        )
    after_run.must("run")
    after = after_run.hashes()
    shutil.rmtree(after_run.path / "landing")
    (after_run.path / "landing").mkdir()
    warehouse.write_bytes(earlier)
    done = after_run.main("run")
    assert done.returncode == 1
    assert "knows 2 files otherwise than the warehouse" in done.stderr
    assert "attribution rebuild" in done.stderr
    after_run.must("rebuild")
    after_run.must("run")
    assert after_run.hashes() == after


def test_a_journal_of_another_night_is_refused(after_run: Home) -> None:
    journal = after_run.path / "state" / "archive" / "journal.jsonl"
    *earlier, _ = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(earlier))
    there = sorted((after_run.path / "state" / "archive").glob("*/*"))
    for verb in (["run"], ["rebuild"], ["erase", "k1"]):
        done = after_run.main(*verb)
        assert done.returncode == 1
        assert "the archive's journal lacks 1 files that the warehouse holds" in done.stderr
        assert sorted((after_run.path / "state" / "archive").glob("*/*")) == there


def test_a_run_that_died_before_its_commit_is_caught_up(after_run: Home) -> None:
    """The journal has the file, the warehouse does not, and its exporter took it away since."""
    warehouse = after_run.path / "state" / "warehouse.duckdb"
    earlier = warehouse.read_bytes()
    after_run.land(
        "touchpoints",
        "t_2026-01-06.csv",
        "touchpoint_id,customer_id,occurred_at,channel\nn6,k1,2026-01-06 08:00:00,search\n",
    )
    after_run.must("run")
    after = after_run.hashes()
    warehouse.write_bytes(earlier)
    (after_run.path / "landing" / "touchpoints" / "t_2026-01-06.csv").unlink()
    assert "FAIL" not in after_run.must("doctor").stdout
    after_run.must("run")
    assert after_run.hashes() == after
    ledger_adds_up(after_run)


def test_nothing_to_rebuild_from_is_said(home: Home) -> None:
    done = home.main("rebuild")
    assert done.returncode == 1
    assert "holds nothing to build from" in done.stderr


def test_a_corrupt_block_is_found_and_the_way_out_named(after_run: Home) -> None:
    warehouse = after_run.path / "state" / "warehouse.duckdb"
    [(block,)] = after_run.warehouse(
        "select min(block_id) from pragma_storage_info('raw.touchpoints') where persistent "
        "and block_id >= 0"
    )
    content = bytearray(warehouse.read_bytes())
    content[3 * 4096 + block * 262144 + 64] ^= 1  # three headers, then blocks, each after its sum
    warehouse.write_bytes(content)
    doctor = after_run.main("doctor")
    assert doctor.returncode == 1
    assert "FAIL  warehouse" in doctor.stdout
    run = after_run.main("run")
    assert run.returncode == 1
    for said in (doctor.stdout, run.stderr):
        assert "attribution rebuild" in said
    after_run.must("rebuild")
    after_run.must("run")
    ledger_adds_up(after_run)


def test_rebuild_after_a_rollback_keeps_all_of_the_history(two_nights: Home) -> None:
    home = put_back(two_nights)
    history = home.published("from credit_history order by all")
    home.must("rollback")
    home.must("rollback")
    (home.path / "state" / "warehouse.duckdb").unlink()
    home.must("rebuild")
    home.must("run")
    assert home.published("from credit_history order by all") == history

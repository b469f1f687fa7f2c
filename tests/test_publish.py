"""Versions: the swap, what is kept, and the way back."""

import hashlib
import json
from pathlib import Path

import duckdb
import pytest
from conftest import Home

from attribution import warehouse
from attribution.errors import PublishError
from attribution.publish import (
    MARTS,
    NOT_HASHED,
    UNHASHED,
    _before,
    _write_manifest,
    current,
    publish,
    rollback,
    verify,
    versions,
)
from attribution.settings import Folders
from attribution.warehouse import joined_texts


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders.from_environment({"ATTRIBUTION_HOME": str(tmp_path)})


def stage(folders: Folders, run_id: str) -> None:
    candidate = folders.publish / "candidate"
    (candidate / "parquet").mkdir(parents=True)
    (candidate / "attribution.duckdb").write_text(run_id)
    (candidate / "parquet" / "a.parquet").write_text(run_id)
    _write_manifest(candidate, {"run_id": run_id, "files": {}})


def test_swap_and_retention(folders: Folders) -> None:
    for number in range(5):
        stage(folders, f"run{number}")
        publish(folders, 3, f"run{number}")
        assert current(folders.publish) == f"run{number}"
        assert (folders.publish / "current" / "attribution.duckdb").read_text() == f"run{number}"
    assert [path.name for path in versions(folders.publish)] == ["run2", "run3", "run4"]
    assert sorted(path.name for path in folders.publish.iterdir()) == ["current", "versions"]


def test_a_version_is_compared_with_the_latest_of_an_earlier_date(folders: Folders) -> None:
    assert _before(folders.publish, "2026-03-31") is None
    for run_id in (
        "2026-03-29_20260330T010000000Z",
        "2026-03-30_20260331T010000000Z",
        "2026-03-30_20260331T020000000Z",
        "2026-03-31_20260401T010000000Z",
        "2026-03-15_20260401T020000000Z",  # a backfill
    ):
        stage(folders, run_id)
        publish(folders, 9, run_id)
    found = {day: _before(folders.publish, day).name for day in ("2026-03-31", "2026-03-30")}
    assert found["2026-03-31"] == "2026-03-30_20260331T020000000Z"
    assert found["2026-03-30"] == "2026-03-29_20260330T010000000Z"
    # nothing earlier is kept: the same date's last; one of a later date would undo what came since
    assert _before(folders.publish, "2026-03-15").name == "2026-03-15_20260401T020000000Z"
    assert _before(folders.publish, "2026-03-14") is None


def test_publishing_once_more_after_a_kill_changes_nothing(folders: Folders) -> None:
    """The version had its place, and nobody heard of it."""
    for run_id in ("run0", "run1"):
        stage(folders, run_id)
        publish(folders, 3, run_id)
    rollback(folders)
    assert publish(folders, 3, "run1").name == current(folders.publish) == "run1"
    assert [path.name for path in versions(folders.publish)] == ["run0", "run1"]
    damaged = folders.publish / "versions" / "run0" / "attribution.duckdb"
    damaged.chmod(0o644)
    damaged.write_text("other")
    with pytest.raises(PublishError, match=r"attribution\.duckdb is not what was written"):
        publish(folders, 3, "run0")
    assert current(folders.publish) == "run1"


def test_pointer_is_relative_so_that_the_folder_can_move(folders: Folders) -> None:
    stage(folders, "run0")
    publish(folders, 3, "run0")
    moved = folders.publish.rename(folders.publish.with_name("elsewhere"))
    assert (moved / "current" / "attribution.duckdb").read_text() == "run0"


def test_rollback_goes_back_one_or_to_a_name_and_says_where_it_cannot(folders: Folders) -> None:
    with pytest.raises(PublishError, match="nothing was published"):
        rollback(folders)
    for number in range(3):
        stage(folders, f"run{number}")
        publish(folders, 3, f"run{number}")
    assert rollback(folders) == "run1"
    assert rollback(folders) == "run0"
    with pytest.raises(PublishError, match="oldest"):
        rollback(folders)
    assert rollback(folders, "run2") == current(folders.publish) == "run2"
    with pytest.raises(PublishError, match=r"no version \.\./run1; there are run0, run1, run2"):
        rollback(folders, "../run1")
    damaged = folders.publish / "versions" / "run1" / "parquet" / "a.parquet"
    damaged.chmod(0o644)
    damaged.write_text("other")
    with pytest.raises(PublishError, match=r"run1 is damaged: parquet/a\.parquet"):
        rollback(folders)
    assert current(folders.publish) == "run2"


def test_backfill_does_not_change_which_version_came_before(folders: Folders) -> None:
    names = ["2026-03-20_20261122T100000Z", "2026-03-05_20261122T110000Z"]
    for name in names:
        stage(folders, name)
        publish(folders, 3, name)
    assert [path.name for path in versions(folders.publish)] == names
    assert rollback(folders) == names[0]


def test_current_version_is_never_dropped(folders: Folders) -> None:
    for number in range(3):
        stage(folders, f"run{number}")
        publish(folders, 3, f"run{number}")
    rollback(folders, "run0")
    stage(folders, "run3")
    publish(folders, 2, "run3")
    assert current(folders.publish) == "run3"
    assert [path.name for path in versions(folders.publish)] == ["run2", "run3"]


def test_no_candidate_and_half_a_candidate_are_refused(folders: Folders) -> None:
    with pytest.raises(PublishError, match="run `stage`"):
        publish(folders, 2, "run0")
    stage(folders, "run0")
    (folders.publish / "candidate" / "parquet" / "a.parquet").unlink()
    with pytest.raises(PublishError, match=r"a\.parquet is missing"):
        publish(folders, 2, "run0")
    assert current(folders.publish) is None
    assert verify(folders.publish / "candidate") == ["parquet/a.parquet is missing"]


def test_manifest_names_every_file_by_its_hash(folders: Folders) -> None:
    stage(folders, "run0")
    manifest = json.loads((folders.publish / "candidate" / "manifest.json").read_text())
    assert sorted(manifest["files"]) == ["attribution.duckdb", "parquet/a.parquet"]
    assert all(len(digest) == 64 for digest in manifest["files"].values())


def test_texts_are_joined_in_the_order_in_which_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over many of the engine's stretches and batches, by several threads."""
    monkeypatch.setattr(warehouse, "ROWS_AT_ONCE", 2_000)
    with duckdb.connect(str(tmp_path / "t.duckdb"), config={"threads": 4}) as con:
        con.execute("create table t as select hash(i)::varchar as x from range(300_000) r(i)")
        con.execute("create table ordered as from t order by x")
        rows = sorted(text for (text,) in con.execute("from t").fetchall())
        found = b"".join(joined_texts(con, "select x || '\u00e4\n' from ordered"))
        assert found.decode().split("\u00e4\n") == [*rows, ""]
        assert list(joined_texts(con, "select x from ordered where false")) == []


def test_a_table_hash_is_of_its_rows_by_key_in_canonical_text(bank: Home) -> None:
    hashes = bank.hashes()
    assert set(hashes) == set(MARTS) - set(UNHASHED)
    for table, found in hashes.items():
        columns = [name for name, *_ in bank.published(f"describe {table}")]
        columns = [name for name in columns if name not in NOT_HASHED.get(table, ())]
        texts = ", ".join(f'"{name}"::varchar' for name in columns)
        rows = bank.published(f"select {texts} from {table} order by {', '.join(MARTS[table])}")
        lines = ["\x1f".join("\0" if text is None else text for text in row) for row in rows]
        expected = hashlib.sha256("\x1e".join(["\x1f".join(columns), *lines]).encode())
        assert found == expected.hexdigest(), table

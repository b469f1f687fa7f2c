"""Loading: by contract, exactly once, nothing lost, nobody's id kept."""

import csv
import gzip
import io
import json
import shutil
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, real_export
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attribution import archive, readers
from attribution.contract import read_contract
from attribution.convert import convert
from attribution.entries import insert_entry, read_entries
from attribution.errors import LoadError
from attribution.exports import load_exports
from attribution.pseudonyms import People, pseudonym
from attribution.quarantine import rejects
from attribution.settings import Folders, load_settings
from attribution.warehouse import open_reader, open_warehouse

CONTRACT = read_contract(ROOT / "dbt_project" / "models" / "staging" / "_exports.yml")
SETTINGS = load_settings(ROOT / "dbt_project")
HEAD = "conversion_id,customer_id,converted_at,goal,revenue\n"
GOOD = HEAD + "c1,k1,2026-01-02 03:04:05,account,10.5\nc2,k2,2026-01-03T00:00:00+01:00,,\n"


@dataclass
class Loader:
    """A warehouse open for loading, and a landing folder to fill."""

    folders: Folders
    con: duckdb.DuckDBPyConnection
    key: bytes | None = None
    contract: dict[str, Any] | None = None
    people: People | None = None
    warnings: list[str] = field(default_factory=list)

    def land(self, name: str, content: str | bytes, export: str = "conversions") -> Path:
        path = self.folders.landing / export / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def load(self, **changes: Any) -> dict[str, int]:
        contract = dict(self.contract or CONTRACT)
        if changes:
            contract["conversions"] = replace(contract["conversions"], **changes)
        people = self.people or People(self.key)
        with open_reader(self.folders, SETTINGS) as con:
            counts, self.warnings[:] = load_exports(
                self.con,
                contract,
                self.folders,
                people,
                "load",
                lambda job: convert(con, contract[job.export], job, self.folders, people),
                lambda *_: None,
                SETTINGS.max_bad_row_share,
            )
        return counts

    def rows(self, sql: str) -> list[tuple]:
        return self.con.execute(sql).fetchall()

    def conversions(self) -> list[tuple]:
        return self.rows(
            "select conversion_id, customer_id, converted_at, goal, revenue "
            "from raw.conversions order by conversion_id"
        )

    def states(self) -> list[tuple]:
        return self.rows("select file, state, reason from raw._files order by file")

    def rejects(self) -> list[dict]:
        return [
            json.loads(line)
            for path in sorted(self.folders.quarantine.rglob("*.rejected.jsonl"))
            for line in path.read_text().splitlines()
        ]


@pytest.fixture
def loader(tmp_path: Path) -> Iterator[Loader]:
    folders = Folders.from_environment({"ATTRIBUTION_HOME": str(tmp_path)})
    folders.landing.mkdir()
    folders.scratch.mkdir(parents=True)
    with open_warehouse(folders, SETTINGS) as con:
        yield Loader(folders, con)


def test_clean_file_is_loaded_with_types_and_utc(loader: Loader) -> None:
    loader.land("a.csv", GOOD)
    counts = loader.load()
    assert (counts["rows_read"], counts["rows_loaded"], counts["rows_rejected"]) == (2, 2, 0)
    assert loader.conversions() == [
        ("c1", "k1", datetime(2026, 1, 2, 3, 4, 5), "account", Decimal("10.5000")),
        ("c2", "k2", datetime(2026, 1, 2, 23), None, None),
    ]


def test_same_bytes_are_loaded_once_under_any_name(loader: Loader) -> None:
    loader.land("a.csv", GOOD)
    loader.load()
    loader.land("b.csv", GOOD)
    counts = loader.load()
    assert (counts["files_loaded"], counts["files_skipped"]) == (0, 2)
    assert len(loader.conversions()) == 2


def test_new_bytes_under_an_old_name_replace_its_rows(loader: Loader) -> None:
    loader.land("a.csv", GOOD)
    loader.load()
    loader.land("a.csv", HEAD + "c3,k3,2026-01-04,account,1\n")
    loader.load()
    assert [row[0] for row in loader.conversions()] == ["c3"]
    assert [row[1] for row in loader.rows("select file, state from raw._files order by state")] == [
        "loaded",
        "replaced",
    ]
    loader.land("a.csv", GOOD)  # and the first bytes may come back
    loader.load()
    assert [row[0] for row in loader.conversions()] == ["c1", "c2"]


def test_file_whose_twin_was_replaced_keeps_its_rows(loader: Loader) -> None:
    loader.land("a.csv", GOOD)
    loader.land("b.csv", GOOD)
    loader.load()
    loader.land("a.csv", HEAD + "c3,k3,2026-01-04,account,1\n")
    loader.load()
    assert [row[0] for row in loader.conversions()] == ["c1", "c2", "c3"]
    assert loader.load()["files_loaded"] == 0


def test_bytes_that_come_again_with_a_later_date_count_from_that(loader: Loader) -> None:
    """A value may return to what it was before; in whatever order the files came."""
    before, between = (HEAD + f"c1,k1,2026-01-02 03:04:05,account,{n}\n" for n in (100, 120))
    dated = {"2026-01-05": before, "2026-01-06": between, "2026-01-07": before}
    for order in (sorted(dated), sorted(dated, reverse=True), ["2026-01-06", "2026-01-05"]):
        for day in order:
            loader.land(f"c_{day}.csv", dated[day])
            loader.load()
        newest = max(day for day in order if dated[day] == before)
        assert loader.rows(
            "select file, file_date::varchar, revenue::int from raw.conversions "
            "inner join raw._files on file_id = _file_id order by 1"
        ) == sorted([("c_2026-01-06.csv", "2026-01-06", 120), (f"c_{newest}.csv", newest, 100)])
        entries = {entry["file"]: entry["file_date"] for entry in archive.entries(loader.folders)}
        assert entries == {"c_2026-01-06.csv": "2026-01-06", f"c_{newest}.csv": newest}
        assert loader.load()["files_loaded"] == 0
        for path in (loader.folders.landing / "conversions").iterdir():
            path.unlink()
        loader.con.execute("delete from raw._files; delete from raw.conversions")
        shutil.rmtree(loader.folders.archive)


def test_the_oldest_of_rotated_files_is_not_corrected_by_the_next(loader: Loader) -> None:
    """Three lie there from the start; then each takes the name of the next, and one has left."""
    row = HEAD + "c{0},k{0},2026-01-02 03:04:05,account,{0}\n"
    for place, number in (("", 3), (".1", 2), (".2", 1)):
        loader.land(f"c{place}.csv", row.format(number))
    loader.load()
    for newest in (4, 5):
        for place, number in (("", newest), (".1", newest - 1), (".2", newest - 2)):
            loader.land(f"c{place}.csv", row.format(number))
        loader.load()
        expected = [(f"c{number}",) for number in range(1, newest + 1)]
        assert loader.rows("select conversion_id from raw.conversions order by 1") == expected


def test_a_file_has_the_date_of_the_name_under_which_it_lies(loader: Loader) -> None:
    """Its source names it by the day when the next one comes."""
    path = loader.land("c.csv", HEAD + "c1,k1,2026-01-02 03:04:05,account,1\n")
    loader.load()
    path.rename(path.with_name("c_2026-01-05.csv"))
    loader.land("c.csv", HEAD + "c1,k1,2026-01-02 03:04:05,account,2\n")
    loader.load()
    assert loader.rows("select file, file_date::varchar from raw._files order by 1") == [
        ("c.csv", None),
        ("c_2026-01-05.csv", "2026-01-05"),
    ]


def test_a_correction_may_say_what_another_file_says(loader: Loader) -> None:
    """Its bytes are known, and yet what it corrects is gone."""
    names, row = ("c_2026-01-05.csv", "c_2026-01-06.csv"), HEAD + "c1,k1,2026-01-02,account,{}\n"
    for name, revenue in zip(names, (100, 120), strict=True):
        loader.land(name, row.format(revenue))
    loader.load()
    loader.land(names[1], row.format(100))
    for _ in range(2):
        loader.load()
        assert loader.rows("select revenue::int from raw.conversions") == [(100,)]
        assert loader.rows("select state from raw._files order by 1") == [
            ("loaded",),
            ("replaced",),
        ]
        assert len(list(loader.folders.archive.glob("conversions/*.parquet"))) == 1


WAYS = {
    "a day is corrected that said the same as the day before": (
        {"c_01-08": "A", "c_01-09": "A"}, {"c_01-08": "A", "c_01-09": "B"},
    ),
    "two days are swapped": (
        {"c_01-08": "A", "c_01-09": "B"}, {"c_01-08": "B", "c_01-09": "A"},
    ),
    "a day is renamed over the one before": (
        {"c_01-08": "A", "c_01-09": "B"}, {"c_01-08": "B"},
    ),
    "a day is corrected to what the next says": (
        {"c_01-08": "A", "c_01-09": "B"}, {"c_01-08": "B", "c_01-09": "B"},
    ),
    "a wrong later copy is withdrawn": (
        {"c_01-08": "A", "c_01-09": "A", "c_01-07": "B"}, {"c_01-08": "A", "c_01-07": "B"},
    ),
    "a day has a name of its own, then a date": ({"new": "A"}, {"c_01-09": "A", "c_01-08": "B"}),
    "a value returns": ({"c_01-07": "A", "c_01-08": "B"},
                        {"c_01-07": "A", "c_01-08": "B", "c_01-09": "A"}),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_what_lies_there_counts_however_it_came_to_lie_there(loader: Loader, way: str) -> None:
    """As after a load of the same landing folder into a fresh state: dates are not rotated."""
    row = HEAD + "c1,k1,2026-01-02 03:04:05,account,{}\n"
    content = {"A": row.format(100), "B": row.format(120)}
    found = []
    for states in (WAYS[way], WAYS[way][1:]):
        for state in states:
            shutil.rmtree(loader.folders.landing / "conversions", ignore_errors=True)
            for name, what in state.items():
                loader.land(f"{name.replace('c_', 'c_2026-')}.csv", content[what])
            loader.load()
        found.append(
            loader.rows(
                "select file, file_date, revenue from raw.conversions "
                "inner join raw._files on file_id = _file_id where state = 'loaded' order by all"
            )
        )
        assert [entry for entry in archive.entries(loader.folders) if entry["state"] == "loaded"]
        loader.con.execute("delete from raw._files; delete from raw.conversions")
        shutil.rmtree(loader.folders.archive)
    assert found[0] == found[1]


@pytest.mark.parametrize("seed", range(12))
def test_however_files_came_and_went_the_ledger_says_what_lies_there(
    loader: Loader, seed: int
) -> None:
    """Written, copied, swapped, renamed at random, and still there: as in a fresh state."""
    random = np.random.default_rng(seed)
    folder = loader.folders.landing / "conversions"
    names = [f"c_2026-01-0{day}.csv" for day in range(1, 5)]
    content = [HEAD + f"c{n % 3},k{n},2026-01-02,account,{n + 1}\n" for n in range(6)]
    state: dict[str, str] = {}
    loaded = (
        "select file, file_date, revenue from raw.conversions "
        "inner join raw._files on file_id = _file_id where state = 'loaded' order by all"
    )
    for _ in range(8):
        for _ in range(random.integers(1, 4)):
            one, other = random.choice(names, 2)
            match random.choice(["write", "copy", "swap", "rename"]):
                case "copy" if one in state:
                    state[other] = state[one]
                case "swap" if one in state and other in state:
                    state[one], state[other] = state[other], state[one]
                case "rename" if one in state:
                    state[other] = state.pop(one)
                case _:
                    state[one] = random.choice(content)
        shutil.rmtree(folder, ignore_errors=True)
        for name, text in state.items():
            loader.land(name, text)
        loader.load()
    known = {entry["file"] for entry in archive.entries(loader.folders)}
    found = [row for row in loader.rows(loaded) if row[0] in state]
    assert known >= {name for name, *_ in found}
    loader.con.execute("delete from raw._files; delete from raw.conversions")
    shutil.rmtree(loader.folders.archive)
    loader.load()
    assert found == loader.rows(loaded)


@pytest.mark.parametrize("nights", [1, 2])
def test_rotated_files_keep_their_rows_where_nights_were_missed(
    loader: Loader, nights: int
) -> None:
    """As long as one night of before still lies there: what its turn tells holds for all."""
    row = HEAD + "c{0},k{0},2026-01-02 03:04:05,account,{0}\n"
    newest = 3
    for _ in range(4):
        for place, number in (("", newest), (".1", newest - 1), (".2", newest - 2)):
            loader.land(f"c{place}.csv", row.format(number))
        loader.load()
        assert len(loader.conversions()) == newest
        newest += nights


@pytest.mark.parametrize("name", ["c.csv", "z.csv"])
def test_a_broken_correction_corrects_nothing_by_any_of_its_names(
    loader: Loader, name: str
) -> None:
    for content in (GOOD, GOOD + "c3,k3,tomorrow,,\n"):
        loader.land(name, content)
        loader.land("c_2026-01-09.csv", content)
        loader.load()
        assert len(loader.conversions()) == 2
    assert ("quarantined",) in loader.rows("select state from raw._files")


def test_a_file_that_was_refused_for_its_name_is_read_under_another(loader: Loader) -> None:
    loader.land("a.bak", GOOD)
    loader.load()
    assert loader.conversions() == []
    loader.land("a.csv", GOOD)
    assert loader.load()["files_loaded"] == 1
    assert loader.load()["files_loaded"] == 0
    assert len(loader.conversions()) == 2


def test_rejected_rows_of_a_file_with_another_name_by_now_are_found(loader: Loader) -> None:
    path = loader.land("c_2026-01-05.csv", GOOD + "c3,k3,tomorrow,,\n")
    loader.load()
    path.rename(path.with_name("c_2026-01-06.csv"))
    loader.load()
    [entry] = archive.entries(loader.folders)
    assert entry["file"] == "c_2026-01-06.csv"
    assert [reject["line"] for reject in rejects(loader.folders, entry)] == [4]


def test_a_copy_of_a_file_without_a_date_corrects_nothing(loader: Loader) -> None:
    """Rotated by copying, before the next one came: the oldest has left and keeps its rows."""
    row = HEAD + "c{0},k{0},2026-01-02 03:04:05,account,{0}\n"
    loader.land("c.csv", row.format(2))
    loader.land("c.1.csv", row.format(1))
    loader.load()
    loader.land("c.1.csv", row.format(2))
    loader.load()
    assert len(loader.conversions()) == 2


def test_the_first_of_a_rotated_name_is_no_correction(loader: Loader) -> None:
    loader.land("c.csv", GOOD)
    loader.load()
    loader.land("c.1.csv", GOOD)
    loader.land("c.csv", GOOD.replace("c1", "c8") + "c9,k9,tomorrow,,\n")
    counts = loader.load()
    assert (counts["files_quarantined"], counts["rows_rejected"]) == (0, 1)


def test_what_has_another_date_is_built_anew_where_another_file_lies_between(
    loader: Loader,
) -> None:
    row = HEAD + "c1,k1,2026-01-02 03:04:05,account,{}\n"
    loader.land("c_2026-01-05.csv", row.format(100))
    loader.load()
    loader.con.execute("insert into raw._built_files select file_id from raw._files")
    loader.land("c_2026-01-06.csv", row.format(100))
    loader.load()
    assert loader.rows("select count(*) from raw._built_files") == [(1,)]  # nobody else's day
    loader.land("c_2026-01-07.csv", row.format(120))
    loader.load()
    loader.con.execute("insert into raw._built_files select max(file_id) from raw._files "
                       "where file_id not in (select file_id from raw._built_files)")  # fmt: skip
    loader.land("c_2026-01-08.csv", row.format(100))
    loader.load()
    assert loader.rows(
        "select file from raw._files where file_id not in (select file_id from raw._built_files)"
    ) == [("c_2026-01-08.csv",)]


def test_each_empty_file_is_refused(loader: Loader) -> None:
    """All are alike: who accepted the loss of one did not accept that of all that come."""
    loader.land("a.csv", GOOD)
    loader.load()
    for name in ("e1.csv", "e2.csv"):
        loader.land(name, "")
    assert loader.load()["files_quarantined"] == 2
    [entry] = read_entries(loader.con, "file = 'e1.csv'", [])
    insert_entry(loader.con, entry | {"verdict": "dropped"})
    archive.append(loader.folders, [entry | {"verdict": "dropped"}])
    loader.land("e3.csv", "")
    loader.land("a.csv", "")
    assert loader.load()["files_quarantined"] == 2
    empty = [(name, "quarantined", "empty: 0 bytes") for name in ["a", "e1", "e2", "e3"]]
    expected = [(f"{name}.csv", *rest) for name, *rest in empty] + [("a.csv", "loaded", None)]
    assert sorted(loader.states(), key=str) == sorted(expected, key=str)
    assert len(loader.conversions()) == 2


def test_a_broken_correction_corrects_nothing(loader: Loader) -> None:
    loader.land("a.csv", GOOD)
    loader.load()
    path = loader.land("a.csv", GOOD + "c3,k3,tomorrow,,\n")
    counts = loader.load()
    assert (counts["files_quarantined"], counts["rows_loaded"]) == (1, 0)
    assert len(loader.conversions()) == 2
    said = "1 of 3 rows are rejected: the file of this name that was loaded before stands"
    assert (said,) in loader.rows("select reason from raw._files")
    assert len(list(loader.folders.archive.glob("conversions/*.parquet"))) == 1
    assert [reject["line"] for reject in loader.rejects()] == [4]
    path.unlink()
    loader.load()
    assert len(loader.conversions()) == 2
    # alone, the same file is read as far as it goes, and the gate judges
    loader.land("b.csv", GOOD + "c4,k3,tomorrow,,\n")
    assert loader.load()["rows_loaded"] == 2


@pytest.mark.parametrize("name", ["a.csv", "z.csv"])
def test_files_that_a_source_rotates_keep_their_rows(loader: Loader, name: str) -> None:
    """Each night the new file has the name of the last, which has moved on: no correction of it."""
    nights = [HEAD + f"c{n},k{n},2026-01-0{n + 1},,\n" for n in range(4)]
    for night in range(len(nights)):
        for age, content in enumerate(reversed(nights[: night + 1])):
            if age < 3:  # the oldest leaves
                loader.land(name if age == 0 else f"m.{age}.csv", content)
        loader.load()
        assert [row[0] for row in loader.conversions()] == [f"c{n}" for n in range(night + 1)]
        counts = loader.load()
        assert (counts["files_loaded"], counts["files_skipped"]) == (0, min(night + 1, 3))
    names = dict(loader.rows("select sha256, file from raw._files where state = 'loaded'"))
    assert names == {e["sha256"]: e["file"] for e in archive.entries(loader.folders)}
    assert sum("@" in file for file in names.values()) == 3
    # nights that were missed: all names bear what nobody has seen, and nothing is a correction
    for age, n in enumerate((7, 6, 5)):
        loader.land(f"m.{age}.csv" if age else name, HEAD + f"c{n},k{n},2026-01-09,,\n")
    loader.load()
    loaded = {row[0] for row in loader.conversions()}
    assert {"c0", "c1", "c2", "c5", "c6", "c7"} <= loaded
    # the newest had not moved on when its name came with other bytes: that is a correction
    assert "c3" not in loaded


def test_a_move_that_died_before_its_commit_is_caught_up(loader: Loader) -> None:
    loader.land("a.csv", GOOD)
    loader.load()
    [entry] = archive.entries(loader.folders)
    archive.append(loader.folders, [entry | {"file": f"a.csv@{entry['sha256'][:12]}"}])
    loader.land("a.csv", HEAD + "c9,k9,2026-01-04,account,1\n")
    loader.load()
    assert [row[0] for row in loader.conversions()] == ["c1", "c2", "c9"]


def test_a_copy_beside_a_correction_is_no_move(loader: Loader) -> None:
    loader.land("a.csv", GOOD)
    loader.load()
    loader.land("a.csv.bak", GOOD)
    loader.land("a.csv", HEAD + "c9,k9,2026-01-04,account,1\n")
    loader.load()
    assert [row[0] for row in loader.conversions()] == ["c9"]


def test_rejected_rows_of_a_file_that_moved_on_are_found(loader: Loader) -> None:
    loader.land("a.csv", HEAD + "c1,k1,2026-01-02,,\nc2,,2026-01-02,,\n")
    loader.load()
    loader.land("a.csv", "").rename(loader.folders.landing / "conversions" / "b.csv")
    loader.land("b.csv", HEAD + "c1,k1,2026-01-02,,\nc2,,2026-01-02,,\n")
    loader.load()
    [entry] = [e for e in archive.entries(loader.folders) if e["state"] == "loaded"]
    assert entry["file"].startswith("a.csv@")
    assert [reject["line"] for reject in rejects(loader.folders, entry)] == [3]


def test_times_beyond_reason_are_rejected(loader: Loader) -> None:
    loader.land("a.csv", HEAD + "c1,k,infinity,,\nc2,k,9999-12-31,,\nc3,k,0001-01-01,,\n")
    loader.land("s.csv", "date,channel,cost\ninfinity,tv,1\n9999-12-31,tv,1\n", "spend")
    counts = loader.load()
    assert (counts["rows_loaded"], counts["rows_rejected"]) == (0, 5)


def test_broken_rows_are_rejected_with_line_reason_and_raw_text(loader: Loader) -> None:
    loader.land(
        "a.csv",
        HEAD
        + "c1,k1,2026-01-02,account,10\n"
        + "c2,k2,2026-01-02,account,ten\n"
        + "c3,,2026-01-02,account,1\n"
        + "c4,k4,02.01.2026,account,1\n"
        + "c5,k5\n"
        + 'c6,"k6 lost,2026-01-02,account,1\n'
        + "c7,k7,2026-01-02,account,1,more\n"
        + '"c8","k8",2026-01-02,"two\nlines",1\n'
        + "c9,k9,2026-01-02,account,1\n",
    )
    counts = loader.load()
    assert (counts["rows_read"], counts["rows_loaded"], counts["rows_rejected"]) == (9, 3, 6)
    assert [row[0] for row in loader.conversions()] == ["c1", "c8", "c9"]
    rejects = {reject["line"]: reject for reject in loader.rejects()}
    assert {line: reject["reason"] for line, reject in rejects.items()} == {
        3: "revenue is no decimal(18,4)",
        4: "customer_id is empty",
        5: "converted_at is empty or no timestamp",
        6: "2 fields instead of 5",
        7: rejects[7]["reason"],
        8: "stands behind a quote that opens in line 7",
    }
    assert rejects[3]["raw"] == "c2,k2,2026-01-02,account,ten"
    assert rejects[7]["raw"] == 'c6,"k6 lost,2026-01-02,account,1'
    assert all(reject["file"] == "a.csv" for reject in rejects.values())


def test_quarantine_is_for_its_owner_only(loader: Loader) -> None:
    loader.land("a.csv", HEAD + "c1,,2026-01-02,account,10\n")
    loader.load()
    [path] = loader.folders.quarantine.rglob("*.jsonl")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"", "empty: 0 bytes"),
        ("a.csv", "conversion_id,customer_id\nc1,k1\n", "required column converted_at is missing"),
        ("a.csv", "conversion_id,customer_id,customer_id,converted_at\n", "columns 2 and 3"),
        ("a.csv", "\n\n", "no header"),
        ("a.csv", b"conversion_id,customer_id,converted_at\nc\xff1,k,2026-01-01\n", "not utf-8"),
        ("a.csv.gz", gzip.compress(GOOD.encode() * 99, mtime=0)[:-20], "broken gzip"),
        ("a.csv.gz", b"no gzip at all", "broken gzip"),
        ("a.parquet", b"PAR1 no parquet at all PAR1", "parquet"),
        ("a.xlsx", b"PK", "format is none of .csv"),
        ("a.jsonl", '{"conversion_id": "c1"}\n', "required column customer_id, converted_at"),
        ("a.json", '[{"conversion_id": "c1"', "not JSON"),
    ],
)
def test_file_that_breaks_the_contract_is_quarantined_whole(
    loader: Loader, name: str, content: str | bytes, reason: str
) -> None:
    landed = loader.land(name, content)
    counts = loader.load()
    assert (counts["files_quarantined"], counts["rows_read"]) == (1, 0)
    [(file, state, found)] = loader.states()
    assert (file, state) == (name, "quarantined")
    assert reason.lower() in found.lower()
    [copy] = [path for path in loader.folders.quarantine.rglob("*") if path.is_file()]
    assert copy.read_bytes() == landed.read_bytes()
    assert loader.load()["files_skipped"] == 1  # once is enough


def test_flipped_bit_in_gzip_is_found(loader: Loader) -> None:
    packed = bytearray(gzip.compress(GOOD.encode() * 50))
    packed[-6] ^= 1  # in the checksum's neighbourhood, where a lenient reader looks away
    loader.land("a.csv.gz", bytes(packed))
    assert loader.load()["files_quarantined"] == 1


def test_header_only_is_an_empty_day(loader: Loader) -> None:
    loader.land("a.csv", HEAD)
    loader.land("b.jsonl", "\n")
    counts = loader.load()
    assert (counts["files_loaded"], counts["rows_read"]) == (2, 0)


def test_blank_is_null_and_space_is_trimmed(loader: Loader) -> None:
    loader.land("a.csv", HEAD + " c1 , k1 ,2026-01-02, ,  7  \n")
    loader.load()
    [row] = loader.conversions()
    assert row == ("c1", "k1", datetime(2026, 1, 2), None, Decimal(7))


def test_ids_are_packed_without_a_look_for_repeats(loader: Loader) -> None:
    rows = "".join(f"c{number},k{number},2026-01-02,account,1\n" for number in range(5_000))
    loader.land("a.csv", HEAD + rows)
    loader.load()
    loader.con.execute("checkpoint")
    found = loader.con.execute(
        "select distinct column_name, compression from pragma_storage_info('raw.conversions') "
        "where segment_type = 'VARCHAR'"
    ).fetchall()
    packed = {name for name, how in found if how == "ZSTD"}
    assert packed == {"conversion_id", "customer_id"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_umlauts_survive_every_declared_encoding(
    loader: Loader, encoding: str, ending: str
) -> None:
    content = (HEAD + "c1,Jörg,2026-01-02,Größe für 5 €,1\n").encode(encoding)
    loader.land(f"a{ending}", gzip.compress(content) if ending == ".csv.gz" else content)
    loader.load(encoding="utf-8" if encoding == "utf-8-sig" else encoding)
    [row] = loader.conversions()
    assert (row[1], row[3]) == ("Jörg", "Größe für 5 €")


def test_decimal_comma_only_as_declared(loader: Loader) -> None:
    head = HEAD.replace(",", ";")
    loader.land("a.csv", head + "c1;k1;2026-01-02;;1234,50\nc2;k2;2026-01-02;;1.234\n")
    counts = loader.load(delimiter=";", decimal=",")
    assert counts["rows_rejected"] == 1  # a point there is no guess of ours
    assert [row[4] for row in loader.conversions()] == [Decimal("1234.5")]


def test_times_without_offset_are_in_the_declared_zone(loader: Loader) -> None:
    loader.land(
        "a.csv",
        HEAD
        + "c1,k,2026-07-01 12:00:00,,\n"
        + "c2,k,2026-01-01 12:00:00,,\n"
        + "c3,k,2026-07-01T12:00:00Z,,\n"
        + "c4,k,2026-07-01 12:00:00.5-03:30,,\n"
        + "c5,k,2026-07-01,,\n",
    )
    loader.load(time_zone="Europe/Berlin")
    assert [row[2] for row in loader.conversions()] == [
        datetime(2026, 7, 1, 10),
        datetime(2026, 1, 1, 11),
        datetime(2026, 7, 1, 12),
        datetime(2026, 7, 1, 15, 30, 0, 500_000),
        datetime(2026, 6, 30, 22),
    ]


def test_short_rows_are_padded_where_the_contract_says_so(loader: Loader) -> None:
    loader.land("a.csv", HEAD + "c1,k1,2026-01-02\nc2,k2\n")
    counts = loader.load(short_rows="pad")
    assert (counts["rows_loaded"], counts["rows_rejected"]) == (1, 1)  # a required one is missing


def test_extra_columns_are_noted_or_refused(loader: Loader) -> None:
    text = "conversion_id,customer_id,new,converted_at\nc1,k1,x,2026-01-01\n"
    loader.land("a.csv", text)
    loader.load()
    assert loader.rows("select extra_columns from raw._files") == [("new",)]
    loader.land("b.csv", text + "c2,k1,x,2026-01-01\n")
    loader.load(extra_columns="quarantine")
    assert loader.states()[1][1:] == ("quarantined", "column new is not in the contract")


def test_columns_may_come_in_any_order(loader: Loader) -> None:
    loader.land("a.csv", "converted_at,customer_id,conversion_id\n2026-01-01,k1,c1\n")
    loader.load()
    assert loader.conversions()[0][:2] == ("c1", "k1")


def test_json_lines_and_arrays(loader: Loader) -> None:
    loader.land(
        "a.jsonl",
        '{"conversion_id": "c1", "customer_id": 17, "converted_at": "2026-01-01", "revenue": NaN}\n'
        '{"conversion_id": "c2", "customer_id": "k", "converted_at": "2026-01-01", "revenue": 0.10}'
        "\n[1]\nbroken{\n",
    )
    loader.land(
        "b.json",
        '[{"conversion_id": "c3", "customer_id": "k", "converted_at": "2026-01-01", "x": {}}]',
    )
    counts = loader.load()
    assert (counts["rows_loaded"], counts["rows_rejected"]) == (3, 2)
    found = [(row[0], row[1], row[4]) for row in loader.conversions()]
    assert found == [("c1", "17", None), ("c2", "k", Decimal("0.1")), ("c3", "k", None)]
    assert [reject["line"] for reject in loader.rejects()] == [3, 4]


def test_parquet_types_are_taken_as_they_are(loader: Loader) -> None:
    table = pa.table(
        {
            "conversion_id": [1, 2, 3],
            "customer_id": ["k1", "k2", None],
            "converted_at": pa.array(
                [datetime(2026, 1, 1, 12)] * 3, pa.timestamp("us", tz="Europe/Berlin")
            ),
            "revenue": [1.5, float("nan"), 2.0],
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    loader.land("a.parquet", sink.getvalue())
    counts = loader.load()
    assert (counts["rows_loaded"], counts["rows_rejected"]) == (1, 2)
    [row] = loader.conversions()
    assert row[:3] == ("1", "k1", datetime(2026, 1, 1, 12))
    assert {reject["reason"] for reject in loader.rejects()} == {
        "customer_id is empty",
        "revenue is no decimal(18,4)",
    }


def test_unfinished_hidden_and_linked_files_are_left_alone(loader: Loader, tmp_path: Path) -> None:
    for name in ("a.csv.tmp", "b.csv.part", ".c.csv"):
        loader.land(name, GOOD)
    secret = tmp_path / "outside.csv"
    secret.write_text(GOOD)
    (loader.folders.landing / "conversions" / "d.csv").symlink_to(secret)
    (loader.folders.landing / "steps").symlink_to(tmp_path)
    assert loader.load()["rows_read"] == 0
    assert loader.states() == []
    assert loader.warnings == [
        "landing/steps is a link: move the files themselves",
        "landing/conversions/d.csv is a link: move the file itself",
    ]


def test_unknown_folder_is_named(loader: Loader) -> None:
    (loader.folders.landing / "converions").mkdir()
    loader.load()
    assert loader.warnings == ["landing/converions: no export of that name in _exports.yml"]


def test_missing_landing_folder_is_one_clear_line(loader: Loader) -> None:
    loader.folders.landing.rmdir()
    with pytest.raises(LoadError, match="ATTRIBUTION_LANDING") as refused:
        loader.load()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [GOOD, GOOD + "c3,,2026-01-01,,\n"], ids=["clean", "careful"])
def test_rows_and_ledger_come_together_or_not_at_all(
    loader: Loader, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    loader.land("a.csv", content)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(archive, "append", fail)
        with pytest.raises(LoadError, match=r"conversions/a\.csv: disk full"):
            loader.load()
    assert loader.conversions() == []
    assert loader.states() == []
    loader.load()
    assert len(loader.conversions()) == 2


def test_pseudonyms_hide_every_id_and_join_exports(loader: Loader) -> None:
    loader.key = b"secret"
    canary = "CANARY-4711"
    loader.land("a.csv", HEAD + f"c1,{canary},2026-01-02,,1\nc2,{canary},2026-01-02,,1\n")
    loader.land(
        "i.csv", f"anonymous_id,customer_id,linked_at\nv1,{canary},2026-01-01\n", "identities"
    )
    counts = loader.load()
    assert counts["rows_loaded"] == 3  # two ids of one file do not multiply its rows
    expected = pseudonym(b"secret", canary)
    assert {row[1] for row in loader.conversions()} == {expected}
    assert loader.rows("select customer_id from raw.identities") == [(expected,)]
    loader.con.execute("checkpoint")
    for path in loader.folders.state.rglob("*"):
        if path.is_file():
            assert canary.encode() not in path.read_bytes(), path


def test_pseudonym_is_hmac_sha256() -> None:
    # RFC 4231, test case 2, first 128 bits
    assert pseudonym(b"Jefe", "what do ya want for nothing?") == "5bdcc146bf60754e6a042426089575c7"


def test_another_key_is_refused(loader: Loader) -> None:
    loader.key = b"one"
    loader.land("a.csv", GOOD)
    loader.load()
    loader.key = b"two"
    with pytest.raises(LoadError, match="ATTRIBUTION_HMAC_KEY"):
        loader.load()


def test_contract_may_gain_a_column_but_not_change_a_type(loader: Loader) -> None:
    loader.land("a.csv", GOOD)
    loader.load()
    former = CONTRACT["conversions"]
    grown = replace(former, columns=(*former.columns, replace(former.columns[3], name="branch")))
    loader.contract = {"conversions": grown}
    loader.load()
    assert loader.rows("select branch from raw.conversions limit 1") == [(None,)]
    other = [replace(c, type="bigint") if c.name == "goal" else c for c in former.columns]
    loader.contract = {"conversions": replace(former, columns=tuple(other))}
    with pytest.raises(LoadError, match=r"conversions\.goal is varchar in the warehouse"):
        loader.load()


def test_file_date_comes_from_the_name(loader: Loader) -> None:
    loader.land("conversions_2026-02-03.csv", GOOD)
    loader.load()
    assert loader.rows("select file_date from raw._files") == [(date(2026, 2, 3),)]


TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00\r", exclude_categories=["Cs"]),
    max_size=12,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(goals=st.lists(TEXT, min_size=1, max_size=6), careful=st.booleans())
def test_any_text_comes_back_by_either_reader(
    loader: Loader, goals: list[str], careful: bool
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD.strip().split(","))
    for number, goal in enumerate(goals):
        writer.writerow([f"c{number}", "k", "2026-01-01", goal, "1"])
    loader.con.execute("delete from raw._files")
    shutil.rmtree(loader.folders.archive, ignore_errors=True)
    loader.con.execute("drop table if exists raw.conversions")
    loader.land("a.csv", text.getvalue())
    with pytest.MonkeyPatch.context() as patch:
        if careful:
            patch.setattr(readers, "fast", lambda *_: None)
        counts = loader.load()
    assert counts["rows_loaded"] == len(goals)
    found = dict(loader.rows("select conversion_id, goal from raw.conversions"))
    # the engine trims every kind of space, and nothing else
    space = "".join(chr(n) for n in range(0x10000) if unicodedata.category(chr(n)) == "Zs")
    assert found == {f"c{n}": goal.strip(space) or None for n, goal in enumerate(goals)}


def test_both_readers_agree_on_a_real_export(
    loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = real_export("attribution_data_62k", "attribution_data.csv.gz")
    columns = ("customer_id", "time", "interaction", "conversion", "conversion_value", "channel")
    kinds = ("varchar", "timestamp", "varchar", "bigint", "decimal(18,4)", "varchar")
    base = CONTRACT["conversions"]
    declared = [
        replace(base.columns[0], name=name, header=name, type=kind, required=True)
        for name, kind in zip(columns, kinds, strict=True)
    ]
    found = []
    for name in ("fast", "careful"):
        loader.contract = {name: replace(base, name=name, columns=tuple(declared))}
        loader.land("a.csv.gz", export.read_bytes(), export=name)
        if name == "careful":
            monkeypatch.setattr(readers, "fast", lambda *_: None)
        assert loader.load()["rows_loaded"] == 62483
        found.append(loader.rows(f"select * exclude (_file_id) from raw.{name} order by _row"))
    assert found[0] == found[1]
    assert [row[-1] for row in found[0]] == list(range(1, 62484))

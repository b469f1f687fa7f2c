"""What must hold after every fault, and how hard to try: short in the suite, long in a torture run.

`make torture` sets ATTRIBUTION_TORTURE=1, runs the same tests at their long size and shows what
they say.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb
from conftest import Home
from processes import Run

from attribution import publish
from attribution.settings import Folders

LONG = os.environ.get("ATTRIBUTION_TORTURE") == "1"
UNFINISHED = (".tmp", "warehouse.rebuilding")


def times(short: int, long: int) -> int:
    return long if LONG else short


def say(text: str) -> None:
    """Figures of a torture run; the suite is quiet."""
    if LONG:
        sys.stdout.write(f"\n  {text}\n")


def start(home: Home, *command: str, largest_file: int | None = None) -> Run:
    """A run, or another command, in a process of its own."""
    return Run(home.environment, command or ("run",), largest_file)


def folders(home: Home) -> Folders:
    return Folders.from_environment(home.environment)


def published_is_whole(home: Home) -> str | None:
    """I1 and I4: `current` is one whole version whose credit adds up; its run_id, or None."""
    place = home.path / "publish"
    run_id = publish.current(place)
    if run_id is None:
        return None
    version = place / "versions" / run_id
    assert publish.verify(version) == []
    manifest = json.loads((version / "manifest.json").read_text())
    assert manifest["run_id"] == run_id
    with duckdb.connect(version / "attribution.duckdb", read_only=True) as con:
        assert con.execute("select distinct run_id from run_manifest").fetchall() == [(run_id,)]
        credit = con.execute(
            "select model, sum(credit), sum(revenue_credit) from conversion_credit group by model"
        ).fetchall()
        booked = con.execute(
            "select model, sum(conversions), sum(revenue) from channel_credit "
            "where segment = 'all' group by model"
        ).fetchall()
    assert_close({model: sums for model, *sums in credit}, {model: sums for model, *sums in booked})
    return run_id


def assert_close(left: dict, right: dict) -> None:
    assert set(left) == set(right)
    for model, sums in left.items():
        for one, other in zip(sums, right[model], strict=True):
            assert abs(float(one) - float(other)) <= 1e-6 * max(1, abs(float(other))), model


def ledger_adds_up(home: Home) -> None:
    """I2 and I3: every landed file once, in one state; the rows of the loaded ones are there."""
    warehouse = home.path / "state" / "warehouse.duckdb"
    if not warehouse.exists():
        return
    with duckdb.connect(warehouse) as con:  # read-write: a dead run's log is replayed
        known = con.execute("select count(*) from duckdb_tables() where table_name = '_files'")
        if known.fetchall() == [(0,)]:
            return
        twice = con.execute(
            "select export, sha256 from raw._files group by all having count(*) > 1"
        ).fetchall()
        assert twice == []
        entries = con.execute(
            "select export, file_id, rows_read, rows_loaded, rows_rejected, rows_suppressed, state "
            "from raw._files"
        ).fetchall()
        for export, file_id, read, loaded, rejected, suppressed, state in entries:
            assert read == loaded + rejected + suppressed
            if state != "expired":
                [(there,)] = con.execute(
                    f'select count(*) from raw."{export}" where _file_id = ?', [file_id]
                ).fetchall()
                assert there == (loaded if state == "loaded" else 0), (export, file_id, state)


def no_litter(home: Home) -> None:
    """I6: after a good run nothing half-done lies about."""
    for place in ("state", "publish"):
        left = [
            str(path)
            for path in (home.path / place).rglob("*")
            if any(mark in path.name for mark in UNFINISHED)
        ]
        assert left == []
    assert not (home.path / "publish" / "candidate").exists()
    scratch = [path for path in (home.path / "state" / "scratch").rglob("*") if path.is_file()]
    assert scratch == []


def texts_below(places: Sequence[Path], needles: Sequence[bytes]) -> list[str]:
    """Files that hold one of the needles, in their bytes or in a value that is stored packed."""
    found = bytes_below(places, needles)
    for path in {path for place in places for path in place.rglob("*.parquet")}:
        found += _values(":memory:", path, [f"'{path}'"], needles)
    for path in {path.resolve() for place in places for path in place.rglob("*.duckdb")}:
        with duckdb.connect(path, read_only=True) as con:
            listed = con.execute("select schema_name, table_name from duckdb_tables()").fetchall()
        tables = [f'"{schema}"."{table}"' for schema, table in listed]
        found += _values(str(path), path, tables, needles)
    return found


def _values(
    database: str, path: Path, tables: Sequence[str], needles: Sequence[bytes]
) -> list[str]:
    found = []
    with duckdb.connect(database, read_only=database != ":memory:") as con:
        for table in tables:
            rows = con.execute(f"select t::varchar from {table} as t").fetchall()
            text = "\n".join(row for (row,) in rows).encode()
            found += [f"{path}: {table}" for needle in needles if needle in text]
    return found


def bytes_below(places: Sequence[Path], needles: Sequence[bytes]) -> list[str]:
    """Files below some folders that hold one of the needles."""
    return [
        str(path)
        for place in places
        for path in place.rglob("*")
        if path.is_file() and any(needle in path.read_bytes() for needle in needles)
    ]

"""What was refused, kept for its owner only: whole files, and rejected rows with line and raw text.

state/quarantine/<export>/ is the one place below state/ where ids stand as they were sent.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from attribution import archive
from attribution.errors import QuarantineError
from attribution.landing import Landed, sha256_of
from attribution.settings import Folders, Settings
from attribution.warehouse import open_warehouse, transaction

REJECTED = ".rejected.jsonl"
SHORT = 12  # digits of a SHA-256 that name a file to people
LONGEST_RAW = 100_000


def write_rejects(
    rejected: duckdb.DuckDBPyConnection, folders: Folders, export: str, sha256: str, name: str
) -> int:
    """One JSON line per rejected row (_line, reason, raw), written before the ledger says so."""
    count = 0
    (folders.quarantine / export / _name(sha256, name, REJECTED)).unlink(missing_ok=True)
    rows = rejected.fetchmany(10_000)
    if not rows:
        return 0
    with (
        _private(folders, export, _name(sha256, name, REJECTED)) as target,
        target.open("w", encoding="utf-8") as out,
    ):
        while rows:
            for line, reason, raw in rows:
                row = {"file": name, "line": line, "reason": reason, "raw": raw[:LONGEST_RAW]}
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += len(rows)
            rows = rejected.fetchmany(10_000)
    return count


def keep_file(folders: Folders, landed: Landed) -> None:
    """A private copy of a file that was refused as a whole."""
    name = _name(landed.sha256, landed.name)
    with _private(folders, landed.export.name, name) as copy:
        shutil.copyfile(landed.path, copy)


def refused(folders: Folders) -> list[dict[str, Any]]:
    """Ledger entries of refused files, and of files with rejected rows, that await a verdict."""
    return [
        entry | {"id": entry["sha256"][:SHORT]}
        for entry in archive.entries(folders)
        if entry["verdict"] != "dropped"
        and (
            entry["state"] == "quarantined"
            or (entry["state"], entry["rows_rejected"] > 0) == ("loaded", True)
        )
    ]


def find(folders: Folders, id: str) -> dict[str, Any]:
    found = [entry for entry in refused(folders) if entry["sha256"].startswith(id)]
    if len(found) != 1:
        known = ", ".join(entry["id"] for entry in refused(folders)) or "empty"
        raise QuarantineError(
            f"quarantine: {id} names {'more than one file' if found else 'no file'}; "
            f"the quarantine holds: {known}"
        )
    return found[0]


def rejects(folders: Folders, entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rejected rows of a file, as far as they are kept."""
    path = _kept(folders, entry, REJECTED)
    if path.exists():
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def requeue(folders: Folders, settings: Settings, id: str) -> dict[str, Any]:
    """Have the next load read a file again, from landing/ or, if it left there, from its copy."""
    entry = find(folders, id)
    landing = folders.landing / entry["export"]
    lies_there = any(
        path.is_file()
        and path.stat().st_size == entry["bytes"]
        and sha256_of(path) == entry["sha256"]
        for path in (landing.iterdir() if landing.is_dir() else ())
    )
    copy = _kept(folders, entry)
    if not lies_there and not copy.exists():
        raise QuarantineError(
            f"quarantine: {entry['export']}/{entry['file']} lies neither in landing/ nor in "
            "quarantine: land it again, corrected, under its name"
        )
    _judge(folders, settings, entry, "requeued")
    if not lies_there:
        landing.mkdir(parents=True, exist_ok=True)
        half = landing / f".{entry['file']}.tmp"
        shutil.copyfile(copy, half)
        half.replace(landing / entry["file"])
    return entry


def drop(folders: Folders, settings: Settings, id: str) -> dict[str, Any]:
    """Accept the loss: the gates pass over the file, and what was kept of it is removed."""
    entry = find(folders, id)
    _judge(folders, settings, entry, "dropped")
    for ending in ("", REJECTED):
        _kept(folders, entry, ending).unlink(missing_ok=True)
    return entry


def expire(folders: Folders, before: date) -> int:
    """Remove what was kept longer than allowed; the ledger goes on knowing that it was refused."""
    old = [
        path
        for path in folders.quarantine.glob("*/*")
        if date.fromtimestamp(path.stat().st_mtime) < before
    ]
    for path in old:
        path.unlink()
    return len(old)


def _judge(folders: Folders, settings: Settings, entry: dict[str, Any], verdict: str) -> None:
    judged = {key: value for key, value in entry.items() if key != "id"} | {"verdict": verdict}
    with open_warehouse(folders, settings) as con, transaction(con):
        con.execute(
            "update raw._files set verdict = ? where export = ? and sha256 = ?",
            [verdict, entry["export"], entry["sha256"]],
        )
        archive.append(folders, [judged])


def _kept(folders: Folders, entry: dict[str, Any], ending: str = "") -> Path:
    folder = folders.quarantine / str(entry["export"])
    return folder / _name(entry["sha256"], entry["file"], ending)


def _name(sha256: str, name: str, ending: str = "") -> str:
    return f"{sha256[:SHORT]}-{name[-150:]}{ending}"


@contextmanager
def _private(folders: Folders, export: str, name: str) -> Iterator[Path]:
    """A file of the quarantine, for its owner only, there whole or not at all."""
    folder = folders.quarantine / export
    folders.quarantine.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(exist_ok=True, mode=0o700)
    half = folder / f".{name}.tmp"
    half.unlink(missing_ok=True)
    half.touch(mode=0o600)
    yield half
    half.replace(folder / name)

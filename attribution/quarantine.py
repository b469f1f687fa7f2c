"""What was refused, kept for its owner only: whole files, and rejected rows with line and raw text.

state/quarantine/<export>/ is the one place below state/ where ids stand as they were sent.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from attribution.contract import Export
from attribution.landing import Landed
from attribution.pseudonyms import People
from attribution.settings import Folders
from attribution.suppression import may_name

REJECTED = ".rejected.jsonl"
SHORT = 12  # digits of a SHA-256 that name a file to people
LONGEST_RAW = 100_000
LONGEST_NAME = 150  # bytes of a file's name, its last


def write_rejects(
    rejected: duckdb.DuckDBPyConnection,
    folders: Folders,
    people: People,
    export: Export,
    name: str,
    sha256: str,
) -> int:
    """One JSON line per rejected row (_line, reason, raw), written before the ledger says so.

    The raw text is left out where it names someone who was erased, or where there is none to keep.
    """
    count = 0
    (folders.quarantine / export.name / _name(sha256, name, REJECTED)).unlink(missing_ok=True)
    rows = rejected.fetchmany(10_000)
    if not rows:
        return 0
    with (
        _private(folders, export.name, _name(sha256, name, REJECTED)) as target,
        target.open("w", encoding="utf-8") as out,
    ):
        while rows:
            for line, reason, raw in rows:
                is_kept = raw is not None and not people.knows_erased(raw, export.delimiter)
                text = raw[:LONGEST_RAW] if is_kept else None
                row = {"file": name, "line": line, "reason": reason, "raw": text}
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += len(rows)
            rows = rejected.fetchmany(10_000)
    return count


def keep_file(folders: Folders, landed: Landed, people: People) -> None:
    """A private copy of a file that was refused as a whole, unless it may name someone erased."""
    knows = partial(people.knows_erased, delimiter=landed.export.delimiter)
    if people.suppressed and may_name(landed.path, knows):
        return
    name = _name(landed.sha256, landed.name)
    with _private(folders, landed.export.name, name) as copy:
        shutil.copyfile(landed.path, copy)


def rejects(folders: Folders, entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rejected rows of a file, as far as they are kept."""
    path = kept(folders, entry, REJECTED)
    if path.exists():
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def is_rejects(path: Path) -> bool:
    """Whether rejected rows are kept there, and no whole file whose name ends alike."""
    if not path.name.endswith(REJECTED):
        return False
    try:
        with path.open(encoding="utf-8") as lines:
            return {"file", "line", "reason", "raw"} == set(json.loads(next(lines)))
    except (ValueError, TypeError, StopIteration):
        return False


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


def kept(folders: Folders, entry: dict[str, Any], ending: str = "") -> Path:
    """What is kept of a file, which may have another name by now."""
    folder = folders.quarantine / str(entry["export"])
    name = entry["file"].removesuffix(apart(entry["sha256"]))
    path = folder / _name(entry["sha256"], name, ending)
    others = folder.glob(f"{entry['sha256'][:SHORT]}-*{ending}")
    fitting = (other for other in others if is_rejects(other) == (ending == REJECTED))
    return path if path.exists() else next(fitting, path)


def apart(sha256: str) -> str:
    """What sets the name of a file apart that moved on, see `Ledger.follow`."""
    return f"@{sha256[:SHORT]}"


def _name(sha256: str, name: str, ending: str = "") -> str:
    end = name.encode()[-LONGEST_NAME:].decode(errors="ignore")
    return f"{sha256[:SHORT]}-{end}{ending}"


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

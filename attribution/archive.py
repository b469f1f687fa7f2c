"""What was loaded, kept apart from the warehouse: enough to build it anew, and to restore a night.

state/archive/<export>/<sha256>.parquet holds a file's good rows, conformed and under pseudonyms;
state/archive/journal.jsonl holds every change of the ledger in the order in which they came, a line
a transaction: a checksum, then the entries as they are from then on. A line is written before the
warehouse commits; where a run dies between the two, the next one catches up (ledger.py).
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from attribution.errors import ArchiveError
from attribution.landing import sha256_of
from attribution.settings import Folders

Entry = Mapping[str, Any]
WRITTEN = "(format parquet, compression zstd, compression_level 1, parquet_version v2)"


def rows_file(folders: Folders, export: str, sha256: str) -> Path:
    return folders.archive / export / f"{sha256}.parquet"


def rows_problem(folders: Folders, entry: Entry) -> str | None:
    """What keeps a loaded file's rows from being taken from here; None where nothing does."""
    if entry["state"] != "loaded":
        return None
    path = rows_file(folders, entry["export"], entry["sha256"])
    if not path.is_file():
        return "its rows are not in the archive"
    if sha256_of(path) != entry["archive_sha256"]:
        return "its rows in the archive are not what was written"
    return None


def append(folders: Folders, entries: Iterable[Entry]) -> None:
    """Add the entries of one transaction to the journal, on disk before this returns."""
    text = json.dumps([dict(entry) for entry in entries], ensure_ascii=False, default=str)
    folders.archive.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _journal(folders).open("a+b") as journal:
        _cut_torn_line(journal.fileno())
        journal.write(f"{_sum(text.encode())} {text}\n".encode())
        journal.flush()
        os.fsync(journal.fileno())


def lines(folders: Folders) -> list[list[dict[str, Any]]]:
    """All of the journal, the entries of each transaction together.

    Raises
    ------
    ArchiveError
        where a line is not what was written. The last may be torn: it was never committed.
    """
    try:
        whole, newline, _ = _journal(folders).read_bytes().rpartition(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(whole.split(b"\n") if newline else [], 1):
        written, _, text = line.partition(b" ")
        if written.decode("latin-1") != _sum(text):
            raise ArchiveError(
                f"{_journal(folders)}: line {number} is not what was written: restore the file "
                f"from a backup, or move {folders.state} away and land all files again"
            )
        found.append(json.loads(text))
    return found


def entries(folders: Folders) -> list[dict[str, Any]]:
    """The last entry of each file, in the order of their first."""
    return last_of(lines(folders))


def undeclared(folders: Folders, contract: Collection[str]) -> list[str]:
    """Exports that the contract declares no longer, of which rows are still kept."""
    kept = {entry["export"] for entry in entries(folders) if entry["state"] == "loaded"}
    return sorted(kept - set(contract))


def last_of(lines: Iterable[Iterable[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What the files of some lines are after the last of them."""
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for line in lines:
        for entry in line:
            last[entry["export"], entry["sha256"]] = entry
    return [entry for entry in last.values() if entry["state"] != "lost"]


def finish(folders: Folders) -> None:
    """Put in place what the journal knows and a dead run had no time to."""
    loaded = _loaded(folders)
    for half in folders.archive.glob("*/*.tmp"):
        target = half.with_suffix(".parquet")
        if target in loaded and sha256_of(half) == loaded[target]["archive_sha256"]:
            half.replace(target)


def sweep(folders: Folders) -> None:
    """Remove what a dead run left half-written, and rows that no loaded file stands for."""
    loaded = _loaded(folders)
    for path in folders.archive.glob("*/*"):
        if path not in loaded:
            path.unlink()


def _loaded(folders: Folders) -> dict[Path, Entry]:
    return {
        rows_file(folders, entry["export"], entry["sha256"]): entry
        for entry in entries(folders)
        if entry["state"] == "loaded"
    }


def _journal(folders: Folders) -> Path:
    return folders.archive / "journal.jsonl"


def _sum(text: bytes) -> str:
    return f"{zlib.crc32(text):08x}"


def _cut_torn_line(handle: int) -> None:
    """Drop what follows the last line end: what it spoke of was never committed."""
    size = os.fstat(handle).st_size
    if size and os.pread(handle, 1, size - 1) != b"\n":
        os.ftruncate(handle, os.pread(handle, size, 0).rfind(b"\n") + 1)

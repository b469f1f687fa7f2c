"""What was loaded, kept apart from the warehouse: enough to build it anew, and to restore a night.

state/archive/<export>/<sha256>.parquet holds a file's good rows, conformed and under pseudonyms;
state/archive/journal.jsonl holds every entry of the ledger in the order in which they came, so the
last line of a file is its state. A line is written before the warehouse commits: where a run dies
between the two, the file is loaded again, to the same rows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attribution.settings import Folders

Entry = Mapping[str, Any]


def rows_file(folders: Folders, export: str, sha256: str) -> Path:
    return folders.archive / export / f"{sha256}.parquet"


def append(folders: Folders, entries: Iterable[Entry]) -> None:
    """Add ledger entries to the journal, on disk before this returns."""
    lines = [json.dumps(dict(entry), ensure_ascii=False, default=str) for entry in entries]
    folders.archive.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _journal(folders).open("a+b") as journal:
        if journal.tell() and not _ends_whole(journal.fileno()):
            journal.write(b"\n")  # a line that a full disk cut short
        journal.write("".join(line + "\n" for line in lines).encode())
        journal.flush()
        os.fsync(journal.fileno())


def entries(folders: Folders) -> list[dict[str, Any]]:
    """The last entry of each file, in the order of their first."""
    last: dict[tuple[str, str], dict[str, Any]] = {}
    try:
        lines = _journal(folders).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            entry = json.loads(line)
            last[entry["export"], entry["sha256"]] = entry
        except (ValueError, KeyError, TypeError):
            continue  # cut short: what it spoke of was never committed
    return list(last.values())


def sweep(folders: Folders) -> None:
    """Remove what a dead run left half-written, and rows that no loaded file stands for."""
    if not folders.archive.is_dir():
        return
    loaded = {
        rows_file(folders, entry["export"], entry["sha256"])
        for entry in entries(folders)
        if entry["state"] == "loaded"
    }
    for path in folders.archive.glob("*/*"):
        if path not in loaded:
            path.unlink()


def _journal(folders: Folders) -> Path:
    return folders.archive / "journal.jsonl"


def _ends_whole(handle: int) -> bool:
    return os.pread(handle, 1, os.fstat(handle).st_size - 1) == b"\n"

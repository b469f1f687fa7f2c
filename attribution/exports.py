"""Landing files to raw tables: by contract, exactly once, nothing lost.

A file is known by its SHA-256. It is read into the archive by a process of its own; its rows and
its line in the ledger `raw._files` then come in one transaction.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb

from attribution import archive
from attribution.contract import Column, Export
from attribution.convert import Job, Outcome
from attribution.errors import LoadError, Unreadable
from attribution.landing import Landed, check_sidecar, identity, look, rows_said
from attribution.ledger import Ledger
from attribution.pseudonyms import People
from attribution.quarantine import keep_file
from attribution.room import check_state
from attribution.settings import Folders, one_line
from attribution.warehouse import columns_of, quote

Progress = Callable[[int, int, str], None]
Read = Callable[[Job], Outcome]
Stamp = tuple[int, int, int]
# Ids hardly repeat: looking for what repeats in them took half the time of writing all columns.
ID_PACKING = "using compression zstd"
COUNTS = (
    "files_loaded", "files_quarantined", "files_skipped", "files_waiting",
    "rows_read", "rows_loaded", "rows_rejected", "rows_suppressed",
)  # fmt: skip


def load_exports(
    con: duckdb.DuckDBPyConnection,
    contract: Mapping[str, Export],
    folders: Folders,
    people: People,
    load_id: str,
    read: Read,
    progress: Progress,
    max_bad_row_share: float,
) -> tuple[dict[str, int], list[str]]:
    """Load every landed file that is not in the ledger yet.

    people : how ids are kept, and whose are kept no longer.
    read : reads one file into the archive, see `reading.ReadingProcess`.
    max_bad_row_share : a correction with more of rejected rows corrects nothing.

    Returns the counts of COUNTS, and warnings of what was passed over.

    Raises
    ------
    LoadError
        where the landing folder is missing or unreadable, the engine is out of space or memory,
        the warehouse was lost, or earlier rows were loaded under another pseudonym key.
    """
    archive.finish(folders)
    for export in contract.values():
        create_table(con, export)
    ledger = Ledger(con, folders, contract, people.key, load_id)
    archive.sweep(folders)
    try:
        landing = look(contract, folders.landing)
    except OSError as error:
        raise LoadError(
            f"load: {one_line(error)}; set ATTRIBUTION_LANDING to a readable folder with one "
            "folder per export"
        ) from None
    check_state(folders, landing, ledger.sizes)
    counts = dict.fromkeys(COUNTS, 0)
    seen = []
    for export, path in landing.files:
        progress(0, len(landing.files), f"{export.name}/{path.name}")
        seen.append(_seen(export, path))
    ledger.follow([landed for landed, _ in seen])
    warnings = [
        f"_exports.yml declares {name} no longer; its rows stay in the archive, uncounted, for "
        "retention_days"
        for name in archive.undeclared(folders, contract)
    ]
    for number, (landed, before) in enumerate(seen):
        name = f"{landed.export.name}/{landed.name}"
        progress(number, len(seen), name)
        if ledger.knows(landed):
            warnings += _contradictions(landed, ledger)
            counts["files_skipped"] += 1
            continue
        with _of_file(name):
            limit = max_bad_row_share if ledger.corrects(landed) else 1.0
            outcome = _read(landed, folders, people, read, limit)
            if _stamp(landed.path.stat()) != before:
                landing.waiting.append(f"landing/{name} is being written")
                continue
            ledger.take(landed, outcome)
        counts[f"files_{outcome.state}"] += 1
        warnings += ledger.columns_lost(landed, outcome)
        for name in ("rows_read", "rows_loaded", "rows_rejected", "rows_suppressed"):
            counts[name] += getattr(outcome, name)
    ledger.follow([landed for landed, _ in seen])  # of those that are new, too
    ledger.mark_landed([landed for landed, _ in seen])
    progress(len(seen), len(seen), "")
    counts["files_waiting"] = len(landing.waiting)
    warnings += [f"{name}; left for the next run" for name in landing.waiting] + landing.refused
    return counts, warnings


@contextmanager
def _of_file(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException, LoadError) as error:
        raise LoadError(
            f"load: {name}: {one_line(error)}; nothing of this file was loaded: mend the cause and "
            "run again"
        ) from None


def _seen(export: Export, path: Path) -> tuple[Landed, Stamp]:
    """A file with its hash, and what would tell that it was written to since."""
    with _of_file(f"{export.name}/{path.name}"):
        before = _stamp(path.stat())
        return Landed(export, path, identity(path)), before


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _contradictions(landed: Landed, ledger: Ledger) -> list[str]:
    """A warning where a sidecar speaks against a loaded file: it came later, or is of a correction
    that has not come yet.
    """
    loaded = ledger.rows_read(landed)
    if loaded is None:
        return []
    try:
        check_sidecar(landed)
        said = rows_said(landed.path)
        problem = f"{loaded} rows, its sidecar says {said}" if said not in (None, loaded) else None
    except Unreadable as unreadable:
        problem = str(unreadable)
    name = f"landing/{landed.export.name}/{landed.name}"
    return [f"{name}: {problem}; what was loaded of it stands"] if problem else []


def _read(landed: Landed, folders: Folders, people: People, read: Read, limit: float) -> Outcome:
    """limit : the share of rejected rows above which the file is refused as a whole."""
    try:
        check_sidecar(landed)
        job = Job(landed.export.name, landed.path, landed.sha256, rows_said(landed.path))
        outcome = read(job)
        if outcome.rows_rejected > limit * outcome.rows_read:
            archive.rows_file(folders, landed.export.name, landed.sha256).unlink()
            raise Unreadable(
                f"{outcome.rows_rejected} of {outcome.rows_read} rows are rejected: the file of "
                "this name that was loaded before stands"
            )
    except Unreadable as unreadable:
        outcome = Outcome("quarantined", reason=str(unreadable))
    # where consent is needed, nobody said that a copy may be kept
    if outcome.state == "quarantined" and landed.export.consent_column is None:
        keep_file(folders, landed, people)
    return outcome


def create_table(con: duckdb.DuckDBPyConnection, export: Export) -> None:
    """The raw table of an export; columns that the contract gained since are added empty."""
    table = f"raw.{quote(export.name)}"
    there = columns_of(con, "raw", export.name)
    wanted = {column.name: column.type for column in export.columns}
    if not there:
        columns = ", ".join(
            f"{quote(column.name)} {column.type} {ID_PACKING if _is_id(column) else ''}"
            for column in export.columns
        )
        con.execute(f"create table {table} ({columns}, _file_id bigint, _row bigint)")
        return
    for name, kind in wanted.items():
        if name not in there:
            con.execute(f"alter table {table} add column {quote(name)} {kind}")
        elif there[name].lower() != kind:
            raise LoadError(
                f"load: {export.name}.{name} is {there[name].lower()} in the warehouse and {kind} "
                "in _exports.yml: put the type back, or start from an empty state folder"
            )


def _is_id(column: Column) -> bool:
    """Of a person, or of the row itself."""
    is_of_row = column.required and column.name.endswith("_id")
    return column.type == "varchar" and (column.pseudonym or is_of_row)

"""Landing files to raw tables: by contract, exactly once, nothing lost.

A file is known by its SHA-256. All of its rows and its line in the ledger `raw._files` come in one
transaction. A row that breaks the contract is rejected into state/quarantine with file, line,
reason and raw text; a file that breaks it is quarantined whole. Rows read = loaded + rejected.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb

from attribution import readers
from attribution.conform import complaint, problems, typed
from attribution.contract import Export
from attribution.errors import LoadError
from attribution.ledger import Landed, Ledger, Outcome
from attribution.readers import Relation, Unreadable
from attribution.settings import Folders, one_line
from attribution.warehouse import columns_of, literal, quote, scalar, transaction

Progress = Callable[[int, int, str], None]
UNFINISHED = (".tmp", ".part", ".crdownload", ".filepart")


def load_exports(
    con: duckdb.DuckDBPyConnection,
    contract: Mapping[str, Export],
    folders: Folders,
    key: bytes | None,
    load_id: str,
    progress: Progress,
) -> dict[str, int]:
    """Load every landed file that is not in the ledger yet.

    Returns counts: files_loaded, files_quarantined, files_skipped, rows_read, rows_loaded,
    rows_rejected.

    Raises
    ------
    LoadError
        where the landing folder is missing or unreadable, the engine is out of space or memory,
        or earlier rows were loaded under another pseudonym key.
    """
    ledger = Ledger(con, key, load_id)
    ledger.check_key()
    for export in contract.values():
        _create_table(con, export)
    try:
        files = list(_files(contract, folders.landing))
    except OSError as error:
        raise LoadError(
            f"load: {one_line(error)}; set ATTRIBUTION_LANDING to a readable folder with one "
            "folder per export"
        ) from None
    counts = dict.fromkeys(
        ("files_loaded", "files_quarantined", "files_skipped", "rows_read", "rows_loaded"), 0
    )
    seen: list[Landed] = []
    for number, (export, path) in enumerate(files):
        progress(number, len(files), f"{export.name}/{path.name}")
        try:
            landed = Landed(export, path, _sha256(path))
            seen.append(landed)
            if ledger.knows(landed):
                counts["files_skipped"] += 1
                continue
            outcome = _load_file(ledger, landed, folders)
        except (OSError, duckdb.IOException, duckdb.OutOfMemoryException) as error:
            raise LoadError(
                f"load: {export.name}/{path.name}: {one_line(error)}; nothing of this file was "
                "loaded: mend the cause and run again"
            ) from None
        counts[f"files_{outcome.state}"] += 1
        counts["rows_read"] += outcome.rows_read
        counts["rows_loaded"] += outcome.rows_loaded
    ledger.mark_landed(seen)
    progress(len(files), len(files), "")
    return counts | {"rows_rejected": counts["rows_read"] - counts["rows_loaded"]}


def unknown_folders(contract: Mapping[str, Export], landing: Path) -> list[str]:
    """Folders of the landing folder that no export claims: most often a misspelt name."""
    return sorted(
        entry.name
        for entry in landing.iterdir()
        if entry.is_dir() and entry.name not in contract and not entry.name.startswith(".")
    )


def _files(contract: Mapping[str, Export], landing: Path) -> Iterator[tuple[Export, Path]]:
    """Regular files only: a link could lead out of the landing folder."""
    names = {entry.name for entry in landing.iterdir()}
    for export in contract.values():
        folder = landing / export.name
        if export.name not in names or folder.is_symlink():
            continue
        for path in sorted(folder.iterdir()):
            hidden = path.name.startswith(".") or path.name.endswith(UNFINISHED)
            if path.is_file() and not path.is_symlink() and not hidden:
                yield export, path


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _create_table(con: duckdb.DuckDBPyConnection, export: Export) -> None:
    """The raw table of an export; columns that the contract gained since are added empty."""
    table = f"raw.{quote(export.name)}"
    there = columns_of(con, "raw", export.name)
    wanted = {column.name: column.type for column in export.columns}
    if not there:
        columns = ", ".join(f"{quote(name)} {kind}" for name, kind in wanted.items())
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


def _load_file(ledger: Ledger, landed: Landed, folders: Folders) -> Outcome:
    try:
        outcome = _read_and_insert(ledger, landed, folders)
    except Unreadable as unreadable:
        outcome = Outcome("quarantined", reason=str(unreadable))
        with _private(folders, landed, "") as copy:
            shutil.copyfile(landed.path, copy)
        with transaction(ledger.con):
            ledger.enter(landed, outcome)
    return outcome


def _read_and_insert(ledger: Ledger, landed: Landed, folders: Folders) -> Outcome:
    export = landed.export
    if readers.format_of(landed.name) is None:
        raise Unreadable(f"format is none of {', '.join(readers.FORMATS)}")
    if landed.path.stat().st_size == 0:
        raise Unreadable("empty: 0 bytes")
    plain = readers.plain_copy(export, landed.path, folders.scratch)
    try:
        relation = _open(readers.fast, ledger.con, export, plain)
        if relation is not None:
            try:
                return _insert_clean(ledger, landed, relation)
            except (duckdb.IOException, duckdb.OutOfMemoryException):
                raise
            except duckdb.Error:
                pass  # something in it is not clean: read it again, carefully
        relation = _open(readers.careful, ledger.con, export, plain)
        assert relation is not None
        return _insert_good(ledger, landed, relation, folders)
    finally:
        if plain != landed.path:
            plain.unlink()


def _open(
    read: Callable[[duckdb.DuckDBPyConnection, Export, Path], Relation | None],
    con: duckdb.DuckDBPyConnection,
    export: Export,
    path: Path,
) -> Relation | None:
    try:
        relation = read(con, export, path)
    except (duckdb.OutOfMemoryException, Unreadable):
        raise
    except duckdb.Error as error:
        raise Unreadable(one_line(error)) from None
    if relation is not None:
        missing = [c.name for c in export.columns if c.required and c.name not in relation.columns]
        if missing:
            raise Unreadable(f"required column {', '.join(missing)} is missing")
        extra = _extra(export, relation)
        if extra and export.extra_columns == "quarantine":
            raise Unreadable(f"column {extra} is not in the contract")
    return relation


def _extra(export: Export, relation: Relation) -> str | None:
    known = {column.name for column in export.columns}
    return ", ".join(sorted(set(relation.columns) - known)) or None


def _insert_clean(ledger: Ledger, landed: Landed, relation: Relation) -> Outcome:
    """One pass that stops at the first value it cannot take."""
    rows = typed(ledger.con, landed.export, relation, ledger.key)
    values = ", ".join(
        f"case when {problem} then error({literal(column.name)}) else {quote(column.name)} end"
        for column, problem in problems(landed.export, relation)
    )
    with transaction(ledger.con):
        ledger.forget_former(landed)
        ledger.con.execute(
            f"insert into raw.{quote(landed.export.name)} select {values}, ?, _row from ({rows})",
            [landed.file_id, *relation.parameters],
        )
        count = ledger.con.fetchall()[0][0]
        outcome = Outcome("loaded", count, count, _extra(landed.export, relation))
        ledger.enter(landed, outcome)
    return outcome


def _insert_good(ledger: Ledger, landed: Landed, relation: Relation, folders: Folders) -> Outcome:
    """The good rows into the table, the others into quarantine."""
    export = landed.export
    reasons = "".join(
        f" when {problem} then {literal(complaint(column))}"
        for column, problem in problems(export, relation)
    )
    ledger.con.execute(
        f"create or replace temp table checked as select *, coalesce(_reason, case{reasons} end) "
        f"as _rejected from ({typed(ledger.con, export, relation, ledger.key)})",
        relation.parameters,
    )
    columns = ", ".join(quote(column.name) for column in export.columns)
    rows_read = int(str(scalar(ledger.con, "select count(*) from checked")))
    rejected = ledger.con.execute(
        "select _line, _rejected, _raw from checked where _rejected is not null order by _row"
    )
    _write_rejects(rejected, landed, folders)
    with transaction(ledger.con):
        ledger.forget_former(landed)
        ledger.con.execute(
            f"insert into raw.{quote(export.name)} select {columns}, ?, _row from checked "
            "where _rejected is null order by _row",
            [landed.file_id],
        )
        rows_loaded = ledger.con.fetchall()[0][0]
        outcome = Outcome("loaded", rows_read, rows_loaded, _extra(export, relation))
        ledger.enter(landed, outcome)
    ledger.con.execute("drop table checked; drop table careful")
    return outcome


def _write_rejects(rejected: duckdb.DuckDBPyConnection, landed: Landed, folders: Folders) -> None:
    """One JSON line a rejected row, written before the ledger says so."""
    rows = rejected.fetchmany(10_000)
    if not rows:
        return
    with (
        _private(folders, landed, ".rejected.jsonl") as target,
        target.open("w", encoding="utf-8") as out,
    ):
        while rows:
            for line, reason, raw in rows:
                row = {"file": landed.name, "line": line, "reason": reason, "raw": raw}
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
            rows = rejected.fetchmany(10_000)


@contextmanager
def _private(folders: Folders, landed: Landed, ending: str) -> Iterator[Path]:
    """A file of the quarantine, for its owner only, there whole or not at all."""
    folder = folders.quarantine / landed.export.name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = f"{landed.sha256[:12]}-{landed.name[-150:]}{ending}"
    half = folder / f".{name}.tmp"
    half.unlink(missing_ok=True)
    half.touch(mode=0o600)
    yield half
    half.replace(folder / name)

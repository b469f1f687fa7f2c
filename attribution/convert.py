"""One landed file becomes rows of the archive: conformed, under pseudonyms, in Parquet.

Nothing here knows the warehouse, so all of it can run in a process of its own, which a hostile file
may bring down without harm. A row that breaks the contract is rejected into state/quarantine with
file, line, reason and raw text; a file that breaks it is `Unreadable` as a whole.
Rows read = loaded + rejected + suppressed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from attribution import readers
from attribution.archive import WRITTEN, rows_file
from attribution.conform import complaint, problems, typed
from attribution.contract import Export
from attribution.errors import Unreadable
from attribution.landing import sha256_of
from attribution.pseudonyms import People
from attribution.quarantine import write_rejects
from attribution.readers import Relation
from attribution.settings import Folders, one_line
from attribution.unpacking import plain_copy
from attribution.warehouse import PARQUET, literal, quote, scalar

LIKE_A_NAME = re.compile(r"(?!.*\d{4})[^\W\d][\w .:/()-]{0,39}")
TOO_MUCH_MEMORY = "takes more memory to read than memory_limit allows"


@dataclass(frozen=True)
class Job:
    """A landed file to read.

    rows : how many its sidecar says it has, None where there is none.
    """

    export: str
    path: Path
    sha256: str
    rows: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one file; the rows of a loaded one lie in the archive."""

    state: str
    rows_read: int = 0
    rows_loaded: int = 0
    rows_rejected: int = 0
    rows_suppressed: int = 0
    rows_dst_overlap: int = 0
    rows_dst_gap: int = 0
    extra_columns: str | None = None
    absent_columns: str | None = None
    reason: str | None = None
    archive_sha256: str | None = None


def convert(
    con: duckdb.DuckDBPyConnection, export: Export, job: Job, folders: Folders, people: People
) -> Outcome:
    """Read a landed file into the archive, its bad rows into quarantine.

    Raises
    ------
    OSError, duckdb.IOException, duckdb.OutOfMemoryException
        where the machine is at fault and not the file.
    """
    target = rows_file(folders, export.name, job.sha256)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    half = target.with_suffix(".tmp")
    try:
        outcome = _convert(_Reading(con, export, job, folders, people), half)
        if job.rows is not None and outcome.rows_read != job.rows:
            raise Unreadable(f"{outcome.rows_read} rows, its sidecar says {job.rows}")
    except (Unreadable, MemoryError) as error:
        half.unlink(missing_ok=True)
        is_file = isinstance(error, Unreadable)
        return Outcome("quarantined", reason=str(error) if is_file else TOO_MUCH_MEMORY)
    half.replace(target)
    return outcome


@dataclass(frozen=True)
class _Reading:
    con: duckdb.DuckDBPyConnection
    export: Export
    job: Job
    folders: Folders
    people: People


def _convert(reading: _Reading, half: Path) -> Outcome:
    con, export, path = reading.con, reading.export, reading.job.path
    if readers.format_of(path.name) is None:
        raise Unreadable(f"format is none of {', '.join(readers.FORMATS)}")
    if path.stat().st_size == 0:
        raise Unreadable("empty: 0 bytes")
    plain = plain_copy(export, path, reading.folders.scratch)
    try:
        relation = _open(readers.fast, con, export, plain)
        if relation is not None:
            try:
                outcome = _write_clean(reading, relation, half)
                if relation.rows in (None, outcome.rows_read):
                    return outcome
                # a quote that was lost may have taken in lines; one that was meant may hold some
            except (duckdb.IOException, duckdb.OutOfMemoryException):
                raise
            except duckdb.Error:
                pass  # something in it is not clean: read it again, carefully
        relation = _open(readers.careful, con, export, plain)
        assert relation is not None
        return _write_good(reading, relation, half)
    finally:
        plain.unlink(missing_ok=True)


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
        # its first line: the others show columns, which are data where there is no header
        raise Unreadable(one_line(str(error).partition("\n")[0])) from None
    if relation is not None:
        missing = [
            column.header
            for column in export.columns
            if column.header not in relation.columns
            and (column.required or column.name == export.consent_column)
        ]
        if missing:
            raise Unreadable(f"required column {', '.join(missing)} is missing")
        if not any(column.header in relation.columns for column in export.columns):
            raise Unreadable("has no column of the contract")
        extra = _extra(export, relation)
        if extra and export.extra_columns == "quarantine":
            raise Unreadable(f"column {extra} is not in the contract")
    return relation


def _extra(export: Export, relation: Relation) -> str | None:
    """Columns that the contract does not know; this is published, so no name that may be data."""
    extra = set(relation.columns) - {column.header for column in export.columns}
    names = sorted(name for name in extra - relation.rare if LIKE_A_NAME.fullmatch(name))
    if len(names) < len(extra):
        names.append(f"{len(extra) - len(names)} not named here")
    return ", ".join(names) or None


def _absent(export: Export, relation: Relation) -> str | None:
    lacking = [c.name for c in export.columns if c.header not in relation.columns]
    return ", ".join(lacking) or None


def _write_clean(reading: _Reading, relation: Relation, half: Path) -> Outcome:
    """One pass that stops at the first value it cannot take."""
    con, export = reading.con, reading.export
    rows = typed(con, export, relation, reading.people)
    values = ", ".join(
        f"case when {problem} then error({literal(column.name)}) else {quote(column.name)} end "
        f"as {quote(column.name)}"
        for column, problem in problems(export, relation)
    )
    loaded = _write(
        con,
        f"select {values}, _row, _clock_change from ({rows}) where not _suppressed",
        relation.parameters,
        half,
    )
    read = loaded
    if export.consent == "required" or reading.people.suppressed:
        count = f"select count(*) from {relation.sql}"
        read = int(str(scalar(con, count, relation.parameters)))
    return _loaded(reading, relation, half, read, 0, loaded)


def _write_good(reading: _Reading, relation: Relation, half: Path) -> Outcome:
    """The good rows into the archive, the others into quarantine."""
    con, export = reading.con, reading.export
    reasons = "".join(
        f" when {problem} then {complaint(column)}"
        for column, problem in problems(export, relation)
        if column.header in relation.columns
    )
    rows = typed(con, export, relation, reading.people)
    con.execute(
        f"create or replace temp table checked as select *, case when not _suppressed "
        f"then coalesce(_reason, case{reasons} end) end as _rejected "
        f"from ({rows})",
        relation.parameters,
    )
    columns = ", ".join(quote(column.name) for column in export.columns)
    read = int(str(scalar(con, "select count(*) from checked")))
    rejected = con.execute(  # where consent is needed, nobody said that the text may be kept
        "select _line, _rejected, case when ? then _raw end from checked "
        "where _rejected is not null order by _row",
        [export.consent_column is None],
    )
    job = reading.job
    bad = write_rejects(
        rejected, reading.folders, reading.people, export, job.path.name, job.sha256
    )
    loaded = _write(
        con,
        f"select {columns}, _row, _clock_change from checked "
        "where not _suppressed and _rejected is null order by _row",
        [],
        half,
    )
    con.execute("drop table checked; drop table careful")
    return _loaded(reading, relation, half, read, bad, loaded)


def _write(con: duckdb.DuckDBPyConnection, rows: str, parameters: list[object], half: Path) -> int:
    return int(
        str(
            scalar(
                con,
                f"copy ({rows}) to {literal(str(half))} {WRITTEN}",
                parameters,
            )
        )
    )


def _loaded(
    reading: _Reading, relation: Relation, half: Path, read: int, bad: int, loaded: int
) -> Outcome:
    changes = dict(
        reading.con.execute(
            f"select _clock_change, count(*) from {PARQUET} "
            "where _clock_change is not null group by all",
            [str(half)],
        ).fetchall()
    )
    return Outcome(
        "loaded",
        rows_read=read,
        rows_loaded=loaded,
        rows_rejected=bad,
        rows_suppressed=read - loaded - bad,
        rows_dst_overlap=changes.get("overlap", 0),
        rows_dst_gap=changes.get("gap", 0),
        extra_columns=_extra(reading.export, relation),
        absent_columns=_absent(reading.export, relation),
        archive_sha256=sha256_of(half),
    )

"""Is everything in place for a run? One question a line, each asked even where others fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb

from attribution import archive, publish, verdicts
from attribution.contract import read_contract
from attribution.entries import check_key
from attribution.errors import ArchiveError, AttributionError, LoadError
from attribution.settings import Folders, hmac_key, load_settings, one_line
from attribution.warehouse import columns_of, open_warehouse, quote, scalar


def examine(folders: Folders) -> Iterator[tuple[str, str | None]]:
    """Pairs of (what was examined, the problem found or None)."""
    yield _asked("settings", lambda: load_settings(folders.dbt_project))
    yield _asked("load contract", lambda: read_contract(folders.contract))
    yield _asked("pseudonym key", lambda: _ask_key(folders))
    yield f"landing folder {folders.landing}", _folder(folders.landing, os.R_OK | os.X_OK)
    for name, folder in (("state", folders.state), ("publish", folders.publish)):
        yield f"{name} folder {folder}", _writable(folder)
    yield _asked("archive", lambda: _compare_archive(folders))
    if folders.warehouse.exists():
        yield _asked("warehouse", lambda: _query_warehouse(folders))
        yield _asked("refused files", lambda: _ask_quarantine(folders))
    if publish.current(folders.publish):
        yield _asked("published version", lambda: _verify(folders))


def _asked(what: str, question: Callable[[], object]) -> tuple[str, str | None]:
    try:
        question()
    except AttributionError as error:
        return what, str(error)
    return what, None


def _folder(folder: Path, rights: int) -> str | None:
    if not folder.is_dir():
        return "is no folder"
    return None if os.access(folder, rights) else "its rights do not suffice"


def _writable(folder: Path) -> str | None:
    """A folder that will be made counts by the nearest one that exists."""
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    return _folder(nearest, os.R_OK | os.W_OK | os.X_OK)


def _query_warehouse(folders: Folders) -> None:
    """Read every block of every table: the next night goes on from them."""
    settings = load_settings(folders.dbt_project)
    try:
        with open_warehouse(folders, settings, read_only=True) as con:
            tables = con.execute("select schema_name, table_name from duckdb_tables()").fetchall()
            for schema, name in tables:
                scalar(con, f"select bit_xor(hash(t)) from {quote(schema)}.{quote(name)} as t")
    except duckdb.Error as error:
        raise AttributionError(
            f"{one_line(error)}: `attribution rebuild` makes it anew from the archive"
        ) from None


def _compare_archive(folders: Folders) -> None:
    """Whether the warehouse holds the files that the archive does, of the exports there are.

    Those of the journal's last line may be missing: the next load takes them up by itself.
    """
    here: set[tuple[str, str]] = set()
    try:
        contract, journal = read_contract(folders.contract), archive.lines(folders)
        if folders.warehouse.exists():
            settings = load_settings(folders.dbt_project)
            with open_warehouse(folders, settings, read_only=True) as con:
                if columns_of(con, "raw", "_files"):
                    here = set(con.execute("select export, sha256 from raw._files").fetchall())
        known = {
            (entry["export"], entry["sha256"])
            for entry in archive.last_of(journal[:-1] if folders.warehouse.exists() else journal)
            if entry["state"] == "loaded" and entry["export"] in contract
        }
    except ArchiveError:
        raise
    except (OSError, duckdb.Error, AttributionError):
        return  # the questions about contract and warehouse say what they have
    if known - here:
        raise AttributionError(
            f"holds {len(known - here)} files that the warehouse lacks: `attribution rebuild` "
            "makes it anew from them"
        )


def _ask_key(folders: Folders) -> None:
    settings = load_settings(folders.dbt_project)
    key = hmac_key(settings)
    try:
        with open_warehouse(folders, settings, read_only=True) as con:
            if columns_of(con, "raw", "_files"):
                check_key(con, key)
    except LoadError:
        raise
    except (duckdb.Error, AttributionError):
        return  # there is none yet, or the question about the warehouse says what it has


def _ask_quarantine(folders: Folders) -> None:
    """Files for which the next night would be refused: those refused as a whole that still lie in
    landing/, and loaded ones with too many rejected rows.
    """
    limit = load_settings(folders.dbt_project).max_bad_row_share
    contract = read_contract(folders.contract)
    found = [
        f"{entry['export']}/{entry['file']}"
        for entry in verdicts.refused(folders)
        if entry["export"] in contract
        and (
            entry["rows_rejected"] > limit * entry["rows_read"]
            or (entry["state"] == "quarantined" and verdicts.is_landed(folders, entry))
        )
    ]
    if found:
        raise AttributionError(
            f"{', '.join(found[:3])}{' and more' if len(found) > 3 else ''}: "
            "`attribution quarantine list` says why; correct it under its name, take away what was "
            "refused as a whole, or accept the loss by `attribution quarantine drop`"
        )


def _verify(folders: Folders) -> None:
    problems = publish.verify(folders.publish / "current")
    if problems:
        raise AttributionError(f"{problems[0]}: `attribution rollback`, or run again")

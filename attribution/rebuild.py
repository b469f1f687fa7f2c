"""The warehouse built anew from the archive: raw tables, ledger, credit history.

All else in it is what the next run builds from these, to the same hashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from attribution import archive
from attribution.contract import Export
from attribution.entries import check_journal, insert_entry, insert_rows
from attribution.errors import RebuildError
from attribution.exports import Progress, create_table
from attribution.publish import versions
from attribution.settings import Folders, Settings, one_line
from attribution.warehouse import PARQUET, open_warehouse, transaction


def rebuild(
    folders: Folders, settings: Settings, contract: Mapping[str, Export], progress: Progress
) -> tuple[dict[str, int], list[str]]:
    """Put a new warehouse in the place of the old one, which may be broken or gone.

    Returns the counts files, rows, and warnings of files whose archived rows are lost: those are
    loaded again when they are landed again.

    Raises
    ------
    RebuildError
        where there is no archive, or it cannot be read; the old warehouse then stays as it was.
    LoadError
        where the old warehouse holds files that the archive's journal lacks.
    """
    archive.finish(folders)
    check_journal(folders, settings, contract)
    known = [entry for entry in archive.entries(folders) if entry["export"] in contract]
    if not known:
        raise RebuildError(
            f"rebuild: {folders.archive} holds nothing to build from: run `attribution run` on the "
            "landed files"
        )
    half = folders.state / "warehouse.rebuilding.duckdb"
    _remove(half)
    counts, warnings, lost = {"files": 0, "rows": 0}, [], []
    try:
        with open_warehouse(folders, settings, path=half) as con:
            for export in contract.values():
                create_table(con, export)
            for number, entry in enumerate(known):
                progress(number, len(known), f"{entry['export']}/{entry['file']}")
                problem = archive.rows_problem(folders, entry)
                if problem:
                    warnings.append(f"{entry['export']}/{entry['file']}: {problem}; land it again")
                    lost.append(entry | {"state": "lost"})
                    continue
                with transaction(con):
                    insert_entry(con, entry)
                    if entry["state"] == "loaded":
                        insert_rows(con, folders, entry)
                counts["files"] += 1
                counts["rows"] += entry["rows_loaded"]
            _restore_history(con, folders)
            con.execute("checkpoint")
    except (OSError, duckdb.Error) as error:
        _remove(half)
        raise RebuildError(
            f"rebuild: {one_line(error)}; the warehouse is as it was: mend the cause, then again"
        ) from None
    # A log of the old warehouse must not be replayed into the new one.
    Path(f"{folders.warehouse}.wal").unlink(missing_ok=True)
    half.replace(folders.warehouse)
    if lost:
        archive.append(folders, lost)
    (folders.state / "run.json").unlink(missing_ok=True)
    progress(len(known), len(known), "")
    return counts, warnings


def _restore_history(con: duckdb.DuckDBPyConnection, folders: Folders) -> None:
    """What former nights said stands in published versions only, all of it in the newest."""
    for version in versions(folders.publish)[-1:]:
        history = version / "parquet" / "credit_history.parquet"
        con.execute("create schema if not exists marts")
        con.execute(
            f"create table marts.credit_history as from {PARQUET}", [str(history.resolve())]
        )


def _remove(database: Path) -> None:
    for path in (database, Path(f"{database}.wal")):
        path.unlink(missing_ok=True)

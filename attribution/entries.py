"""Entries of `raw._files`, each with the rows of its file: written, and brought to where the
journal of the archive stands.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import duckdb

from attribution import archive
from attribution.errors import AttributionError, LoadError
from attribution.landing import file_id
from attribution.pseudonyms import key_id
from attribution.settings import Folders, Settings
from attribution.warehouse import PARQUET, columns_of, open_warehouse, quote, scalar, transaction


def catch_up(con: duckdb.DuckDBPyConnection, folders: Folders, exports: Collection[str]) -> None:
    """Bring the warehouse to the end of the journal, from which a dead run may have left it a line.

    exports : names in the contract; files of others are in the journal alone.

    Raises
    ------
    LoadError
        where the two differ in more than that: one of them was lost, or restored from another
        night, and what a run would publish would look whole.
    """
    journal = archive.lines(folders)
    here = {
        (entry["export"], entry["sha256"]): _stand(entry)
        for entry in read_entries(con, "list_contains(?, export)", [sorted(exports)])
    }
    there, before = (
        {
            (entry["export"], entry["sha256"]): _stand(entry)
            for entry in archive.last_of(lines)
            if entry["export"] in exports
        }
        for lines in (journal, journal[:-1])
    )
    if here == there:
        return
    if here == before:
        _take_again(con, folders, [e for e in journal[-1] if e["export"] in exports])
        return
    _check_keys(folders, here.keys() - there.keys())
    differing = sum(here.get(file) != stand for file, stand in there.items())
    raise LoadError(
        f"load: the archive knows {differing} files otherwise than the warehouse, which was lost, "
        "or restored, or an erasure was not finished: `attribution rebuild` makes it anew from the "
        "archive"
    )


def check_journal(folders: Folders, settings: Settings, exports: Collection[str]) -> None:
    """Refuse to go by a journal that lacks files of the warehouse, as far as that can be opened."""
    if not folders.warehouse.exists():
        return
    try:
        with open_warehouse(folders, settings, read_only=True) as con:
            here = read_entries(con, "list_contains(?, export)", [sorted(exports)])
    except (AttributionError, duckdb.Error):
        return  # broken, which is what an archive is for
    there = {(entry["export"], entry["sha256"]) for entry in archive.entries(folders)}
    _check_keys(folders, {(entry["export"], entry["sha256"]) for entry in here} - there)


def _check_keys(folders: Folders, lacking: set[tuple[str, str]]) -> None:
    if lacking:
        raise LoadError(
            f"the archive's journal lacks {len(lacking)} files that the warehouse holds: restore "
            f"{folders.archive} from a backup, or move {folders.state} away and land all files "
            "again"
        )


def _stand(entry: dict[str, Any]) -> tuple[str, str, str | None, str | None]:
    return entry["file"], entry["state"], entry["verdict"], entry["archive_sha256"]


def _take_again(
    con: duckdb.DuckDBPyConnection, folders: Folders, entries: list[dict[str, Any]]
) -> None:
    with transaction(con):
        for entry in entries:
            problem = archive.rows_problem(folders, entry)
            if problem:
                raise LoadError(f"load: {entry['file']}: {problem}: `attribution rebuild`")
            insert_entry(con, entry)
            delete_rows(con, entry)
            if entry["state"] == "loaded":
                insert_rows(con, folders, entry)


# Where a file's date changes, others dated between the two may have won over its rows, or lost.
REDATED = """
delete from raw._built_files where file_id in (
    select was.file_id
    from (select *, coalesce(file_date, date '0001-01-01') as day from raw._files) as was
    inner join (
        select *, coalesce(file_date, date '0001-01-01') as day from raw._files
    ) as other using (export)
    cross join (select coalesce($day::date, date '0001-01-01') as day) as now
    where was.export = $export and was.sha256 = $sha256 and other.sha256 <> $sha256
        and was.day <> now.day
        and other.day between least(was.day, now.day) and greatest(was.day, now.day)
)
"""


def insert_entry(con: duckdb.DuckDBPyConnection, entry: dict[str, Any]) -> None:
    """Write an entry of the ledger over an earlier one of the same file."""
    now = {"export": entry["export"], "sha256": entry["sha256"], "day": entry["file_date"]}
    con.execute(REDATED, now)
    con.execute(
        "delete from raw._files where export = ? and sha256 = ?", [entry["export"], entry["sha256"]]
    )
    names = ", ".join(f"? as {quote(name)}" for name in entry)
    con.execute(
        f"insert into raw._files by name select ? as file_id, true as is_landed, {names}",
        [file_id(entry["export"], entry["sha256"]), *entry.values()],
    )


def read_entries(
    con: duckdb.DuckDBPyConnection, where: str, parameters: list[Any]
) -> list[dict[str, Any]]:
    found = con.execute(
        f"select * exclude (file_id, is_landed) "
        f"replace (file_date::varchar as file_date, loaded_at::varchar as loaded_at) "
        f"from raw._files where {where} order by export, file, sha256",
        parameters,
    )
    names = [column[0] for column in found.description or []]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def insert_rows(con: duckdb.DuckDBPyConnection, folders: Folders, entry: dict[str, Any]) -> None:
    """A file's rows, from the archive into its raw table.

    Columns that it lacks are NULL; those that the contract declares no longer stay behind.
    """
    path = str(archive.rows_file(folders, entry["export"], entry["sha256"]))
    there = con.execute(f"describe select * from {PARQUET}", [path]).fetchall()
    here = columns_of(con, "raw", entry["export"])
    columns = ", ".join(quote(name) for name, *_ in there if name in here)
    con.execute(
        f"insert into raw.{quote(entry['export'])} by name "
        f"select {columns}, cast(? as bigint) as _file_id from {PARQUET}",
        [file_id(entry["export"], entry["sha256"]), path],
    )


def delete_rows(con: duckdb.DuckDBPyConnection, entry: dict[str, Any]) -> None:
    con.execute(
        f"delete from raw.{quote(entry['export'])} where _file_id = ?",
        [file_id(entry["export"], entry["sha256"])],
    )


def check_key(con: duckdb.DuckDBPyConnection, key: bytes | None) -> None:
    """Refuse to mix pseudonyms of two keys.

    Raises
    ------
    LoadError
    """
    other = scalar(
        con,
        "select max(key_id) from raw._files where state = 'loaded' and key_id is distinct from ?",
        [key_id(key)],
    )
    if other is not None:
        raise LoadError(
            f"load: earlier rows carry ids under key {other}, this run brings "
            f"{key_id(key)}: the same customer would become two; set the earlier "
            "ATTRIBUTION_HMAC_KEY (and `pseudonymise`), or start from an empty state folder"
        )

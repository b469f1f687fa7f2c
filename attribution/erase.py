"""A customer leaves: archive, quarantine, warehouse and published versions, and stays away.

What is left is a token in the suppression list, so that a later delivery is not kept, and a receipt
that counts rows and names no one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from attribution import archive
from attribution.contract import Export
from attribution.entries import check_journal
from attribution.errors import EraseError
from attribution.exports import Progress
from attribution.landing import sha256_of
from attribution.pseudonyms import People, bare, key_id, readings
from attribution.quarantine import is_rejects
from attribution.rebuild import rebuild
from attribution.settings import Folders, Settings, one_line
from attribution.suppression import may_name, people, suppress
from attribution.warehouse import PARQUET, literal, open_reader, quote


def erase(
    folders: Folders,
    settings: Settings,
    contract: Mapping[str, Export],
    key: bytes | None,
    identifiers: Sequence[str],
    progress: Progress,
) -> dict[str, Any]:
    """Remove customers from state/; the published versions follow with the next run.

    identifiers : customer ids as the exports have them; visitors linked to them go too.

    Returns the receipt: customers, visitors, rows by export, quarantined rows and files; and how
    many names of landed files, which stay, may hold one of the ids.

    Raises
    ------
    EraseError
        where the archive cannot be read or written; what was begun is finished by erasing again.
    """
    asked = {bare(identifier) for identifier in identifiers}
    if not asked or "" in asked:
        raise EraseError("erase: name at least one customer id, and none that is empty")
    _check_key(folders, key)
    known = people(folders, key)
    stored = {known.stored(identifier) for identifier in asked}
    try:
        archive.finish(folders)
        check_journal(folders, settings, contract)
        _check_archive(folders)
        archive.sweep(folders)
        _sweep(folders)
        with open_reader(folders, settings) as con:
            visitors = _linked(con, folders, contract, stored) - stored
            # first of all, so that a file loaded after a crash does not bring them back
            known = suppress(folders, known, stored | visitors)
            ids = stored | visitors
            rows = {
                export.name: _erase_from_archive(con, folders, export.name, export.pseudonyms, ids)
                for export in contract.values()
            }
            # of exports that were declared once nobody knows the columns any more
            for name in archive.undeclared(folders, contract):
                texts = _texts(con, _archived(folders, name))
                rows[name] = _erase_from_archive(con, folders, name, texts, ids)
        quarantined = _erase_from_quarantine(folders, contract, asked, known)
        if archive.entries(folders):
            rebuild(folders, settings, contract, progress)
        receipt = {
            "erased_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "customers": len(asked),
            "visitors": len(visitors),
            "rows": rows,
            **quarantined,
            "file_names": sum(
                bool(_words(asked).search(entry["file"])) for entry in archive.entries(folders)
            ),
        }
        _write_receipt(folders, receipt)
    except (OSError, duckdb.Error) as error:
        raise EraseError(
            f"erase: {one_line(error)}; it is not finished: mend the cause and erase again"
        ) from None
    return receipt


def _check_key(folders: Folders, key: bytes | None) -> None:
    """Under another key they would be other people, and nobody would be erased."""
    keys = {e["key_id"] for e in archive.entries(folders) if e["state"] == "loaded"}
    if keys - {key_id(key)}:
        raise EraseError(
            f"erase: rows carry ids under key {min(keys - {key_id(key)})}, this is {key_id(key)}: "
            "nobody was erased: set the ATTRIBUTION_HMAC_KEY (and `pseudonymise`) that they were "
            "loaded with"
        )


def _sweep(folders: Folders) -> None:
    """Drop what a dead erasure or load left half written: it may name somebody."""
    for folder in (folders.state / "receipts", folders.quarantine):
        for half in folder.rglob(".*.tmp"):
            half.unlink()


def _check_archive(folders: Folders) -> None:
    """All others must come out of this whole, so nothing is begun on a damaged archive."""
    for entry in archive.entries(folders):
        problem = archive.rows_problem(folders, entry)
        if problem:
            raise EraseError(
                f"erase: {entry['export']}/{entry['file']}: {problem}; nothing was erased yet: "
                "`attribution rebuild`, land the file again, run, then erase"
            )


def _linked(
    con: duckdb.DuckDBPyConnection,
    folders: Folders,
    contract: Mapping[str, Export],
    stored: set[str],
) -> set[str]:
    """Visitors who turned out to be one of the customers."""
    files = _archived(folders, "identities") if "identities" in contract else []
    if not files:
        return set()
    found = con.execute(
        f"select distinct anonymous_id from {PARQUET} "
        "where customer_id in (select unnest(?::varchar[]))",
        [files, sorted(stored)],
    ).fetchall()
    return {visitor for (visitor,) in found}


def _texts(con: duckdb.DuckDBPyConnection, files: Sequence[str]) -> list[str]:
    """The text columns of some archived files."""
    described = con.execute(
        "describe select * from read_parquet(?, hive_partitioning = false, union_by_name = true)",
        [files],
    ).fetchall()
    return [name for name, kind, *_ in described if kind == "VARCHAR"]


def _is_theirs(columns: Sequence[str]) -> str:
    return " or ".join(
        f"coalesce({quote(name)} in (select unnest($ids::varchar[])), false)" for name in columns
    )


def _erase_from_archive(
    con: duckdb.DuckDBPyConnection,
    folders: Folders,
    export: str,
    columns: Sequence[str],
    stored: set[str],
) -> int:
    """Write the files that hold one of the ids anew without them; the number of rows that left.

    columns : where ids may stand; files that came before the contract gained one lack it.
    """
    files = _archived(folders, export)
    columns = [name for name in columns if files and name in _texts(con, files)]
    if not columns:
        return 0
    is_theirs = _is_theirs(columns)
    theirs = con.execute(
        f"select filename, count(*) from read_parquet($files, filename = true, "
        f"hive_partitioning = false, union_by_name = true) where {is_theirs} "
        "group by filename",
        {"files": files, "ids": sorted(stored)},
    ).fetchall()
    entries = {
        str(archive.rows_file(folders, entry["export"], entry["sha256"])): entry
        for entry in archive.entries(folders)
    }
    for path, rows in theirs:
        entry = entries[path]
        half = Path(path).with_suffix(".tmp")
        is_theirs = _is_theirs([name for name in columns if name in _texts(con, [path])])
        con.execute(
            "copy (select * from read_parquet($file, hive_partitioning = false) "
            f"where not ({is_theirs}) order by _row) "
            f"to {literal(str(half))} {archive.WRITTEN}",
            {"file": path, "ids": sorted(stored)},
        )
        entry["rows_loaded"] -= rows
        entry["rows_suppressed"] += rows
        entry["archive_sha256"] = sha256_of(half)
        archive.append(folders, [entry])  # where this dies here, the next sweep ends the swap
        half.replace(path)
    return sum(rows for _, rows in theirs)


def _archived(folders: Folders, export: str) -> list[str]:
    return [
        str(archive.rows_file(folders, entry["export"], entry["sha256"]))
        for entry in archive.entries(folders)
        if (entry["export"], entry["state"]) == (export, "loaded")
    ]


def _erase_from_quarantine(
    folders: Folders, contract: Mapping[str, Export], asked: set[str], people: People
) -> dict[str, int]:
    """Remove rejected rows that name one of the erased, and whole files that may.

    Visitors are known by their pseudonyms alone, so each word of a text is compared with those.
    """
    counts = {"quarantined_rows": 0, "quarantined_files": 0}
    said = _words(asked)

    def named(text: str, delimiter: str) -> bool:
        return any(map(said.search, readings(text))) or people.knows_erased(text, delimiter)

    for path in folders.quarantine.glob("*/*"):
        export = contract.get(path.parent.name)
        names = partial(named, delimiter=export.delimiter if export else ",")
        if is_rejects(path):
            with path.open(encoding="utf-8", newline="\n") as text:
                lines = list(text)
            kept = [line for line in lines if not names(json.loads(line)["raw"] or "")]
            counts["quarantined_rows"] += len(lines) - len(kept)
            if len(kept) < len(lines):
                _replace(path, "".join(kept))
        elif may_name(path, names):
            path.unlink()
            counts["quarantined_files"] += 1
    return counts


def _words(asked: set[str]) -> re.Pattern[str]:
    """Whole words: the customer 12 is not named by 2012."""
    each = "|".join(re.escape(one) for one in sorted(asked))
    return re.compile(rf"(?<![^\W_])({each})(?![^\W_])")


def _write_receipt(folders: Folders, receipt: Mapping[str, Any]) -> None:
    folder = folders.state / "receipts"
    folder.mkdir(exist_ok=True, mode=0o700)
    name = str(receipt["erased_at"]).replace(":", "").replace("+0000", "Z")
    _replace(folder / f"erased-{name}.json", json.dumps(receipt, indent=1))


def _replace(path: Path, text: str) -> None:
    half = path.with_name(f".{path.name}.tmp")
    half.write_text(text, encoding="utf-8")
    half.chmod(0o600)
    half.replace(path)

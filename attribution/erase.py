"""A customer leaves: archive, quarantine, warehouse and published versions, and stays away.

What is left is a token in the suppression list, so that a later delivery is not kept, and a receipt
that counts rows and names no one.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from attribution import archive
from attribution.contract import Export
from attribution.errors import EraseError
from attribution.exports import Progress
from attribution.landing import sha256_of
from attribution.quarantine import REJECTED
from attribution.rebuild import rebuild
from attribution.settings import Folders, Settings, one_line
from attribution.suppression import people, suppress
from attribution.warehouse import literal, open_reader, quote

ENCODINGS = ("utf-8", "cp1252", "utf-16-le", "utf-16-be")


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

    Returns the receipt: customers, visitors, rows by export, quarantined rows and files.

    Raises
    ------
    EraseError
        where the archive cannot be read or written; what was begun is finished by erasing again.
    """
    asked = {identifier.strip() for identifier in identifiers}
    if not asked or "" in asked:
        raise EraseError("erase: name at least one customer id, and none that is empty")
    known = people(folders, key)
    stored = {known.stored(identifier) for identifier in asked}
    try:
        with open_reader(folders, settings) as con:
            visitors = _linked(con, folders, contract, stored) - stored
            # first of all, so that a file loaded after a crash does not bring them back
            suppress(folders, known, stored | visitors)
            rows = {
                export.name: _erase_from_archive(con, folders, export, stored | visitors)
                for export in contract.values()
            }
        quarantined = _erase_from_quarantine(folders, asked | stored | visitors)
        rebuild(folders, settings, contract, progress)
        receipt = {
            "erased_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "customers": len(asked),
            "visitors": len(visitors),
            "rows": rows,
            **quarantined,
        }
        _write_receipt(folders, receipt)
    except (OSError, duckdb.Error) as error:
        raise EraseError(
            f"erase: {one_line(error)}; it is not finished: mend the cause and erase again"
        ) from None
    return receipt


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
        "select distinct anonymous_id from read_parquet(?) "
        "where customer_id in (select unnest(?::varchar[]))",
        [files, sorted(stored)],
    ).fetchall()
    return {visitor for (visitor,) in found}


def _erase_from_archive(
    con: duckdb.DuckDBPyConnection, folders: Folders, export: Export, stored: set[str]
) -> int:
    """Write the files that hold one of the ids anew without them; the number of rows that left."""
    if not export.pseudonyms or not (files := _archived(folders, export.name)):
        return 0
    is_theirs = " or ".join(
        f"coalesce({quote(name)} in (select unnest($ids::varchar[])), false)"
        for name in export.pseudonyms
    )
    theirs = con.execute(
        f"select filename, count(*) from read_parquet($files, filename = true, "
        f"union_by_name = true) where {is_theirs} group by filename",
        {"files": files, "ids": sorted(stored)},
    ).fetchall()
    entries = {
        str(archive.rows_file(folders, entry["export"], entry["sha256"])): entry
        for entry in archive.entries(folders)
    }
    for path, rows in theirs:
        entry = entries[path]
        half = Path(path).with_suffix(".tmp")
        con.execute(
            f"copy (select * from read_parquet($file) where not ({is_theirs}) order by _row) "
            f"to {literal(str(half))} (format parquet, compression zstd)",
            {"file": path, "ids": sorted(stored)},
        )
        entry["rows_loaded"] -= rows
        entry["rows_suppressed"] += rows
        entry["archive_sha256"] = sha256_of(half)
        half.replace(path)
        archive.append(folders, [entry])
    return sum(rows for _, rows in theirs)


def _archived(folders: Folders, export: str) -> list[str]:
    return [
        str(archive.rows_file(folders, entry["export"], entry["sha256"]))
        for entry in archive.entries(folders)
        if (entry["export"], entry["state"]) == (export, "loaded")
    ]


def _erase_from_quarantine(folders: Folders, identifiers: set[str]) -> dict[str, int]:
    """Remove rejected rows that name an id, and whole files that may."""
    counts = {"quarantined_rows": 0, "quarantined_files": 0}
    # whole words: the customer 12 is not named by 2012
    named = re.compile(rf"(?<!\w)({'|'.join(re.escape(one) for one in sorted(identifiers))})(?!\w)")
    for path in folders.quarantine.glob("*/*"):
        if path.name.endswith(REJECTED):
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if not named.search(json.loads(line)["raw"] or "")]
            counts["quarantined_rows"] += len(lines) - len(kept)
            if len(kept) < len(lines):
                _replace(path, "".join(kept))
        elif _may_name(path, identifiers):
            path.unlink()
            counts["quarantined_files"] += 1
    return counts


def _may_name(path: Path, identifiers: set[str]) -> bool:
    """Whether an id stands in a file, or might: what cannot be unpacked may hold anyone."""
    opened: Callable[..., Any] = gzip.open if path.name.endswith(".gz") else open
    if path.suffix == ".parquet":
        return True
    try:
        with opened(path, "rb") as packed:
            content = packed.read()
    except (OSError, EOFError, gzip.zlib.error):  # type: ignore[attr-defined]
        return True
    for identifier in identifiers:
        for encoding in ENCODINGS:
            try:
                if identifier.encode(encoding) in content:
                    return True
            except UnicodeEncodeError:
                continue
    return False


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

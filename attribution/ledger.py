"""The ledger `raw._files`: every landed file, once, in exactly one state."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any

import duckdb

from attribution import archive
from attribution.convert import Outcome
from attribution.entries import (
    catch_up,
    check_key,
    delete_rows,
    insert_entry,
    insert_rows,
    read_entries,
)
from attribution.landing import Landed
from attribution.pseudonyms import key_id
from attribution.quarantine import apart
from attribution.readers import format_of
from attribution.settings import Folders
from attribution.warehouse import transaction

Entry = dict[str, Any]
Bytes = tuple[str, str]  # an export, and the hash of a file of its
Lies = dict[Bytes, list[Landed]]  # where bytes lie in landing/


class Ledger:
    """Entries of one load: they carry its id, and the id of its pseudonym key."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        folders: Folders,
        exports: Collection[str],
        key: bytes | None,
        load_id: str,
    ) -> None:
        self.con, self.folders, self.key, self.load_id = con, folders, key, load_id
        catch_up(con, folders, exports)
        check_key(con, key)
        known = con.execute(
            "select export, file, sha256, state, verdict, rows_read, bytes from raw._files"
        ).fetchall()
        self._states: dict[tuple[str, str], str] = {
            (export, sha): verdict if verdict == "requeued" else state
            for export, _, sha, state, verdict, *_ in known
        }
        self._names = {(export, sha): file for export, file, sha, *_ in known}
        self.sizes = {(export, size) for export, *_, size in known}
        loaded = [row for row in known if row[3] == "loaded"]
        self._loaded = {(export, file): sha for export, file, sha, *_ in loaded}
        self._rows = {(export, sha): rows for export, _, sha, *_, rows, _ in loaded}
        self._lies = Lies()

    def corrects(self, landed: Landed) -> bool:
        """Whether other bytes are loaded under this name, or another under which these lie."""
        return any(map(self._replaces, [landed, *self._lies.get(_bytes_of(landed), [])]))

    def _replaces(self, landed: Landed) -> bool:
        return self._loaded.get((landed.export.name, landed.name)) not in (None, landed.sha256)

    def knows(self, landed: Landed) -> bool:
        """Whether these bytes were loaded or quarantined already, under whatever name."""
        key = _bytes_of(landed)
        state = self._states.get(key)
        if state == "quarantined":  # perhaps for its ending alone
            return format_of(self._names[key]) == format_of(landed.name)
        return state not in (None, "replaced", "requeued")

    def rows_read(self, landed: Landed) -> int | None:
        """Of the rows of these bytes, where they are loaded under this name."""
        is_loaded = self._loaded.get((landed.export.name, landed.name)) == landed.sha256
        return self._rows[_bytes_of(landed)] if is_loaded else None

    def follow(self, landed: Sequence[Landed]) -> None:
        """Give known files the names under which they lie, as where a value returned to what it was
        before, or where a source rotates its files.

        Of names with a date the latest counts, and gives its date: in whatever order files come,
        they count as if they had come at once. What was loaded under a name that now bears other
        known bytes is corrected by them. A file that moved to a name without a date is set apart,
        by `@` and its hash behind the name that it came with: what comes under any of its names is
        no correction of it, be it months later.
        """
        self._lies = lies = Lies()
        for file in landed:
            if format_of(file.name):  # a copy that nothing reads moved nowhere
                lies.setdefault(_bytes_of(file), []).append(file)
        entries = read_entries(self.con, "state = 'loaded'", [])
        now = _turned(entries, [_renamed(e, lies.get(_key(e), ())) for e in entries], lies)
        moved = [after for before, after in zip(entries, now, strict=True) if after != before]
        gone = _corrected(now, lies)
        if not moved and not gone:
            return
        replaced = [entry | {"state": "replaced"} for entry in gone]
        with transaction(self.con):
            for entry in [*moved, *replaced]:
                insert_entry(self.con, entry)
            for entry in replaced:
                delete_rows(self.con, entry)
            archive.append(self.folders, [*moved, *replaced])
        self._loaded = {(e["export"], e["file"]): e["sha256"] for e in now if e not in gone}
        self._drop_replaced(replaced)

    def take(self, landed: Landed, outcome: Outcome) -> None:
        """Rows and entry of a file in one transaction; new bytes of an old name replace its rows.

        The journal of the archive is written last before the commit: see archive.py.
        """
        entry = self._entry(landed, outcome)
        with transaction(self.con):
            replaced = self._forget_former(landed) if outcome.state == "loaded" else []
            if _bytes_of(landed) in self._states:
                delete_rows(self.con, entry)
            insert_entry(self.con, entry)
            if outcome.state == "loaded":
                insert_rows(self.con, self.folders, entry)
            archive.append(self.folders, [*replaced, entry])
        self._drop_replaced(replaced)
        self._states[_bytes_of(landed)] = outcome.state
        self._names[_bytes_of(landed)] = landed.name
        if outcome.state == "loaded":
            self._loaded[landed.export.name, landed.name] = landed.sha256
            self._rows[_bytes_of(landed)] = outcome.rows_read

    def columns_lost(self, landed: Landed, outcome: Outcome) -> list[str]:
        """A warning where a file lacks columns that an earlier one of its kind had."""
        if outcome.state != "loaded" or not outcome.absent_columns:
            return []
        earlier = self.con.execute(
            "select coalesce(absent_columns, '') from raw._files where export = ? "
            "and state = 'loaded' and sha256 <> ? "
            r"and regexp_replace(file, '\d+', '', 'g') = regexp_replace(?, '\d+', '', 'g')",
            [landed.export.name, landed.sha256, landed.name],
        ).fetchall()
        lost = [
            column
            for column in outcome.absent_columns.split(", ")
            if any(column not in absent.split(", ") for (absent,) in earlier)
        ]
        if not lost:
            return []
        return [
            f"landing/{landed.export.name}/{landed.name} has no column {', '.join(lost)}; files of "
            "its name had before"
        ]

    def mark_landed(self, files: Sequence[Landed]) -> None:
        """Note which files still lie in landing/: a quarantined one that does stops the run."""
        self.con.execute(
            "update raw._files set is_landed = (export || '/' || sha256) in "
            "(select unnest(?::varchar[]))",
            [[f"{landed.export.name}/{landed.sha256}" for landed in files]],
        )

    def _drop_replaced(self, replaced: Sequence[dict[str, Any]]) -> None:
        """Let go of rows in the archive that no entry stands for any more."""
        for former in replaced:
            self._states[former["export"], former["sha256"]] = "replaced"
            archive.rows_file(self.folders, former["export"], former["sha256"]).unlink(
                missing_ok=True
            )

    def _forget_former(self, landed: Landed) -> list[dict[str, Any]]:
        """The entries of files that this one replaces, their rows removed."""
        if not self._replaces(landed):
            return []
        former = read_entries(
            self.con,
            "export = ? and file = ? and state = 'loaded' and sha256 <> ?",
            [landed.export.name, landed.name, landed.sha256],
        )
        for entry in former:
            entry["state"] = "replaced"
            insert_entry(self.con, entry)
            delete_rows(self.con, entry)
        return former

    def _entry(self, landed: Landed, outcome: Outcome) -> dict[str, Any]:
        return {
            "export": landed.export.name,
            "file": landed.name,
            "sha256": landed.sha256,
            "bytes": landed.path.stat().st_size,
            "file_date": _day_of(landed),
            **asdict(outcome),
            "key_id": key_id(self.key),
            "load_id": self.load_id,
            "loaded_at": datetime.now(UTC).replace(tzinfo=None).isoformat(),
            "verdict": None,
        }


def _bytes_of(file: Landed) -> Bytes:
    return file.export.name, file.sha256


def _key(entry: Entry) -> Bytes:
    return entry["export"], entry["sha256"]


def _day_of(file: Landed) -> str | None:
    return _date(file.export.date_of(file.name))


def _renamed(entry: Entry, lies: Sequence[Landed]) -> Entry:
    """An entry under the name that it has where its bytes lie now, if anywhere."""
    dated = [(day, file.name) for file in lies if (day := _day_of(file))]
    if dated:
        day, name = max(dated)
        return entry | {"file": name, "file_date": day}
    if not lies or entry["file"] in {file.name for file in lies}:
        return entry
    return _set_apart(entry)


def _turned(before: Sequence[Entry], now: Sequence[Entry], lies: Lies) -> list[Entry]:
    """Where one night's file was turned on to another name, those that left are set apart, too:
    what bears their names now is another night's.
    """
    families = {
        (after["export"], _family(after["file"]))
        for former, after in zip(before, now, strict=True)
        if after["file"] == _set_apart(former)["file"] != former["file"]
    }
    return [
        _set_apart(entry)
        if entry["file_date"] is None
        and _key(entry) not in lies
        and (entry["export"], _family(entry["file"])) in families
        else entry
        for entry in now
    ]


def _corrected(now: Sequence[Entry], lies: Lies) -> list[Entry]:
    """Entries whose bytes lie nowhere, and whose dated name bears those of another."""
    loaded = {_key(entry) for entry in now}
    taken = {
        (export, file.name)
        for (export, sha), files in lies.items()
        for file in files
        if (export, sha) in loaded and _day_of(file)
    }
    return [e for e in now if _key(e) not in lies and (e["export"], e["file"]) in taken]


def _set_apart(entry: Entry) -> Entry:
    mark = apart(entry["sha256"])
    return entry | {"file": entry["file"].removesuffix(mark) + mark}


def _family(name: str) -> str:
    """Names that differ by numbers alone: t.csv, t.1.csv, t.2.csv."""
    return re.sub(r"[._-]?\d+", "", name.partition("@")[0])


def _date(text: str | None) -> str | None:
    try:
        return date.fromisoformat(text).isoformat() if text else None
    except ValueError:
        return None

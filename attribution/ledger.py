"""The ledger `raw._files`: every landed file, once, in exactly one state."""

from __future__ import annotations

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
            "select export, file, sha256, state, verdict from raw._files"
        ).fetchall()
        self._states: dict[tuple[str, str], str] = {
            (export, sha): verdict if verdict == "requeued" else state
            for export, _, sha, state, verdict in known
        }
        self.names = {(export, file) for export, file, *_ in known}
        self._loaded = {
            (export, file): sha for export, file, sha, state, _ in known if state == "loaded"
        }

    def holds(self, landed: Landed) -> bool:
        """Whether other bytes of this name are loaded, which these would correct."""
        return self._loaded.get((landed.export.name, landed.name)) not in (None, landed.sha256)

    def knows(self, landed: Landed) -> bool:
        """Whether these bytes were loaded or quarantined already, under whatever name."""
        state = self._states.get((landed.export.name, landed.sha256))
        return state not in (None, "replaced", "requeued")

    def rows_read(self, landed: Landed) -> int | None:
        """Of the rows of these bytes, where they are loaded."""
        found = self.con.execute(
            "select rows_read from raw._files where export = ? and sha256 = ? and state = 'loaded'",
            [landed.export.name, landed.sha256],
        ).fetchone()
        return found[0] if found else None

    def follow(self, landed: Sequence[Landed]) -> None:
        """Set known files apart that lie under another name now, as where a source rotates them:
        what comes under any of their names is no correction of them, be it months later.

        Apart by `@` and their hash, behind the name that they came with.
        """
        names: dict[tuple[str, str], set[str]] = {}
        for file in landed:
            if format_of(file.name):  # a copy that nothing reads moved nowhere
                names.setdefault((file.export.name, file.sha256), set()).add(file.name)
        moved = [
            entry | {"file": f"{entry['file']}{apart(entry['sha256'])}"}
            for entry in read_entries(self.con, "state = 'loaded'", [])
            if (found := names.get((entry["export"], entry["sha256"])))
            and entry["file"] not in found
            and not entry["file"].endswith(apart(entry["sha256"]))
        ]
        if moved:
            with transaction(self.con):
                for entry in moved:
                    insert_entry(self.con, entry)
                archive.append(self.folders, moved)

    def adopt(self, landed: Landed) -> None:
        """Known bytes that come again under another name replace what that had brought, and count
        as delivered on its date where that is later: a value may return to what it was before. What
        had no date keeps none, and what moved corrects nothing: it may have been rotated.
        """
        found = read_entries(
            self.con,
            "export = ? and sha256 = ? and state = 'loaded' and file <> ?",
            [landed.export.name, landed.sha256, landed.name],
        )
        day = _date(landed.export.date_of(landed.name))
        later = [e | {"file": landed.name, "file_date": day} for e in found if _is_later(day, e)]
        stays = any(not entry["file"].endswith(apart(entry["sha256"])) for entry in found)
        if not later and not (stays and self.holds(landed)):
            return
        with transaction(self.con):
            replaced = self._forget_former(landed)
            for entry in later:
                insert_entry(self.con, entry)
            archive.append(self.folders, [*replaced, *later])
        self._drop_replaced(replaced)
        self._loaded.pop((landed.export.name, landed.name), None)
        self._loaded |= {(entry["export"], entry["file"]): entry["sha256"] for entry in later}

    def take(self, landed: Landed, outcome: Outcome) -> None:
        """Rows and entry of a file in one transaction; new bytes of an old name replace its rows.

        The journal of the archive is written last before the commit: see archive.py.
        """
        entry = self._entry(landed, outcome)
        with transaction(self.con):
            replaced = self._forget_former(landed) if outcome.state == "loaded" else []
            if (landed.export.name, landed.sha256) in self._states:
                delete_rows(self.con, entry)
            insert_entry(self.con, entry)
            if outcome.state == "loaded":
                insert_rows(self.con, self.folders, entry)
            archive.append(self.folders, [*replaced, entry])
        self._drop_replaced(replaced)
        self._states[landed.export.name, landed.sha256] = outcome.state
        if outcome.state == "loaded":
            self._loaded[landed.export.name, landed.name] = landed.sha256

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
        if (landed.export.name, landed.name) not in self._loaded:
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
            "file_date": _date(landed.export.date_of(landed.name)),
            **asdict(outcome),
            "key_id": key_id(self.key),
            "load_id": self.load_id,
            "loaded_at": datetime.now(UTC).replace(tzinfo=None).isoformat(),
            "verdict": None,
        }


def _is_later(day: str | None, entry: dict[str, Any]) -> bool:
    return day is not None and entry["file_date"] is not None and day > entry["file_date"]


def _date(text: str | None) -> str | None:
    try:
        return date.fromisoformat(text).isoformat() if text else None
    except ValueError:
        return None

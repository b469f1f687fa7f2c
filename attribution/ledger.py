"""The ledger `raw._files`: every landed file, once, in exactly one state."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from attribution.contract import Export
from attribution.errors import LoadError
from attribution.pseudonyms import key_id
from attribution.warehouse import quote, scalar


@dataclass(frozen=True)
class Landed:
    """A file in its landing folder, as found."""

    export: Export
    path: Path
    sha256: str

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def file_id(self) -> int:
        """60 bits of a hash of export and content: the same file has the same id everywhere."""
        digest = hashlib.sha256(f"{self.export.name}/{self.sha256}".encode())
        return int(digest.hexdigest()[:15], 16)


@dataclass(frozen=True)
class Outcome:
    """What became of one file; rows_read = rows_loaded + rows rejected."""

    state: str
    rows_read: int = 0
    rows_loaded: int = 0
    extra_columns: str | None = None
    reason: str | None = None


class Ledger:
    """Entries of one load: they carry its id, and the id of its pseudonym key."""

    def __init__(self, con: duckdb.DuckDBPyConnection, key: bytes | None, load_id: str) -> None:
        self.con, self.key, self.load_id = con, key, load_id
        states = con.execute("select export, file, sha256, state from raw._files").fetchall()
        self._states: dict[tuple[str, str], str] = {
            (export, sha): state for export, _, sha, state in states
        }
        self._loaded = {(export, file) for export, file, _, state in states if state == "loaded"}

    def check_key(self) -> None:
        """Refuse to mix pseudonyms of two keys."""
        other = scalar(
            self.con,
            "select max(key_id) from raw._files "
            "where state = 'loaded' and key_id is distinct from ?",
            [key_id(self.key)],
        )
        if other is not None:
            raise LoadError(
                f"load: earlier rows carry ids under key {other}, this run brings "
                f"{key_id(self.key)}: the same customer would become two; set the earlier "
                "ATTRIBUTION_HMAC_KEY (and `pseudonymise`), or start from an empty state folder"
            )

    def knows(self, landed: Landed) -> bool:
        """Whether these bytes were loaded or quarantined already, under whatever name."""
        state = self._states.get((landed.export.name, landed.sha256), "replaced")
        return state != "replaced"

    def forget_former(self, landed: Landed) -> None:
        """New bytes under an old name replace what that file brought."""
        if (landed.export.name, landed.name) not in self._loaded:
            return
        former = self.con.execute(
            "update raw._files set state = 'replaced' "
            "where export = ? and file = ? and state = 'loaded' returning file_id, sha256",
            [landed.export.name, landed.name],
        ).fetchall()
        for file_id, sha256 in former:
            self._states[landed.export.name, sha256] = "replaced"
            self.con.execute(
                f"delete from raw.{quote(landed.export.name)} where _file_id = ?", [file_id]
            )

    def enter(self, landed: Landed, outcome: Outcome) -> None:
        if (landed.export.name, landed.sha256) in self._states:
            self.con.execute(
                "delete from raw._files where export = ? and sha256 = ?",
                [landed.export.name, landed.sha256],
            )
        self.con.execute(
            "insert into raw._files by name select ? as file_id, ? as export, ? as file, "
            "? as sha256, ? as bytes, try_cast(? as date) as file_date, ? as state, "
            "? as rows_read, ? as rows_loaded, ? as rows_rejected, ? as extra_columns, "
            "? as reason, ? as key_id, ? as load_id, ? as loaded_at, true as is_landed",
            [
                landed.file_id,
                landed.export.name,
                landed.name,
                landed.sha256,
                landed.path.stat().st_size,
                landed.export.date_of(landed.name),
                outcome.state,
                outcome.rows_read,
                outcome.rows_loaded,
                outcome.rows_read - outcome.rows_loaded,
                outcome.extra_columns,
                outcome.reason,
                key_id(self.key),
                self.load_id,
                datetime.now(UTC).replace(tzinfo=None),
            ],
        )
        self._states[landed.export.name, landed.sha256] = outcome.state
        if outcome.state == "loaded":
            self._loaded.add((landed.export.name, landed.name))

    def mark_landed(self, files: Sequence[Landed]) -> None:
        """Note which files still lie in landing/: a quarantined one that does stops the run."""
        self.con.execute(
            "update raw._files set is_landed = (export || '/' || sha256) in "
            "(select unnest(?::varchar[]))",
            [[f"{landed.export.name}/{landed.sha256}" for landed in files]],
        )

"""What is kept no longer than the settings say: archived rows and the quarantine."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from attribution import archive, quarantine
from attribution.contract import Export
from attribution.entries import delete_rows, insert_entry, read_entries
from attribution.settings import Folders, Settings
from attribution.warehouse import columns_of, open_warehouse, quote, transaction

KEPT = ("identities",)  # an old link still says who a visitor of today is


def expire_quarantine(folders: Folders, settings: Settings) -> int:
    """Remove what was refused too long ago; the number of files."""
    today = datetime.now(UTC).date()
    return quarantine.expire(folders, today - timedelta(days=settings.quarantine_days))


def expire_files(
    folders: Folders, settings: Settings, contract: Mapping[str, Export], run_date: date
) -> int:
    """Remove files all of whose times lie before every window that a later run may ask for."""
    if settings.retention_days == "all" or settings.window_days == "all":
        return 0
    lookback = max([settings.lookback_days, *settings.lookback_days_by_goal.values()])
    days = max(settings.retention_days, settings.window_days + lookback)
    expired = 0
    with open_warehouse(folders, settings) as con:
        for export in contract.values():
            times = [c.name for c in export.columns if c.required and c.type == "timestamp"]
            if not times or export.name in KEPT or not columns_of(con, "raw", export.name):
                continue
            newest = ", ".join(f"max({quote(name)})" for name in times)
            old = con.execute(
                f"select _file_id from raw.{quote(export.name)} group by _file_id "
                f"having greatest({newest}) < ?",
                [run_date - timedelta(days=days)],
            ).fetchall()
            for (file_id,) in old:
                [entry] = read_entries(con, "file_id = ?", [file_id])
                expired += 1
                _expire(con, folders, entry)
        loaded_before = (run_date - timedelta(days=days)).isoformat()
        for entry in archive.entries(folders):  # of what is declared no longer only this is known
            is_loaded = entry["state"] == "loaded"
            if is_loaded and entry["export"] not in contract and entry["loaded_at"] < loaded_before:
                expired += 1
                _expire(con, folders, entry)
    return expired


def _expire(con: Any, folders: Folders, entry: dict[str, Any]) -> None:
    entry["state"] = "expired"
    with transaction(con):
        if columns_of(con, "raw", entry["export"]):
            insert_entry(con, entry)
            delete_rows(con, entry)
        archive.append(folders, [entry])
    archive.rows_file(folders, entry["export"], entry["sha256"]).unlink(missing_ok=True)

"""What an operator says of the files that were refused, and of those with rejected rows."""

from __future__ import annotations

import shutil
from typing import Any

from attribution import archive
from attribution.contract import read_contract
from attribution.entries import catch_up
from attribution.errors import QuarantineError
from attribution.landing import identity
from attribution.quarantine import REJECTED, SHORT, kept
from attribution.settings import Folders, Settings
from attribution.warehouse import open_warehouse, transaction

SHORTEST = 8  # digits of an id that may stand for it


def refused(folders: Folders) -> list[dict[str, Any]]:
    """Ledger entries of refused files, and of files with rejected rows, that await a verdict.

    A refused file that lies there no longer, and under whose name another is loaded, awaits none.
    """
    entries = archive.entries(folders)
    loaded = {_name(entry) for entry in entries if entry["state"] == "loaded"}
    return [
        entry | {"id": entry["sha256"][:SHORT]}
        for entry in entries
        if entry["verdict"] != "dropped"
        and (
            (
                entry["state"] == "quarantined"
                and (_name(entry) not in loaded or is_landed(folders, entry))
            )
            or (entry["state"] == "loaded" and entry["rows_rejected"] > 0)
        )
    ]


def _name(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["export"], entry["file"]


def find(folders: Folders, id: str) -> dict[str, Any]:
    """The entry of an id as `quarantine list` shows it, or of EXPORT/FILE, or of EXPORT/ID."""
    entries = refused(folders)
    export, slash, rest = id.partition("/")
    found = [
        entry
        for entry in entries
        if (not slash or entry["export"] == export)
        and (
            (slash and entry["file"] == rest)
            or (len(text := rest if slash else id) >= SHORTEST and entry["sha256"].startswith(text))
        )
    ]
    if len(found) != 1:
        known = ", ".join(f"{entry['export']}/{entry['id']}" for entry in entries) or "empty"
        raise QuarantineError(
            f"quarantine: {id} names {'more than one file' if found else 'no file'}; "
            f"the quarantine holds: {known}"
        )
    return found[0]


def is_landed(folders: Folders, entry: dict[str, Any]) -> bool:
    """Whether a file of these bytes lies in landing/, under whatever name."""
    landing = folders.landing / entry["export"]
    return any(
        path.is_file()
        and path.stat().st_size == entry["bytes"]
        and identity(path) == entry["sha256"]
        for path in (landing.iterdir() if landing.is_dir() else ())
    )


def requeue(folders: Folders, settings: Settings, id: str) -> dict[str, Any]:
    """Have the next load read a file again, from landing/ or, if it left there, from its copy."""
    entry = find(folders, id)
    lies_there, copy = is_landed(folders, entry), kept(folders, entry)
    if not lies_there and not copy.exists():
        raise QuarantineError(
            f"quarantine: {entry['export']}/{entry['file']} lies neither in landing/ nor in "
            "quarantine: land it again, corrected, under its name"
        )
    landing = folders.landing / entry["export"]
    if not lies_there and (landing / entry["file"]).exists():
        raise QuarantineError(
            f"quarantine: another file lies in landing/ as {entry['export']}/{entry['file']}, its "
            f"correction perhaps: move that away first, or `attribution quarantine drop {id}`"
        )
    _judge(folders, settings, entry, "requeued")
    if not lies_there:
        landing.mkdir(parents=True, exist_ok=True)
        half = landing / f".{entry['file']}.tmp"
        shutil.copyfile(copy, half)
        half.replace(landing / entry["file"])
    return entry


def drop(folders: Folders, settings: Settings, id: str) -> dict[str, Any]:
    """Accept the loss: the gates pass over the file, and what was kept of it is removed."""
    entry = find(folders, id)
    _judge(folders, settings, entry, "dropped")
    for ending in ("", REJECTED):
        kept(folders, entry, ending).unlink(missing_ok=True)
    return entry


def _judge(folders: Folders, settings: Settings, entry: dict[str, Any], verdict: str) -> None:
    judged = {key: value for key, value in entry.items() if key != "id"} | {"verdict": verdict}
    with open_warehouse(folders, settings) as con:
        catch_up(con, folders, read_contract(folders.contract))
        with transaction(con):
            con.execute(
                "update raw._files set verdict = ? where export = ? and sha256 = ?",
                [verdict, entry["export"], entry["sha256"]],
            )
            archive.append(folders, [judged])

"""Versions that differ in one number only, so that a reader who mixes two of them shows it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
from conftest import Home

from attribution import publish
from attribution.publish import STORAGE_VERSION
from attribution.settings import Folders

STAMPED = ("run_manifest", "channel_performance", "channel_credit_daily")
# What a reader asks for: the number of each table, each row of which bears it.
NUMBERS = (
    "select min(m.run_id) as first, max(m.run_id) as last, "
    "min(p.cost) as lowest, max(d.cost) as highest "
    "from run_manifest as m cross join channel_performance as p cross join "
    "(select max(cost) as cost from channel_credit_daily) as d"
)


def publish_numbered(bank: Home, folders: Folders, number: int) -> None:
    """Publish the bank's version again, as the line does, under a number."""
    candidate = folders.publish / "candidate"
    shutil.copytree(bank.current, candidate)
    for path in [candidate, *candidate.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    stamp(candidate, number)
    manifest = json.loads((candidate / "manifest.json").read_text())
    (candidate / "manifest.json").unlink()
    run_id = f"2026-03-01_20260302T{number:09d}Z"
    publish._write_manifest(candidate, manifest | {"run_id": run_id, "files": {}})
    publish.publish(folders, 7, run_id)


def stamp(candidate: Path, number: int) -> None:
    database = candidate / "attribution.duckdb"
    with duckdb.connect() as con:
        con.execute(f"attach '{database}' as v (storage_version '{STORAGE_VERSION}')")
        con.execute(f"update v.run_manifest set run_id = '{number}'")
        for table in STAMPED[1:]:
            con.execute(f"update v.{table} set cost = {number}")
        for table in STAMPED:
            path = candidate / "parquet" / f"{table}.parquet"
            con.execute(f"copy v.{table} to '{path}' (format parquet)")

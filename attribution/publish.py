"""Candidate versions, the swap, rollback.

A version is a folder written whole before anyone can see it; `publish/current`, one symbolic link,
is the only pointer. Readers that hold an older version keep it undisturbed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from attribution import __version__
from attribution.documents import write_documents
from attribution.errors import PublishError
from attribution.runs import RunRecord
from attribution.settings import Folders, Settings, one_line
from attribution.warehouse import columns_of, joined_texts, literal, quote

# Published tables with their keys. Columns that tell when and not what are no part of the hash.
MARTS: dict[str, tuple[str, ...]] = {
    "channel_credit": ("model", "goal", "segment", "segment_value", "channel"),
    "channel_performance": ("model", "channel"),
    "campaign_performance": ("basis", "period_from", "model", "channel", "campaign"),
    "channel_credit_daily": ("date", "model", "goal", "channel"),
    "conversion_credit": ("model", "conversion_id", "channel"),
    "touchpoint_credit": ("model", "conversion_id", "touchpoint_id"),
    "conversion_paths": ("goal", "path"),
    "credit_history": ("run_date", "model", "goal", "channel"),
    "load_files": ("export", "file", "sha256"),
    "load_set_aside": ("export", "reason"),
    "ladder_stages": ("goal", "stage"),
    "ladder_effects": ("goal", "stage", "channel"),
    "lift_tests": ("goal", "channel", "lift", "standard_error"),
    "model_diagnostics": ("model", "goal", "segment", "segment_value", "name"),
}
NOT_HASHED = {"load_files": ("load_id", "loaded_at")}
UNHASHED = ("credit_history",)  # it remembers runs, so it may differ between equal inputs
STORAGE_VERSION = "v1.2.0"  # BI drivers bundle older engines
PACKAGES = ("duckdb", "dbt-core", "dbt-duckdb", "great-expectations", "numpy", "scipy")


def stage(
    con: duckdb.DuckDBPyConnection,
    folders: Folders,
    settings: Settings,
    record: RunRecord,
    run_id: str,
) -> dict[str, Any]:
    """Write the candidate version, whole: database, Parquet, documents, manifest.

    Returns the manifest.
    """
    candidate = folders.publish / "candidate"
    try:
        shutil.rmtree(candidate, ignore_errors=True)
        (candidate / "parquet").mkdir(parents=True)
        manifest = _manifest(con, settings, record, run_id)
        _write_tables(con, candidate, manifest)
        write_documents(candidate, manifest, _before(folders.publish, manifest["run_date"]))
        _write_manifest(candidate, manifest)
    except (OSError, duckdb.IOException) as error:
        raise PublishError(
            f"stage: {one_line(error)}; the published version is untouched: free space or set "
            "ATTRIBUTION_PUBLISH to a folder that this user may write, then run again"
        ) from None
    return manifest


def publish(folders: Folders, keep: int, run_id: str) -> Path:
    """Move the candidate among the versions and point `current` at it; drop the oldest.

    run_id : of the candidate. Where it is among the versions already, as after a kill in between,
        it is only pointed at.

    Raises
    ------
    PublishError
        where there is no whole candidate; `current` then still points where it did.
    """
    staged, moved = folders.publish / "candidate", folders.publish / "versions" / run_id
    if moved.exists() and not staged.exists():
        staged = moved
    manifest = read_manifest(staged)
    problems = verify(staged, manifest)
    if problems:
        raise PublishError(f"publish: the candidate is not whole: {problems[0]}; run `stage` again")
    target = folders.publish / "versions" / str(manifest["run_id"])
    try:
        target.parent.mkdir(exist_ok=True)
        staged.rename(target)
        _point_current_at(folders.publish, target.name)
        for old in versions(folders.publish)[:-keep]:
            if old.name != current(folders.publish):
                shutil.rmtree(old)
    except OSError as error:
        raise PublishError(f"publish: {one_line(error)}; see the rights of {target}") from None
    return target


def keep_only_current(folders: Folders) -> None:
    """Drop every other version: they hold what the current one must no longer hold."""
    for old in versions(folders.publish):
        if old.name != current(folders.publish):
            shutil.rmtree(old)


def rollback(folders: Folders, run_id: str | None = None) -> str:
    """Point `current` at an earlier version, the one before it by default; returns its run_id."""
    names = [path.name for path in versions(folders.publish)]
    now = current(folders.publish)
    if now is None:
        raise PublishError("rollback: nothing was published yet")
    earlier = names[: names.index(now)] if now in names else names
    if run_id is None and not earlier:
        raise PublishError(f"rollback: {now} is the oldest version kept")
    target = run_id or earlier[-1]
    if target not in names:
        raise PublishError(f"rollback: no version {target}; there are {', '.join(names)}")
    problems = verify(folders.publish / "versions" / target)
    if problems:
        raise PublishError(f"rollback: {target} is damaged: {problems[0]}")
    _point_current_at(folders.publish, target)
    return target


def current(folder: Path) -> str | None:
    """The run_id of the published version."""
    link = folder / "current"
    return link.readlink().name if link.is_symlink() else None


def versions(folder: Path) -> list[Path]:
    """The versions kept, in the order in which they were staged: a backfill may be the newest."""
    kept = (path for path in (folder / "versions").glob("*") if path.is_dir())
    return sorted(kept, key=lambda path: (path.name.rpartition("_")[2], path.name))


def _before(folder: Path, run_date: str) -> Path | None:
    """What to compare with: the latest earlier run date's last version, else that of the same date.

    A rerun of the same date says the same, and would hide what the night before said. One of a
    later date knew more: against it a backfill would undo what came since.
    """
    kept = [(path.name.partition("_")[0], path.name, path) for path in versions(folder)]
    earlier = [version for version in kept if version[0] < run_date]
    same = [version for version in kept if version[0] == run_date]
    return max(earlier or same)[2] if earlier or same else None


def read_manifest(version_folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((version_folder / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PublishError(f"publish: no whole version: {one_line(error)}; run `stage`") from None
    return manifest


def verify(version_folder: Path, manifest: Mapping[str, Any] | None = None) -> list[str]:
    """What of a version does not match its manifest, in words; empty where it is whole."""
    files = (manifest or read_manifest(version_folder))["files"]
    problems = []
    for name, expected in files.items():
        path = version_folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif _sha256(path) != expected:
            problems.append(f"{name} is not what was written")
    return problems


def _manifest(
    con: duckdb.DuckDBPyConnection, settings: Settings, record: RunRecord, run_id: str
) -> dict[str, Any]:
    files = con.execute(
        "select export, file, sha256, state, rows_read, rows_loaded, rows_rejected, "
        "rows_suppressed, rows_deduplicated, rows_conflicting, rows_dst_overlap, rows_dst_gap, "
        "reason "
        "from marts.load_files where state not in ('replaced', 'expired') "
        "order by export, file, sha256"
    )
    names = [column[0] for column in files.description or []]
    inputs = [dict(zip(names, row, strict=True)) for row in files.fetchall()]
    rows = {
        column.removeprefix("rows_"): sum(entry[column] for entry in inputs)
        for column in names
        if column.startswith("rows_")
    }
    return {
        "run_id": run_id,
        "run_date": record.run_date,
        "staged_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": rows,
        "tables": {},
        "steps": dict(record.steps),
        "settings": settings.model_dump(mode="json"),
        "settings_fingerprint": settings.fingerprint(),
        "versions": {"attribution": __version__, "python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
        "inputs": inputs,
        "files": {},
    }


def _write_tables(
    con: duckdb.DuckDBPyConnection, candidate: Path, manifest: dict[str, Any]
) -> None:
    database = candidate / "attribution.duckdb"
    con.execute(
        f"attach {literal(str(database))} as published (storage_version {literal(STORAGE_VERSION)})"
    )
    try:
        for table, key in MARTS.items():
            order = ", ".join(quote(column) for column in key)
            con.execute(
                f"create table published.{quote(table)} as "
                f"from marts.{quote(table)} order by {order}"
            )
            columns = list(columns_of(con, "marts", table))
            entry = {"rows": _count(con, table), "columns": columns}
            if table not in UNHASHED:
                entry["sha256"] = table_hash(con, table)
            manifest["tables"][table] = entry
        _write_run_manifest(con, manifest)
        for table in [*MARTS, "run_manifest"]:
            path = candidate / "parquet" / f"{table}.parquet"
            con.execute(f"copy published.{quote(table)} to {literal(str(path))} (format parquet)")
    finally:
        con.execute("detach published")


def table_hash(con: duckdb.DuckDBPyConnection, table: str) -> str:
    """SHA-256 over the rows of a published table in canonical text, as they stand: by its key."""
    columns = [
        column
        for column in columns_of(con, "marts", table)
        if column not in NOT_HASHED.get(table, ())
    ]
    texts = ", ".join(f"coalesce({quote(column)}::varchar, chr(0))" for column in columns)
    digest = hashlib.sha256("\x1f".join(columns).encode())
    for rows in joined_texts(
        con, f"select chr(30) || concat_ws(chr(31), {texts}) from published.{quote(table)}"
    ):
        digest.update(rows)
    return digest.hexdigest()


def _count(con: duckdb.DuckDBPyConnection, table: str) -> int:
    row = con.execute(f"select count(*) from marts.{quote(table)}").fetchone()
    return int(row[0]) if row else 0


def _write_run_manifest(con: duckdb.DuckDBPyConnection, manifest: Mapping[str, Any]) -> None:
    """The manifest as a table (run_id, section, name, value), for readers that only speak SQL."""
    con.execute(
        "create table published.run_manifest "
        "(run_id varchar, section varchar, name varchar, value varchar)"
    )
    sections, names, values = zip(*_sections(manifest), strict=True)
    con.execute(
        "insert into published.run_manifest "
        "select ?, unnest(?::varchar[]), unnest(?::varchar[]), unnest(?::varchar[])",
        [manifest["run_id"], sections, names, values],
    )


def _sections(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield "run", "run_date", str(manifest["run_date"])
    for section in ("rows", "versions", "settings"):
        for name, value in manifest[section].items():
            yield section, name, value if isinstance(value, str) else json.dumps(value)
    for name, table in manifest["tables"].items():
        yield "tables", name, table.get("sha256", "")
    for entry in manifest["inputs"]:
        yield "inputs", f"{entry['export']}/{entry['file']}", entry["sha256"]


def _write_manifest(candidate: Path, manifest: dict[str, Any]) -> None:
    paths = sorted(path for path in candidate.rglob("*") if path.is_file())
    for path in paths:
        manifest["files"][str(path.relative_to(candidate))] = _sha256(path)
    document = candidate / "manifest.json"
    text = json.dumps(manifest, indent=1, ensure_ascii=False, default=str)
    document.write_text(text + "\n", encoding="utf-8")
    for path in [*paths, document]:
        path.chmod(0o444)
        with path.open("rb") as written:
            os.fsync(written.fileno())


def _point_current_at(folder: Path, name: str) -> None:
    half = folder / ".current.tmp"
    with suppress(FileNotFoundError):
        half.unlink()
    half.symlink_to(Path("versions") / name)
    half.replace(folder / "current")


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

"""Figures of the last run for Prometheus, as node_exporter's textfile collector reads them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attribution import publish
from attribution.errors import PublishError
from attribution.runs import OUTCOMES
from attribution.settings import Folders


def write_metrics(path: Path, folders: Folders, run: Mapping[str, Any]) -> None:
    """Replace the file whole: the collector never sees half of it.

    run : an entry of `runs.history`.
    """
    from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

    registry = CollectorRegistry()

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"attribution_{name}", text, labels, registry=registry)

    outcome = gauge("last_run_outcome", "1 for what came of the last run.", "outcome")
    for name in OUTCOMES:
        outcome.labels(name).set(name == run["outcome"])
    gauge("last_run_started_timestamp_seconds", "When the last run began.").set(
        _seconds(run["started_at"])
    )
    gauge("last_run_ended_timestamp_seconds", "When the last run ended.").set(
        _seconds(run["ended_at"])
    )
    steps = gauge("last_run_step_seconds", "Duration of each finished step.", "step")
    for step, seconds in run["steps"].items():
        steps.labels(step).set(seconds)
    rows = gauge("last_run_rows", "Rows of the files that the last run read.", "state")
    for state, count in run["rows"].items():
        rows.labels(state).set(count)
    gauge("last_run_warnings", "Warnings of the last run.").set(len(run["warnings"]))
    _add_published(gauge, folders)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(path), registry)


def _add_published(gauge: Any, folders: Folders) -> None:
    """Figures of the published version, which a failed run leaves as it was."""
    try:
        manifest = publish.read_manifest(folders.publish / "current")
    except PublishError:
        return
    gauge("published_staged_timestamp_seconds", "When the published version was made.").set(
        _seconds(manifest["staged_at"])
    )
    gauge("published_run_date_timestamp_seconds", "Its run date, the day that it tells of.").set(
        _seconds(manifest["run_date"])
    )
    tables = gauge("published_rows", "Rows of each published table.", "table")
    for table, entry in manifest["tables"].items():
        tables.labels(table).set(entry["rows"])
    gauge("versions", "Published versions kept.").set(len(publish.versions(folders.publish)))


def _seconds(text: str) -> float:
    """Unix time of an ISO date or time; without a zone it is UTC."""
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()

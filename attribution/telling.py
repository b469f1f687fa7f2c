"""Who is told what came of a run: the log, the history, the metrics file, the webhook.

Telling never changes what came of it: whatever goes wrong here is a warning in the log.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attribution import logs, webhook
from attribution.errors import AttributionError, GateRefused, Stopped
from attribution.metrics import write_metrics
from attribution.runs import STEPS, RunRecord, history, lock, remember
from attribution.settings import Folders, one_line

log = logging.getLogger(__name__)


@contextmanager
def told(folders: Folders, record: RunRecord, step: str) -> Iterator[None]:
    """Around a step: say that it begins and ends, and tell of the run where it ends with it."""
    _bind(record, step)
    log.info("%s begins", step, extra={"fields": {"event": "step_begins"}})
    began = time.monotonic()
    try:
        yield
    except BaseException as error:
        seconds = time.monotonic() - began
        with _harmless("the end of the run"):
            _tell(folders, record, step, *_outcome(error), seconds)
        raise
    _bind(record, step)
    figures = record.steps[step]
    log.info(
        "%s done in %.1f s", step, figures["seconds"],
        extra={"fields": {"event": "step_done", "figures": figures}},
    )  # fmt: skip
    if step == STEPS[-1]:
        with _harmless("the end of the run"):
            _tell(folders, record, step, "published", None)


@contextmanager
def beginning(folders: Folders, has_lock: bool = False) -> Iterator[None]:
    """Around what comes before the first step: settings, the lock, the record of the run at hand.

    History and metrics belong to who holds the lock: a run that finds it held tells the webhook.
    """
    try:
        yield
    except Exception as error:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        record = RunRecord(run=secrets.token_hex(8), started_at=now)
        _bind(record, "start")
        with _harmless("the end of the run"), ExitStack() as stack:
            if not has_lock:
                try:
                    stack.enter_context(lock(folders))
                    has_lock = True
                except AttributionError:
                    pass  # held, or a folder that cannot be written
            _tell(folders, record, "start", *_outcome(error), keeps=has_lock)
        raise


def _bind(record: RunRecord, step: str) -> None:
    logs.bind(run=record.run, run_id=record.steps.get("stage", {}).get("run_id"), step=step)


def _outcome(error: BaseException) -> tuple[str, str]:
    if isinstance(error, Stopped | KeyboardInterrupt):
        return "stopped", "somebody stopped it"
    outcome = "refused" if isinstance(error, GateRefused) else "failed"
    if isinstance(error, AttributionError):
        return outcome, str(error)
    return outcome, f"{type(error).__name__}: {one_line(error)}"


def _tell(
    folders: Folders,
    record: RunRecord,
    step: str,
    outcome: str,
    message: str | None,
    seconds: float | None = None,
    keeps: bool = True,
) -> None:
    """keeps : whether history and metrics are ours to write."""
    run = _summary(record, step, outcome, message, seconds)
    said = message or f"published {run['run_id']}"
    # no error here: whoever runs the step says it
    log.info("run %s: %s", outcome, said, extra={"fields": {"event": outcome}})
    if keeps:
        with _harmless("history"):
            remember(folders, run)
        with _harmless("metrics"):
            write_metrics(_metrics(folders), folders, run)
    url = os.environ.get("ATTRIBUTION_WEBHOOK_URL")
    if url and outcome != "stopped":
        with _harmless("webhook"):
            _post(url, run, said)


def retell(folders: Folders) -> None:
    """Metrics anew, where another version was published without a run."""
    runs = history(folders)
    if runs:
        with _harmless("metrics"):
            write_metrics(_metrics(folders), folders, runs[-1])


def _metrics(folders: Folders) -> Path:
    return Path(os.environ.get("ATTRIBUTION_METRICS") or folders.state / "metrics.prom")


def _summary(
    record: RunRecord, step: str, outcome: str, message: str | None, seconds: float | None
) -> dict[str, Any]:
    """What the history keeps of a run."""
    steps = record.steps
    durations = {name: figures["seconds"] for name, figures in steps.items()}
    if seconds is not None:  # of the step that did not end well
        durations[step] = round(seconds, 3)
    return {
        "run": record.run,
        "run_date": record.run_date,
        "run_id": steps["stage"]["run_id"] if outcome == "published" else None,
        "started_at": record.started_at,
        "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "outcome": outcome,
        "ended_in": step,
        "message": message,
        "steps": durations,
        "rows": {
            name.removeprefix("rows_"): count
            for name, count in steps.get("load", {}).items()
            if name.startswith("rows_")
        },
        "gates": {
            name.removeprefix("check "): {
                "expectations": figures["expectations"], "warnings": len(figures["warnings"])
            }
            for name, figures in steps.items()
            if name.startswith("check ")
        },
        "warnings": [
            f"{name}: {text}"
            for name, figures in steps.items()
            for text in figures.get("warnings", [])
        ],
    }  # fmt: skip


def _post(url: str, run: Mapping[str, Any], said: str) -> None:
    payload = {
        "event": run["outcome"],
        "text": f"attribution on {socket.gethostname()}: {run['outcome']}: {said}",
        **{name: run[name] for name in ("run", "run_id", "run_date", "started_at", "ended_at")},
        "step": run["ended_in"],
        "message": run["message"],
        "warnings": len(run["warnings"]),
    }
    problem = webhook.post(url, payload)
    if problem:
        log.warning("webhook: not delivered: %s", problem)


@contextmanager
def _harmless(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        log.warning("%s: not told: %s", what, one_line(error))

"""One run at a time, and what the run at hand has done so far.

The lock is the operating system's (flock), so it cannot outlive its holder; the file only tells who
that is. The record lets the verbs run one by one, in any process, and refuse to run out of order.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attribution.errors import AttributionError, LockHeld, OutOfOrder
from attribution.settings import Folders, one_line

STEPS = (
    "load",
    "check exports",
    "build",
    "check statistics",
    "attribute",
    "marts",
    "stage",
    "check credits",
    "publish",
)


OUTCOMES = ("published", "refused", "failed", "stopped")
KEPT = 100  # runs in the history


@contextmanager
def lock(folders: Folders) -> Iterator[None]:
    """Hold the state folder, or raise LockHeld with the holder's name."""
    try:
        folders.state.mkdir(
            parents=True, exist_ok=True, mode=0o700
        )  # pseudonyms are data of people
        folders.scratch.mkdir(exist_ok=True, mode=0o700)
        handle = os.open(folders.state / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise AttributionError(
            f"state folder: {one_line(error)}; set ATTRIBUTION_STATE to a folder that this user "
            "may write"
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockHeld(
                f"{folders.state} is held by {_holder(handle)}: wait for that run to end"
            ) from None
        os.ftruncate(handle, 0)
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        os.pwrite(handle, json.dumps(holder).encode(), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _holder(handle: int) -> str:
    """Who holds the lock: whoever has just taken it writes so in a moment."""
    for _ in range(50):
        try:
            holder = json.loads(os.pread(handle, 4096, 0))
            return f"pid {holder['pid']} on {holder['host']} since {holder['since']}"
        except (ValueError, KeyError, TypeError):
            time.sleep(0.01)
    return "another run"


@dataclass
class RunRecord:
    """The run at hand: its date once `build` has fixed it, and its finished steps in order."""

    run: str | None = None
    run_date: str | None = None
    settings: str | None = None
    started_at: str | None = None
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, folders: Folders) -> RunRecord:
        try:
            return cls(**json.loads(_file(folders).read_text("utf-8")))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError) as error:
            raise AttributionError(
                f"{_file(folders)} cannot be read: {one_line(error)}; remove it, "
                "then start with `load`"
            ) from None

    def begin(self, step: str, settings: str) -> None:
        """Refuse a step whose left neighbour is not done; forget the steps to its right."""
        place = STEPS.index(step)
        if place == 0:
            self.run = secrets.token_hex(8)
            self.run_date, self.steps, self.settings = None, {}, settings
            self.started_at = datetime.now(UTC).isoformat(timespec="seconds")
            return
        if STEPS[place - 1] not in self.steps:
            raise OutOfOrder(f"{step}: `{STEPS[place - 1]}` comes first and is not done")
        if settings != self.settings:
            raise OutOfOrder(
                f"{step}: settings differ from those that `load` began with; give every verb of a "
                "run the same --set options, or begin again with `load`"
            )
        self.steps = {name: self.steps[name] for name in STEPS[:place]}

    def finish(self, folders: Folders, step: str, seconds: float, figures: dict[str, Any]) -> None:
        self.steps[step] = {"seconds": round(seconds, 3), **figures}
        self.write(folders)

    def write(self, folders: Folders) -> None:
        half = _file(folders).with_suffix(".tmp")
        with half.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())  # a record that a lost power supply emptied stops the next run
        half.replace(_file(folders))


def history(folders: Folders) -> list[dict[str, Any]]:
    """Runs that ended, oldest first: what came of them, how long they took, what was said."""
    try:
        runs = json.loads((folders.state / "runs.json").read_text("utf-8"))
    except (OSError, ValueError):
        return []  # none yet; or nothing that a night should stop for
    return runs if isinstance(runs, list) else []


def remember(folders: Folders, run: dict[str, Any]) -> None:
    """Add a run to the history; one that ended before, and was taken up again, is replaced."""
    others = [other for other in history(folders) if other["run"] != run["run"]]
    half = folders.state / "runs.json.tmp"
    half.write_text(json.dumps([*others, run][-KEPT:], indent=1, ensure_ascii=False), "utf-8")
    half.replace(folders.state / "runs.json")


def _file(folders: Folders) -> Path:
    return folders.state / "run.json"

"""What the command line says on stderr: lines for people, or JSON with ATTRIBUTION_LOG=json."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from attribution.errors import SettingsError

LOGGER = logging.getLogger("attribution")
# What every line of JSON bears: run, run_id once there is one, step. A process has one run at once.
_context: dict[str, Any] = {}


def bind(**context: Any) -> None:
    """Say with every line from here on what run and step it belongs to; None takes a name back."""
    _context.update(context)
    for name in [name for name, value in _context.items() if value is None]:
        del _context[name]


def configure(environment: Mapping[str, str] | None = None) -> None:
    """Have stderr speak as ATTRIBUTION_LOG says: text (the default) or json.

    Raises
    ------
    SettingsError
        where it says anything else.
    """
    env = os.environ if environment is None else environment
    form = env.get("ATTRIBUTION_LOG") or "text"
    root = logging.getLogger()
    for handler in root.handlers[:]:
        # ours of before, and that of a library's basicConfig, which would say all lines twice
        if isinstance(handler, _Stderr) or type(handler) is logging.StreamHandler:
            root.removeHandler(handler)
    _context.clear()
    # on the root, where a library's basicConfig finds it and adds none of its own
    handler = _Stderr(_Json() if form == "json" else _Text())
    root.addHandler(handler)
    if form == "json":  # whatever libraries say, too
        LOGGER.setLevel(logging.INFO)
        return
    handler.addFilter(logging.Filter(LOGGER.name))
    LOGGER.setLevel(logging.WARNING)
    if form != "text":
        raise SettingsError(f"ATTRIBUTION_LOG: {form!r} is neither text nor json; correct it")


class _Stderr(logging.StreamHandler[Any]):
    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(formatter)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = "warning: " if record.levelno == logging.WARNING else ""
        return f"attribution: {prefix}{record.getMessage()}"


class _Json(logging.Formatter):
    """One object a line: time, level, logger, message, what is bound, the fields of an event."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_context,
            **getattr(record, "fields", {}),
        }
        return json.dumps(entry, ensure_ascii=False, default=str)

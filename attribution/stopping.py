"""SIGTERM and Ctrl-C end a command: what is open is closed, the lock is free.

The signal raises Stopped wherever the command is. Some code that this passes through keeps it to
itself (a library that tries an import and goes on whatever comes), some tells it as an error of its
own (a connection that dbt closed): so it is remembered, and asked for where a step begins or fails.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from attribution.errors import Stopped

_ASKED = Event()


@contextmanager
def terminable() -> Iterator[None]:
    """A command that the two signals end."""

    def stop(*_: object) -> None:
        _ASKED.set()
        raise Stopped

    _ASKED.clear()
    former = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def stop_if_asked() -> None:
    """Raises Stopped where somebody asked for it, and it was kept from us."""
    if _ASKED.is_set():
        raise Stopped


@contextmanager
def stoppable() -> Iterator[None]:
    """What does not begin once a stop was asked for, and whose failure then is that stop."""
    stop_if_asked()
    try:
        yield
    except Exception as error:
        if _ASKED.is_set() or "Query interrupted" in str(error):  # by a scheduler's own handler
            raise Stopped from error
        raise

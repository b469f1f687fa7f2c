"""SIGTERM and Ctrl-C end a command: what is open is closed, the lock is free.

The signal raises Stopped wherever the command is. Some code that this passes through keeps it to
itself (a library that tries an import and goes on whatever comes), some tells it as an error of its
own (a connection that dbt closed): so it is remembered, and asked for where a step begins or fails.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from attribution.errors import Stopped

_asked = False  # no Event: its lock could wait for itself where a second signal meets the first


@contextmanager
def terminable() -> Iterator[None]:
    """A command that the two signals end."""

    global _asked

    def stop(*_: object) -> None:
        global _asked
        _asked = True
        raise Stopped

    former = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        _asked = False
        for number, handler in former.items():
            signal.signal(number, handler)


def stop_if_asked() -> None:
    """Raises Stopped where somebody asked for it, and it was kept from us."""
    if _asked:
        raise Stopped


@contextmanager
def stoppable() -> Iterator[None]:
    """What does not begin once a stop was asked for, and whose failure then is that stop.

    The engine tells whatever a signal raises, a scheduler's timeout too, as an error of its own,
    caused by it: what was raised goes on.
    """
    stop_if_asked()
    try:
        yield
    except Exception as error:
        if _asked:
            raise Stopped from error
        if error.__cause__ is not None and not isinstance(error.__cause__, Exception):
            raise error.__cause__ from None
        raise

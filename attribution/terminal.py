"""What people see: progress where there is a terminal, tables on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from attribution.pipeline import Progress as Report

WIDEST = 60  # of a first column that is not wrapped: figures need room beside it


def console(*, stderr: bool = False) -> Console:
    """A console that prints names as they are: data is never markup."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else 160
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=width)


@contextmanager
def progress() -> Iterator[Report]:
    """A callback that draws the steps of a run; it draws nothing where nobody looks."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield lambda *_: None
        return
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28),
        TimeElapsedColumn(),
        TextColumn("{task.fields[what]}", style="dim", markup=False),
    )
    with Progress(*columns, console=screen) as bars:
        tasks: dict[str, Any] = {}

        def report(step: str, done: int, total: int, what: str) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(f"{step:<17}", total=None, what="")
            bars.update(tasks[step], completed=done, total=total or None, what=what[-48:])

        yield report


def print_rows(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: the first column reads to the left, numbers to the right."""
    console().print(visible(title), soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    fits = max((len(row[0]) for row in rows), default=0) <= WIDEST
    for number, name in enumerate(header):
        first = number == 0
        justify: JustifyMethod = "left" if first else "right"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=first and fits)
    for row in rows:
        table.add_row(*map(visible, row))
    console().print(table)


def visible(text: str) -> str:
    """A stranger's text, without power over the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def number(value: float | None, form: str = ",.1f") -> str:
    return "–" if value is None else format(value, form)

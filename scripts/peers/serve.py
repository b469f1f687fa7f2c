"""The loop that every runner shares: tasks as JSON lines on stdin, answers on stdout.

Standard library only and nothing newer than Python 3.11, because it runs in the environments of
other packages. A runner says how it holds rows (`prepare`) and what a task is (`plan`).

    {"do": "load", "data": "paths", "file": "paths.csv"}
    {"do": "fit", "data": "paths", "model": "markov", "order": 1, "start": "rows"}
"""

import csv
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MEMORY = 8 * 2**30


@dataclass(frozen=True)
class Rows:
    """Aggregated paths as a file has them: a path may stand on several rows."""

    paths: list[str]
    conversions: list[int]
    nulls: list[int]

    def by_outcome(self) -> tuple[list[str], list[int], list[int]]:
        """Paths, converted or not as 1 or 0, and journeys; rows without journeys left out."""
        converted = zip(self.paths, [1] * len(self.paths), self.conversions, strict=True)
        lost = zip(self.paths, [0] * len(self.paths), self.nulls, strict=True)
        kept = [row for row in (*converted, *lost) if row[2] > 0]
        return [row[0] for row in kept], [row[1] for row in kept], [row[2] for row in kept]


Work = Callable[[], Any]
Values = Callable[[Any], dict[str, float]]
Prepare = Callable[[Rows], Any]
Plan = Callable[[Any, dict[str, Any]], tuple[Work, Values]]


def serve(prepare: Prepare, plan: Plan) -> None:
    """Answer tasks until stdin ends.

    prepare : rows to what the package wants to be given; not timed.
    plan : that and a task, to the work, which is timed, and to what turns its result into one
        number per channel, which is not.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # packages print: not among the answers
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))  # others need the machine too
    loaded: dict[str, Any] = {}
    for line in sys.stdin:
        print(
            json.dumps(_answer(json.loads(line), loaded, prepare, plan)), file=answers, flush=True
        )


def _answer(
    task: dict[str, Any], loaded: dict[str, Any], prepare: Prepare, plan: Plan
) -> dict[str, Any]:
    try:
        if task["do"] == "load":
            loaded[task["data"]] = prepare(read(task["file"]))
            return {}
        return _timed(*plan(loaded[task["data"]], task))
    except MemoryError:
        return {"limit": f"> {MEMORY // 2**30} GiB"}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0]}


def _timed(work: Work, values: Values) -> dict[str, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu": cpu, "wall": wall, "values": values(result)}


def read(file: str) -> Rows:
    """Rows of a file with the columns of ChannelAttribution's example data."""
    with open(file, newline="") as lines:  # noqa: PTH123
        rows = list(csv.DictReader(lines, delimiter=";"))
    return Rows(
        [row["path"] for row in rows],
        [int(row["total_conversions"]) for row in rows],
        [int(row["total_null"]) for row in rows],
    )

"""The line's journeys beside the same ones by polars and by pandas: same counts, CPU, memory.

Each runs in a process of its own, all threads allowed, and writes a table of touches (journey,
position, the channel before) and one of journeys (ends, outcome, set of channels); they alternate,
figures are medians. Ours reads the rows that were loaded and does what staging does on the way:
duplicates, rows to set aside, keys of customers and channels. Theirs read the landed Parquet, where
nothing of this is needed, and hold all in memory. Exit code 1: the counts differ.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench import apart, command
from bench_data import Workload
from bench_peers import SCRIPTS, Peer, install

COMPILED = Path("state", "dbt", "compiled", "attribution", "models")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", nargs="?", type=float, default=1e7, help="touchpoints")
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args()
    python = install(Peer("journeys", "(polars and pandas)", orders=(), exact=True))
    if python is None:
        return 1
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        home, workload = Path(folder), Workload(int(chosen.size), 20, 5, "parquet")
        apart(workload.generate, home)
        for step in (("load",), ("check", "exports"), ("build",)):
            command(home, *step, "--set", "pseudonymise=false")
        landed = [str(workload.path(home, e, "2026-03-31")) for e in ("touchpoints", "conversions")]
        ours = [str(home / "state" / "warehouse.duckdb"), str(home / COMPILED)]
        sides = {
            "ours": [sys.executable, str(SCRIPTS / "journeys_ours.py"), *ours],
            "polars": [str(python), str(SCRIPTS / "journeys_polars.py"), *landed],
            "pandas": [str(python), str(SCRIPTS / "journeys_pandas.py"), *landed],
        }
        found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for _ in range(chosen.runs):
            for side, arguments in sides.items():
                found[side].append(measured(arguments))
    return show(found, workload)


def measured(arguments: list[str]) -> dict[str, float]:
    """CPU seconds and peak MB of a process, and the counts that it printed."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        started = time.perf_counter()
        child = subprocess.Popen([*arguments, folder], stdout=subprocess.PIPE, text=True)
        said = child.stdout.read() if child.stdout else ""
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"bench-journeys: {Path(arguments[1]).name} ended with {child.returncode}")
    figures: dict[str, float] = json.loads(said)
    return figures | {
        "cpu": usage.ru_utime + usage.ru_stime,
        "wall": time.perf_counter() - started,
        "memory": usage.ru_maxrss / 1024,
        "written": usage.ru_oublock * 512 / 1e6,
    }


def show(found: dict[str, list[dict[str, float]]], workload: Workload) -> int:
    costs = ("cpu", "wall", "memory", "written")
    counts = [
        {name: value for name, value in run.items() if name not in costs}
        for runs in found.values()
        for run in runs
    ]
    medians = {
        side: {cost: median(run[cost] for run in runs) for cost in costs}
        for side, runs in found.items()
    }
    print(f"{workload.touchpoints:,} touchpoints: {counts[0]}")
    print(
        f"{'':<10}{'cpu s':>9}{'wall s':>9}{'peak MB':>9}{'written MB':>12}{'cpu':>9}{'memory':>9}"
    )
    for side, mine in medians.items():
        ratios = (mine[cost] / medians["ours"][cost] for cost in ("cpu", "memory"))
        print(
            f"{side:<10}{mine['cpu']:>9.2f}{mine['wall']:>9.2f}{mine['memory']:>9.0f}"
            f"{mine['written']:>12.0f}" + "".join(f"{ratio:>8.1f}x" for ratio in ratios)
        )
    if any(count != counts[0] for count in counts):
        print("bench-journeys: the counts differ", *counts, sep="\n  ", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

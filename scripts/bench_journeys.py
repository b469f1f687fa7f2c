"""The line's journeys beside the same ones by polars and by pandas: same counts, CPU, memory.

Each runs in a process of its own, all threads allowed, and writes a table of touches (journey,
position, the channel before) and one of journeys; they alternate, figures are medians. Ours reads
what was loaded into the warehouse and does all that staging does, theirs read the landed Parquet.
Start-up and imports count, so the size should be large. Exit code 1: the counts differ.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from bench import command
from bench_data import Workload
from bench_peers import SCRIPTS, Peer, install

JOURNEYS = Path("state", "dbt", "compiled", "attribution", "models", "journeys")


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
        workload.generate(home)
        for step in (("load",), ("check", "exports"), ("build",)):
            command(home, *step, "--set", "pseudonymise=false")
        landed = [str(workload.path(home, e, "2026-03-31")) for e in ("touchpoints", "conversions")]
        ours = [str(home / "state" / "warehouse.duckdb"), str(home / JOURNEYS)]
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
        child = subprocess.Popen([*arguments, folder], stdout=subprocess.PIPE, text=True)
        said = child.stdout.read() if child.stdout else ""
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"bench-journeys: {Path(arguments[1]).name} ended with {child.returncode}")
    figures: dict[str, float] = json.loads(said)
    cost = {"cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss / 1024}
    return figures | cost


def show(found: dict[str, list[dict[str, float]]], workload: Workload) -> int:
    costs = ("cpu", "memory")
    counts = [
        {name: value for name, value in run.items() if name not in costs}
        for runs in found.values()
        for run in runs
    ]
    print(f"{workload.touchpoints:,} touchpoints: {counts[0]}")
    ours = {cost: median(run[cost] for run in found["ours"]) for cost in costs}
    print(f"{'':<10}{'cpu s':>9}{'peak MB':>9}{'cpu':>9}{'memory':>9}")
    for side, runs in found.items():
        cpu, memory = (median(run[cost] for run in runs) for cost in costs)
        ratios = f"{cpu / ours['cpu']:>8.1f}x{memory / ours['memory']:>8.1f}x"
        print(f"{side:<10}{cpu:>9.2f}{memory:>9.0f}{ratios}")
    if any(count != counts[0] for count in counts):
        print("bench-journeys: the counts differ", *counts, sep="\n  ", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Time and memory of the line's steps on generated touchpoints, beside one scan of the same data;
then of whole nights that touch a part of the customers, beside full ones of the same data.

The physical limit is decoding every column of the touchpoints as Parquet once: hash sums of the
texts, the newest time. Each step runs in a process of its own; CPU seconds are what its process
used, memory the largest it held, written what it gave to the disk. Data is generated apart, too: a
child's largest memory begins at that of its parent. Ratios compare figures of one run on one
machine. With --docs, what was measured is kept in docs/bench.json and shown by docs/bench.md.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from itertools import pairwise
from pathlib import Path
from statistics import linear_regression
from typing import Any

import duckdb
from bench_data import FORMS, Workload
from bench_docs import SQL_STEPS, drawn, rendered

DOCS = Path(__file__).resolve().parents[1] / "docs"

Figures = dict[str, dict[str, float]]  # by step: cpu, wall in s; memory, written in MB

STEPS = (
    ("load",),
    ("check", "exports"),
    ("build",),
    ("check", "statistics"),
    ("attribute",),
    ("marts",),
    ("stage",),
    ("check", "credits"),
    ("publish",),
)
NIGHTS = (0.005, 0.09)
SCAN = """
select count(*), sum(hash(touchpoint_id)::hugeint), sum(hash(customer_id)::hugeint),
    max(occurred_at), max(channel), max(campaign), max(interaction), max(mode)
from read_parquet(?)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", nargs="*", type=float, default=[1e6, 1e7], help="touchpoints")
    parser.add_argument("--channels", type=int, default=20)
    parser.add_argument("--touches", type=int, default=5, help="of a customer, in the mean")
    parser.add_argument("--landing", choices=FORMS, default="parquet")
    parser.add_argument("--memory-limit", default="1GB")
    parser.add_argument("--no-nights", action="store_true", help="the full line alone")
    parser.add_argument("--docs", action="store_true", help="keep it in docs/bench.json and .md")
    chosen = parser.parse_args()
    print(
        f"{_machine()}; duckdb {duckdb.__version__}; {chosen.channels} channels, "
        f"mean {chosen.touches} touches, 3 % converting; {chosen.landing}, {chosen.memory_limit}"
    )
    results = {}
    for size in sorted(int(size) for size in chosen.sizes):
        workload = Workload(size, chosen.channels, chosen.touches, chosen.landing)
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
            figures = measure(Path(folder), workload, chosen.memory_limit, not chosen.no_nights)
        show(size, figures)
        results[size] = figures
        if chosen.docs:
            keep(workload, chosen.memory_limit, figures)
    if len(results) > 1:
        show_slope(results)
    if len(results) > 2:
        show_exponent(results)
    return 0


def measure(home: Path, workload: Workload, memory_limit: str, nights: bool) -> Figures:
    apart(workload.generate, home)
    figures = {"decode scan": scan(home, workload), "start-up": command(home, "--version")}
    options = ("--set", "pseudonymise=false", "--set", f"memory_limit={memory_limit}")
    for step in STEPS:
        figures[" ".join(step)] = command(home, *step, *options)
    for number, share in enumerate(NIGHTS if nights else ()):
        apart(workload.land_night, home, number, share)
        hashes = []
        for name, full in ((night(share), ()), (f"{night(share)}, full", ("--full",))):
            figures[name] = command(home, "run", *options, *full)
            manifest = json.loads((home / "publish" / "current" / "manifest.json").read_text())
            tables = manifest["tables"].items()
            hashes.append({table: entry.get("sha256") for table, entry in tables})
            print(f"{name}: customers built {manifest['steps']['build']['customers_built']}")
        if hashes[0] != hashes[1]:
            sys.exit(f"bench: {night(share)} published other tables than a full run")
    return figures


def apart(work: Callable[..., None], *arguments: Any) -> None:
    """In a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"bench: generating data ended with {process.exitcode}")


def convert(csv: Path, parquet: Path) -> None:
    duckdb.read_csv(str(csv)).write_parquet(str(parquet))


def night(share: float) -> str:
    return f"night {share * 100:g} %"


def scan(home: Path, workload: Workload) -> dict[str, float]:
    """The median of five scans of the touchpoints as Parquet, whatever they are landed as, in a
    process that has read the file once before.
    """
    export = workload.path(home, "touchpoints", "2026-03-31")
    if workload.landing != "parquet":
        parquet = home / "scanned.parquet"
        apart(convert, export, parquet)
        export = parquet
    code = (
        "import duckdb, json, resource, sys, time\n"
        "con = duckdb.connect()\n"
        "con.execute('set enable_progress_bar = false'); runs = []\n"
        "for _ in range(6):\n"
        "    wall, cpu = time.perf_counter(), time.process_time()\n"
        "    con.execute(sys.argv[1], [sys.argv[2]]).fetchall()\n"
        "    runs.append((time.process_time() - cpu, time.perf_counter() - wall))\n"
        "cpu, wall = sorted(runs[1:])[2]\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "print(json.dumps({'cpu': cpu, 'wall': wall, 'memory': peak, 'written': 0}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, SCAN, str(export)], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def command(home: Path, *arguments: str) -> dict[str, float]:
    """One command of the line in a process of its own."""
    environment = os.environ | {"ATTRIBUTION_HOME": str(home)}
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "attribution", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"bench: `attribution {' '.join(arguments)}` ended with {child.returncode}")
    return {
        "cpu": usage.ru_utime + usage.ru_stime,
        "wall": time.perf_counter() - started,
        "memory": usage.ru_maxrss / 1024,
        "written": usage.ru_oublock * 512 / 1e6,
    }


def show(size: int, figures: Figures) -> None:
    limit = figures["decode scan"]["cpu"]
    print(f"\n{size:,} touchpoints")
    print(f"{'step':<18}{'cpu s':>9}{'wall s':>9}{'peak MB':>9}{'written MB':>12}{'x scan':>9}")
    for step, row in figures.items():
        print(
            f"{step:<18}{row['cpu']:>9.2f}{row['wall']:>9.2f}{row['memory']:>9.0f}"
            f"{row['written']:>12.0f}{row['cpu'] / limit:>9.1f}"
        )
    print(flush=True)


def whole(figures: Figures) -> float:
    """CPU from landing to publication."""
    return sum(figures[" ".join(step)]["cpu"] for step in STEPS)


def show_slope(results: dict[int, Figures]) -> None:
    """What the largest size costs beyond the smallest: the fixed part of each step falls out."""
    small, large = results[min(results)], results[max(results)]

    def grown(*steps: str) -> float:
        return sum(large[step]["cpu"] - small[step]["cpu"] for step in steps)

    limit = grown("decode scan")
    print(
        f"slope from {min(results):,} to {max(results):,} touchpoints, in scans of the difference"
    )
    for name, cost in (
        ("load", grown("load")),
        ("SQL of the line", grown(*SQL_STEPS)),
        ("landing to publish", whole(large) - whole(small)),
    ):
        print(f"{name:<18}{cost:>9.2f} s cpu{cost / limit:>9.1f}")
    for share in NIGHTS:
        if night(share) in large:
            part, full = grown(night(share)), grown(f"{night(share)}, full")
            print(f"{night(share):<18}{part:>9.2f} s cpu; full {full:.2f}, {full / part:.1f} times")


def show_exponent(results: dict[int, Figures]) -> None:
    """How cost grows: growth from size to size against the growth of the size, both as logarithms,
    so that what is fixed falls out. For sizes that grow by one factor alone: else it would not.
    """
    steps = list(pairwise(sorted(results)))
    if len({round(large / small, 2) for small, large in steps}) > 1:
        return
    grown = [whole(results[large]) - whole(results[small]) for small, large in steps]
    if min(grown) > 0:
        sizes = [math.log(large - small) for small, large in steps]
        exponent = linear_regression(sizes, [math.log(cost) for cost in grown]).slope
        print(f"exponent of cost from landing to publish: {exponent:.2f}")


def keep(workload: Workload, memory_limit: str, figures: Figures) -> None:
    """In place of what was measured of the same workload on such a machine before."""
    path = DOCS / "bench.json"
    found: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    key = asdict(workload) | {"memory_limit": memory_limit, "machine": _machine()}
    found = [run for run in found if any(run[name] != value for name, value in key.items())]
    rounded = {
        step: {name: round(value, 3) for name, value in row.items()}
        for step, row in figures.items()
    }
    run = key | {"duckdb": duckdb.__version__, "on": date.today().isoformat(), "steps": rounded}
    found.append(run)
    path.write_text("[\n" + ",\n".join(map(json.dumps, found)) + "\n]\n")
    (DOCS / "bench.md").write_text(rendered(found), encoding="utf-8")
    (DOCS / "bench.svg").write_text(drawn(found, run), encoding="utf-8")


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, {_processor()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"


if __name__ == "__main__":
    sys.exit(main())

"""Time and memory of the line's steps on generated touchpoints, beside one scan of the same file;
then of whole nights that touch a part of the customers, beside full ones of the same data.

The physical limit is decoding every column of the Parquet export once: hash sums of the texts, the
newest time. Each step runs in a process of its own; CPU seconds are what its process used, memory
the largest it held. Ratios compare figures of one run on one machine.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

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
SCAN = """
select count(*), sum(hash(touchpoint_id)::hugeint), sum(hash(customer_id)::hugeint),
    max(occurred_at), max(channel), max(campaign), max(interaction), max(mode)
from read_parquet(?)
"""
TOUCHPOINTS = """
copy (
    select
        't' || lpad(i::varchar, 10, '0') as touchpoint_id,
        'C' || lpad((hash(i * 7919) % $customers)::varchar, 9, '0') as customer_id,
        timestamp '2026-01-01' + to_microseconds((hash(i) % (90 * 86400))::bigint * 1000000)
            as occurred_at,
        'channel_' || lpad(
            floor($channels * power((hash(i * 31 + 5) % 1000000) / 1e6, 2.2))::int::varchar, 3, '0'
        ) as channel,
        'campaign_' || (hash(i * 3) % 300) as campaign,
        case when hash(i * 5) % 3 = 0 then 'impression' else 'click' end as interaction,
        'digital' as mode
    from range($touchpoints) as r(i)
) to '{path}' (format parquet)
"""
# One more day, on which each of so many customers is touched once.
NIGHT = """
copy (
    select
        'n' || $night || lpad(i::varchar, 9, '0') as touchpoint_id,
        'C' || lpad((i * ($customers // $touched) % $customers)::varchar, 9, '0') as customer_id,
        timestamp '2026-04-01' + to_days($night::integer)
        + to_microseconds((hash(i) % 86400)::bigint * 1000000) as occurred_at,
        'channel_' || lpad(
            floor(20 * power((hash(i * 31 + 5) % 1000000) / 1e6, 2.2))::int::varchar, 3, '0'
        ) as channel,
        'campaign_' || (hash(i * 3) % 300) as campaign,
        case when hash(i * 5) % 3 = 0 then 'impression' else 'click' end as interaction,
        'digital' as mode
    from range($touched) as r(i)
) to '{path}' (format parquet)
"""
NIGHTS = (0.005, 0.09)
CONVERSIONS = """
copy (
    select
        'k' || lpad(i::varchar, 10, '0') as conversion_id,
        'C' || lpad((hash(i * 104729) % $customers)::varchar, 9, '0') as customer_id,
        timestamp '2026-01-01' + to_microseconds((hash(i * 13) % (90 * 86400))::bigint * 1000000)
            as converted_at,
        case when hash(i * 11) % 2 = 0 then 'account' else 'mortgage' end as goal,
        ((hash(i) % 100000) / 100)::decimal(18, 2) as revenue
    from range($conversions) as r(i)
) to '{path}' (format parquet)
"""


def main() -> int:
    sizes = [int(float(size)) for size in sys.argv[1:]] or [1_000_000, 10_000_000]
    print(f"{_machine()}; duckdb {duckdb.__version__}; 20 channels, mean 5 touches, 3 % converting")
    results = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
            results[size] = measure(Path(folder), size)
            show(size, results[size])
    if len(results) > 1:
        show_slope(results)
    return 0


def measure(home: Path, touchpoints: int) -> dict[str, dict[str, float]]:
    """Figures by step: cpu and wall in seconds, memory in MB."""
    generate(home, touchpoints)
    export = home / "landing" / "touchpoints" / "touchpoints_2026-03-31.parquet"
    figures = {"decode scan": scan(export), "start-up": command(home, "--version")}
    for step in STEPS:
        figures[" ".join(step)] = command(home, *step, "--set", "pseudonymise=false")
    for number, share in enumerate(NIGHTS):
        land_night(home, number, touchpoints // 5, share)
        hashes = []
        for name, options in ((night(share), ()), (f"{night(share)}, full", ("--full",))):
            figures[name] = command(home, "run", "--set", "pseudonymise=false", *options)
            manifest = json.loads((home / "publish" / "current" / "manifest.json").read_text())
            tables = manifest["tables"].items()
            hashes.append({table: entry.get("sha256") for table, entry in tables})
            print(f"{name}: customers built {manifest['steps']['build']['customers_built']}")
        if hashes[0] != hashes[1]:
            sys.exit(f"bench: {night(share)} published other tables than a full run")
    shutil.rmtree(home / "publish")
    return figures


def night(share: float) -> str:
    return f"night {share * 100:g} %"


def land_night(home: Path, number: int, customers: int, share: float) -> None:
    path = home / "landing" / "touchpoints" / f"touchpoints_2026-04-{1 + number:02}.parquet"
    parameters = {"night": number, "customers": customers, "touched": int(customers * share)}
    duckdb.execute(NIGHT.format(path=str(path).replace("'", "''")), parameters)


def generate(home: Path, touchpoints: int) -> None:
    customers = max(touchpoints // 5, 1)
    parameters = {"touchpoints": touchpoints, "customers": customers, "channels": 20}
    for export, sql in (("touchpoints", TOUCHPOINTS), ("conversions", CONVERSIONS)):
        path = home / "landing" / export / f"{export}_2026-03-31.parquet"
        path.parent.mkdir(parents=True)
        wanted = parameters | {"conversions": int(customers * 0.03)}
        used = {name: value for name, value in wanted.items() if f"${name}" in sql}
        duckdb.execute(sql.format(path=str(path).replace("'", "''")), used)


def scan(export: Path) -> dict[str, float]:
    """The median of five scans, in a process that has read the file once before."""
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
        "print(json.dumps({'cpu': cpu, 'wall': wall, 'memory': peak}))\n"
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
    }


def show(size: int, figures: dict[str, dict[str, float]]) -> None:
    limit = figures["decode scan"]["cpu"]
    print(f"\n{size:,} touchpoints")
    print(f"{'step':<18}{'cpu s':>9}{'wall s':>9}{'peak MB':>9}{'x scan':>9}")
    for step, row in figures.items():
        print(
            f"{step:<18}{row['cpu']:>9.2f}{row['wall']:>9.2f}{row['memory']:>9.0f}"
            f"{row['cpu'] / limit:>9.1f}"
        )
    sql = sum(figures[step]["cpu"] for step in ("load", "build", "marts"))
    print(f"{'SQL of the line':<18}{sql:>9.2f}{'':>18}{sql / limit:>9.1f}")


def show_slope(results: dict[int, dict[str, dict[str, float]]]) -> None:
    """What the larger size costs beyond the smaller: the fixed part of each step falls out."""
    small, large = min(results), max(results)

    def grown(steps: list[str]) -> float:
        return sum(results[large][step]["cpu"] - results[small][step]["cpu"] for step in steps)

    limit = grown(["decode scan"])
    sql = grown(["load", "build", "marts"])
    whole = grown([" ".join(step) for step in STEPS])
    print(f"\nslope from {small:,} to {large:,} touchpoints, in decode scans of the difference")
    print(f"{'SQL of the line':<18}{sql:>9.2f} s cpu{sql / limit:>9.1f}")
    print(f"{'landing to publish':<18}{whole:>9.2f} s cpu{whole / limit:>9.1f}")
    for share in NIGHTS:
        part, full = grown([night(share)]), grown([f"{night(share)}, full"])
        print(
            f"{night(share):<18}{part:>9.2f} s cpu; a full one {full:.2f}, {full / part:.1f} times"
        )


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

"""What bench.py kept, as docs/bench.md: a table of all workloads, and cost against size."""

from __future__ import annotations

import math
from typing import Any

Run = dict[str, Any]
Lines = list[tuple[str, list[tuple[float, float]]]]  # each a name and its points

SQL_STEPS = ("load", "build", "marts")
OTHERS = ("check exports", "check statistics", "attribute", "stage", "check credits", "publish")
USUAL = {"channels": 20, "touches": 5, "landing": "parquet", "memory_limit": "1GB"}
COLOURS = ("#64748b", "#0e7490", "#c2410c")
LEFT, TOP, WIDTH, HEIGHT = 70, 50, 620, 320


def cpu(run: Run, *steps: str) -> float:
    return sum(run["steps"][step]["cpu"] for step in steps)


def rendered(runs: list[Run]) -> str:
    """A row for each workload, machine by machine."""
    lines = [
        "# Every workload that was measured",
        "",
        'Written by `make bench BENCH="--docs ..."` into docs/bench.json and from it; do not edit. '
        "CPU seconds of the steps' processes, fixed costs included; `x` is in decode scans of the "
        "same data as Parquet. Peak memory is that of the hungriest step.",
        "",
        "![CPU seconds by number of touchpoints](bench.svg)",
        "",
    ]
    for machine in sorted({(run["machine"], run["duckdb"]) for run in runs}):
        lines += [
            f"{machine[0]}; duckdb {machine[1]}",
            "",
            "| touchpoints | channels | touches | landing | limit | scan s | load s | build s "
            "| marts s | SQL x | publish x | peak MB | written MB | on |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        mine = [run for run in runs if (run["machine"], run["duckdb"]) == machine]
        mine.sort(
            key=lambda run: (*(run[name] != value for name, value in USUAL.items()), *_key(run))
        )
        lines += [*map(_row, mine), ""]
    return "\n".join(lines)


def _key(run: Run) -> tuple[Any, ...]:
    return *(run[name] for name in USUAL), run["touchpoints"]


def _row(run: Run) -> str:
    scan = cpu(run, "decode scan")
    steps = [run["steps"][step] for step in (*SQL_STEPS, *OTHERS)]
    return (
        f"| {run['touchpoints']:,} | {run['channels']} | {run['touches']} | {run['landing']} "
        f"| {run['memory_limit']} | {scan:.2f} | {cpu(run, 'load'):.1f} | {cpu(run, 'build'):.1f} "
        f"| {cpu(run, 'marts'):.1f} | {cpu(run, *SQL_STEPS) / scan:.1f} "
        f"| {cpu(run, *SQL_STEPS, *OTHERS) / scan:.1f} "
        f"| {max(step['memory'] for step in steps):,.0f} "
        f"| {sum(step['written'] for step in steps):,.0f} | {run['on']} |"
    )


def drawn(runs: list[Run], last_run: Run) -> str:
    """CPU seconds over touchpoints, both axes by powers of ten, as SVG: of the usual workload, on
    the machine and by the engine of the last run; of that run alone where there is none.
    """
    usual = USUAL | {name: last_run[name] for name in ("machine", "duckdb")}
    mine = [run for run in runs if all(run[name] == value for name, value in usual.items())]
    mine = mine or [last_run]
    mine.sort(key=lambda run: run["touchpoints"])
    lines: Lines = [
        (name, [(run["touchpoints"], cpu(run, *steps)) for run in mine])
        for name, steps in (
            ("decode scan", ("decode scan",)),
            ("load, build and marts: the SQL of the line", SQL_STEPS),
            ("landing to publication", (*SQL_STEPS, *OTHERS)),
        )
    ]
    points = [point for _, known in lines for point in known]
    first, last = _powers([size for size, _ in points])
    low, high = _powers([cost for _, cost in points])

    def x(size: float) -> float:
        return LEFT + WIDTH * (math.log10(size) - first) / (last - first)

    def y(cost: float) -> float:
        return TOP + HEIGHT * (high - math.log10(cost)) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 60}" '
        f'height="{TOP + HEIGHT + 40}" font-family="sans-serif" font-size="13" fill="#333">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" font-weight="bold">CPU seconds by number of touchpoints</text>',
    ]
    for power in range(first, last + 1):
        at = f"{x(10**power):.1f}"
        parts += [
            f'<line x1="{at}" x2="{at}" y1="{TOP}" y2="{TOP + HEIGHT}" stroke="#e2e8f0"/>',
            f'<text x="{at}" y="{TOP + HEIGHT + 20}" text-anchor="middle">{10**power:,}</text>',
        ]
    for power in range(low, high + 1):
        at = f"{y(10**power):.1f}"
        parts += [
            f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{at}" y2="{at}" stroke="#e2e8f0"/>',
            f'<text x="{LEFT - 10}" y="{at}" dy="4" text-anchor="end">{10.0**power:g}</text>',
        ]
    for place, ((name, known), colour) in enumerate(zip(lines, COLOURS, strict=True)):
        path = " ".join(f"{x(size):.1f},{y(cost):.1f}" for size, cost in known)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x(size):.1f}" cy="{y(cost):.1f}" r="4" fill="{colour}"/>'
            for size, cost in known
        ]
        at = TOP + 18 + 20 * place
        parts.append(f'<text x="{LEFT + 12}" y="{at}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _powers(values: list[float]) -> tuple[int, int]:
    """The powers of ten around them, two at least."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)

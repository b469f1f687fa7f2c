"""What is published and how the last run went, without touching the warehouse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attribution import publish
from attribution.runs import STEPS, RunRecord, history
from attribution.settings import Folders
from attribution.terminal import console, number, print_rows
from attribution.warehouse import open_published

SHOWN_RUNS = 10
SHOWN = ("last_touch", "linear", "position_based", "markov", "shapley", "ladder")


def status(folders: Folders) -> dict[str, Any]:
    """The published version, the versions kept, the steps of the last run, and what came of those
    before it, oldest first, as plain values."""
    run_id = publish.current(folders.publish)
    record = RunRecord.read(folders)
    version = publish.read_manifest(folders.publish / "current") if run_id else None
    return {
        "current": run_id,
        "run_date": version["run_date"] if version else None,
        "rows": version["rows"] if version else None,
        "versions": [path.name for path in publish.versions(folders.publish)],
        "last_run": {
            "run_date": record.run_date,
            "started_at": record.started_at,
            "finished": STEPS[-1] in record.steps,
            "steps": record.steps,
        },
        "runs": history(folders),
    }


def print_published(folders: Folders) -> None:
    """Channels with every model side by side, and where the files are."""
    current = folders.publish / "current"
    run_id = publish.current(folders.publish)
    if run_id is None:
        console().print(f"nothing published in {folders.publish} yet: `attribution run`")
        return
    manifest = publish.read_manifest(current)
    with open_published(current) as con:
        rows = con.execute(
            "select channel, model, conversions::double, cost::double from channel_performance"
        ).fetchall()
    models = [model for model in SHOWN if any(row[1] == model for row in rows)]
    credit = {(channel, model): conversions for channel, model, conversions, _ in rows}
    costs = {channel: cost for channel, _, _, cost in rows}
    order = sorted(costs, key=lambda channel: -credit.get((channel, models[0]), 0.0))
    print_rows(
        f"Conversions by channel up to {manifest['run_date']}",
        ["channel", *(model.replace("_", " ") for model in models), "cost"],
        [
            [
                channel,
                *(number(credit.get((channel, model))) for model in models),
                number(costs[channel], ",.0f"),
            ]
            for channel in order
        ]
        + [
            [
                "all",
                *(number(sum(credit.get((channel, m), 0.0) for channel in order)) for m in models),
                number(sum(cost or 0 for cost in costs.values()), ",.0f"),
            ]
        ],
    )
    counts = manifest["rows"]
    # an earlier version of the package may have published it: what it did not count is not shown
    parts = [
        f"{counts[part]:,} {part}"
        for part in ("loaded", "rejected", "suppressed", "deduplicated")
        if part in counts
    ]
    console().print(f"rows: {counts['read']:,} read = {' + '.join(parts)}", soft_wrap=True)
    console().print(f"published: {run_id}")
    for name in ("report.html", "attribution.xlsx", "attribution.duckdb", "parquet"):
        console().print(f"  {current / name}", soft_wrap=True)


def print_runs(folders: Folders) -> None:
    """The steps of the last run, what came of those before it, and the versions kept."""
    record = RunRecord.read(folders)
    if record.steps:
        unfinished = next((step for step in STEPS if step not in record.steps), None)
        state = f"ended before `{unfinished}`" if unfinished else "published"
        print_rows(
            f"Last run: {record.run_date or 'no date yet'}, begun {record.started_at}, {state}",
            ["step", "seconds", "figures"],
            [
                [step, number(figures["seconds"]), _figures(figures)]
                for step, figures in record.steps.items()
            ],
        )
    runs = history(folders)[: -SHOWN_RUNS - 1 : -1]
    if runs:
        print_rows(
            "Runs, newest first",
            ["begun", "run date", "seconds", "rows read", "warnings", "outcome"],
            [
                [
                    run["started_at"],
                    run["run_date"] or "–",
                    number(sum(run["steps"].values())),
                    number(run["rows"].get("read"), ",d"),
                    str(len(run["warnings"])),
                    run["run_id"] or f"{run['outcome']} in {run['ended_in']}",
                ]
                for run in runs
            ],
        )
    if runs and runs[0]["message"]:
        console().print(f"{runs[0]['outcome']}: {runs[0]['message']}", soft_wrap=True)
    names = [path.name for path in publish.versions(folders.publish)]
    current = publish.current(folders.publish)
    for name in names:
        console().print(f"version {name}{' (current)' if name == current else ''}", soft_wrap=True)


def _figures(figures: Mapping[str, Any]) -> str:
    """Counts of a step that are not 0, and its warnings."""
    counts = {name: value for name, value in figures.items() if type(value) is int and value}
    if isinstance(figures.get("rows"), dict):
        counts["rows"] = sum(figures["rows"].values())
    if figures.get("warnings"):
        counts["warnings"] = len(figures["warnings"])
    return ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in counts.items())

"""What is published and how the last run went, without touching the warehouse."""

from __future__ import annotations

from typing import Any

from attribution import publish
from attribution.runs import STEPS, RunRecord
from attribution.settings import Folders
from attribution.terminal import console, number, print_rows
from attribution.warehouse import open_published

SHOWN = ("last_touch", "linear", "position_based", "markov", "shapley", "ladder")


def status(folders: Folders) -> dict[str, Any]:
    """The published version, the versions kept, and the steps of the last run, as plain values."""
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


def print_last_run(folders: Folders) -> None:
    record = RunRecord.read(folders)
    if not record.steps:
        return
    unfinished = next((step for step in STEPS if step not in record.steps), None)
    state = f"ended before `{unfinished}`" if unfinished else "published"
    print_rows(
        f"Last run: {record.run_date or 'no date yet'}, begun {record.started_at}, {state}",
        ["step", "seconds"],
        [[step, number(figures["seconds"])] for step, figures in record.steps.items()],
    )

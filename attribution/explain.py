"""One conversion: its touchpoints, and what each model credits them with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from attribution import publish
from attribution.errors import UsageError
from attribution.settings import Folders
from attribution.terminal import number, print_rows
from attribution.warehouse import open_published

CREDIT = """
select
    model, goal, channel, unattributed_reason, credit::double, revenue_credit::double, converted_at
from conversion_credit
where conversion_id = ?
order by model, channel
"""
TOUCHES = """
select touchpoint_id, position, channel, hours_to_conversion, model, credit::double
from touchpoint_credit
where conversion_id = ?
order by position, model
"""


def explain(folders: Folders, conversion_id: str) -> dict[str, Any]:
    """Touchpoints of a published conversion in their order, and credit by model.

    Returns
    -------
    dict
        conversion_id, goal, converted_at, revenue, unattributed_reason; touchpoints, each with
        touchpoint_id, channel, occurred_at and its `credit` by model; channels, credit by model of
        every channel, that of no channel included.

    Raises
    ------
    UsageError
        Nothing is published, or it holds no such conversion.
    """
    if publish.current(folders.publish) is None:
        raise UsageError(f"nothing published in {folders.publish} yet: `attribution run`")
    with open_published(folders.publish / "current") as con:
        credit = con.execute(CREDIT, [conversion_id]).fetchall()
        touches = con.execute(TOUCHES, [conversion_id]).fetchall()
    if not credit:
        raise UsageError(
            f"no conversion {conversion_id!r} in {folders.publish / 'current'}: it may be "
            "cancelled, before the window, or not loaded"
        )
    _, goal, _, reason, _, _, converted_at = credit[0]
    channels: dict[str, dict[str, float]] = {}
    revenue: dict[str, float] = {}
    for model, _, channel, _, share, paid, _ in credit:
        channels.setdefault(channel, {})[model] = share
        revenue[model] = revenue.get(model, 0.0) + paid
    touchpoints: dict[str, dict[str, Any]] = {}
    for touchpoint_id, position, channel, hours, model, share in touches:
        touch = touchpoints.setdefault(
            touchpoint_id,
            {
                "touchpoint_id": touchpoint_id,
                "position": position,
                "channel": channel,
                "occurred_at": (converted_at - timedelta(hours=hours)).isoformat(" ", "seconds"),
                "credit": {},
            },
        )
        touch["credit"][model] = share
    return {
        "conversion_id": conversion_id,
        "goal": goal,
        "converted_at": converted_at.isoformat(" ", "seconds"),
        "revenue": max(revenue.values()),
        "unattributed_reason": reason,
        "touchpoints": list(touchpoints.values()),
        "channels": channels,
    }


def print_explained(explained: dict[str, Any]) -> None:
    """The touchpoints with a column for each model; shares of the conversion in percent."""
    models = sorted({model for credit in explained["channels"].values() for model in credit})
    rows = [
        [f"{touch['occurred_at'][:16]}  {touch['channel']}"]
        + [number(touch["credit"].get(model), ".1%") for model in models]
        for touch in explained["touchpoints"]
    ]
    touched = {touch["channel"] for touch in explained["touchpoints"]}
    rows += [
        [" ".join([channel, explained["unattributed_reason"] or ""]).strip()]
        + [number(credit.get(model), ".1%") for model in models]
        for channel, credit in explained["channels"].items()
        if channel not in touched
    ]
    print_rows(
        f"Conversion {explained['conversion_id']}, {explained['goal']}, "
        f"{explained['converted_at']} UTC, revenue {number(explained['revenue'], ',.2f')}",
        ["touched at", *(model.replace("_", " ") for model in models)],
        rows,
    )

"""Staging, journeys and statistics by dbt, in full or of the customers who changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from attribution import changes
from attribution.contract import read_contract
from attribution.errors import NoConversions, NoTouchpoints
from attribution.run_date import bounds, file_of, newest_day
from attribution.settings import Folders, Settings
from attribution.warehouse import open_warehouse, scalar, transaction

# Of staging, built once it is known who changed.
CUSTOMERS = ("changed_touchpoints", "stg_customers")


def build(
    folders: Folders,
    settings: Settings,
    run_date: date | None,
    full: bool,
    dbt: Callable[..., int],
) -> dict[str, Any]:
    """Build all that the models and the marts read.

    run_date : None means the newest day in the exports.
    full : whatever changed since the last build.
    dbt : builds selected nodes, without those of `exclude`, in full or not; returns their number.

    Raises
    ------
    BuildError, NoConversions, NoTouchpoints
    """
    contract = read_contract(folders.contract)
    later, is_newest = 0, run_date is None
    with open_warehouse(folders, settings) as con:
        if run_date is None:
            run_date, later = newest_day(con, contract, settings)
        times = bounds(run_date, settings)
        number = scalar(con, "select coalesce(max(build), 0) + 1 from raw._run")
        with transaction(con):
            con.execute("delete from raw._run")
            con.execute("insert into raw._run values (?, ?, ?, ?, ?)", [run_date, *times, number])
        reason = changes.begin(con, folders, settings)
    reason = "asked for" if full else reason
    nodes = dbt("path:seeds", "path:models/staging", exclude=CUSTOMERS, full=reason is not None)
    changed = 0
    if reason is None:
        with open_warehouse(folders, settings) as con:
            reason, changed = changes.compare(con, settings)
    nodes += dbt(
        *CUSTOMERS, "path:models/journeys", "path:models/statistics", full=reason is not None
    )
    with open_warehouse(folders, settings) as con:
        changes.end(con, folders, settings)
        conversions = scalar(
            con,
            "select count(*) from journeys.journey_conversions "
            "where is_in_window and not is_cancelled",
        )
        touchpoints = scalar(con, "select count(*) from journeys.journey_touchpoints")
        goals = con.execute("select distinct goal from journeys.journey_conversions").fetchall()
        told_by = ""
        if is_newest and not conversions:
            told_by = f", the newest day, of {file_of(con, contract, run_date, settings)}"
    warnings = [
        f"lookback_days_by_goal: no conversion is of the goal {goal!r}"
        for goal in sorted(set(settings.lookback_days_by_goal) - {goal for (goal,) in goals})
    ]
    if later:
        warnings.append(f"{later} rows are later than {run_date} and do not count")
    if not conversions:
        raise NoConversions(
            f"build: no conversion in the {settings.window_days} days up to {run_date}"
            f"{told_by}, cancelled ones aside: deliver conversions, choose another --date, or "
            "widen window_days"
        )
    if not touchpoints:
        raise NoTouchpoints(
            f"build: no touchpoint up to {run_date} is in any journey: deliver touchpoints, choose "
            "another --date, or widen lookback_days"
        )
    return {
        "run_date": run_date.isoformat(),
        "nodes": nodes,
        "customers_built": f"all: {reason}" if reason else changed,
        "conversions": conversions,
        "journey_touchpoints": touchpoints,
        "warnings": warnings,
    }

"""Gates: the suites of expectations/, run by Great Expectations on small frames that SQL prepares.

`expectations/<boundary>.sql` yields the frame, one row for each thing that can be wrong, named in
its column `subject`; `expectations/<boundary>.json` says what must hold. A failed `critical`
expectation refuses the run, a failed `warning` is published with the result.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attribution.errors import GateRefused
from attribution.settings import Folders, Settings, one_line
from attribution.stopping import stop_if_asked

if TYPE_CHECKING:
    import duckdb
    import pandas as pd  # only the gates that read frames wait for it

NAMED = 3  # subjects named in a message


@dataclass(frozen=True)
class Finding:
    """An expectation that does not hold, in one line with its figures, and what it is there for."""

    severity: str
    message: str
    why: str = ""


def gate(
    folders: Folders,
    settings: Settings,
    boundary: str,
    con: duckdb.DuckDBPyConnection,
    parameters: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Hold the suite of a boundary against the frame that its query prepares.

    Returns the number of expectations and of rows, and the warnings.

    Raises
    ------
    GateRefused
        where a critical expectation is not met.
    """
    query = (folders.expectations / f"{boundary}.sql").read_text(encoding="utf-8")
    frame = con.execute(query, dict(parameters or {}) or None).df()
    suite = read_suite(folders.expectations, boundary)
    for expectation in suite["expectations"]:
        if expectation["kwargs"].get("column") in settings.critical_checks:
            expectation["severity"] = "critical"
    findings = validate(suite, frame, {"max_bad_row_share": settings.max_bad_row_share})
    refuse(f"check {boundary}", findings)
    return {
        "expectations": len(suite["expectations"]),
        "rows": len(frame),
        "warnings": [finding.message for finding in findings],
    }


def read_suite(folder: Path, boundary: str) -> dict[str, Any]:
    suite: dict[str, Any] = json.loads((folder / f"{boundary}.json").read_text(encoding="utf-8"))
    return suite


def validate(
    suite: Mapping[str, Any], frame: pd.DataFrame, parameters: Mapping[str, Any]
) -> list[Finding]:
    """Findings of a suite on a frame, criticals first; empty where everything holds.

    Nothing passes vacuously: an empty suite or frame, a column that is NULL throughout, an
    expectation that was not evaluated or that raised are critical findings themselves.
    """
    declared = suite["expectations"]
    if not declared:
        return [Finding("critical", f"{suite['name']}: the suite is empty")]
    if frame.empty:
        return [Finding("critical", f"{suite['name']}: there is nothing to check, 0 rows")]
    results = _evaluate(suite, frame, parameters)
    findings = [
        finding
        for expectation, result in zip(declared, results, strict=False)
        if (finding := _finding(suite["name"], expectation, result, frame))
    ]
    if len(results) != len(declared):
        findings.append(
            Finding(
                "critical",
                f"{suite['name']}: {len(results)} of {len(declared)} expectations were evaluated",
            )
        )
    return sorted(findings, key=lambda finding: finding.severity)


def refuse(step: str, findings: list[Finding]) -> None:
    """Raise GateRefused where a finding is critical, naming every one and what to do."""
    critical = [
        f"{finding.message}{f': {why}' if (why := finding.why.rstrip('.')) else ''}"
        for finding in findings
        if finding.severity == "critical"
    ]
    if critical:
        raise GateRefused(f"{step} refused: {'; '.join(critical)}; nothing was published")


def _evaluate(
    suite: Mapping[str, Any], frame: pd.DataFrame, parameters: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Results in the order of the suite."""
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    import great_expectations as gx  # 8 s: only where a gate really runs
    from great_expectations.core import ExpectationSuite
    from great_expectations.data_context.types.base import ProgressBarsConfig

    stop_if_asked()  # importing it takes seconds, and may keep a signal to itself
    # It sets its own level and tells of each temporary folder.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("frames").add_dataframe_asset(suite["name"])
    batch = asset.add_batch_definition_whole_dataframe("frame").get_batch({"dataframe": frame})
    # Each with its own place as id: results come back in an order of their own.
    expectations = [
        expectation | {"meta": {"place": place, **expectation.get("meta", {})}}
        for place, expectation in enumerate(suite["expectations"])
    ]
    results = batch.validate(
        ExpectationSuite(name=suite["name"], expectations=expectations),
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": ["subject"],
            "partial_unexpected_count": 0,
            "include_unexpected_rows": False,
        },
        expectation_parameters=dict(parameters),
    ).results
    ordered = sorted(results, key=lambda result: result.expectation_config.meta["place"])
    return [
        {
            "success": bool(result.success),
            "raised": _exception(result.exception_info),
            "result": dict(result.result),
        }
        for result in ordered
    ]


def _exception(info: Mapping[str, Any]) -> str | None:
    """The message, whether GX reports one exception or one per metric."""
    reports = [info] if "raised_exception" in info else list(info.values())
    return next(
        (one_line(report["exception_message"]) for report in reports if report["raised_exception"]),
        None,
    )


def _finding(
    suite: str, expectation: Mapping[str, Any], result: Mapping[str, Any], frame: pd.DataFrame
) -> Finding | None:
    kwargs = expectation["kwargs"]
    columns = [str(value) for key, value in kwargs.items() if key.startswith("column")]
    name = f"{suite}: {expectation['type']}({', '.join(columns)})"
    if result["raised"]:
        return Finding("critical", f"{name} could not be evaluated: {result['raised']}")
    for column in columns:
        if "to_be_null" not in expectation["type"] and frame[column].isna().all():
            return Finding("critical", f"{name} has nothing to check: {column} is NULL throughout")
    if result["success"]:
        return None
    return Finding(
        expectation["severity"],
        f"{name}: {_figures(result['result'], columns)}",
        expectation.get("meta", {}).get("why", ""),
    )


def _figures(result: Mapping[str, Any], columns: list[str]) -> str:
    if "unexpected_count" not in result:
        return f"observed {result.get('observed_value')}"
    wrong = result.get("unexpected_index_list") or []
    named = [
        f"{row['subject']} ({', '.join(str(row[column]) for column in columns if column in row)})"
        for row in wrong[:NAMED]
    ]
    rest = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    return (
        f"{result['unexpected_count']} of {result['element_count']} rows: {', '.join(named)}{rest}"
    )

"""What people open of a version: report.html, attribution.xlsx and csv/, from its marts alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attribution.settings import in_bytes
from attribution.warehouse import bound_threads, literal, open_published


def write_documents(candidate: Path, manifest: Mapping[str, Any], previous: Path | None) -> None:
    """Write the documents of a candidate version beside its marts.

    manifest : its run, settings, steps with their warnings.
    previous : folder of the version to compare with, if there is one.
    """
    # templates and formats take half a second to import, for this step alone
    from attribution.report import render
    from attribution.report_facts import read_facts
    from attribution.report_periods import window
    from attribution.restated import compare
    from attribution.wording import Wording
    from attribution.workbook import write_csv, write_workbook

    settings = manifest["settings"]
    wording = Wording(settings["report_language"], settings["reporting_currency"])
    with open_published(candidate) as con:
        con.execute(f"set memory_limit = {literal(settings['memory_limit'])}")
        bound_threads(con, in_bytes(settings["memory_limit"]))
        facts = read_facts(con, settings)
        restated = compare(con, *window(facts, manifest), previous)
        page = render(facts, manifest, restated, wording)
        (candidate / "report.html").write_text(page, encoding="utf-8")
        write_workbook(con, candidate / "attribution.xlsx", manifest, wording)
        write_csv(con, candidate / "csv", settings["csv_decimal"])

"""The night's warnings in the words of the page's reader; log and manifest keep the lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

from attribution.wording import Wording, apart

# A failed expectation as `validation` writes it, with a text warning_<column>.
EXPECTATION = re.compile(r"\w+: expect_\w+\((?P<column>\w+)\): \d+ of \d+ rows: (?P<found>.+)")
# Lines of `load`, `build` and `attribute`; a group's value stands in the text under its name.
LINES = {
    "warning_column_lost": r"landing/(?P<file>.+) has no column (?P<columns>.+); files of its .*",
    "warning_undeclared": r"_exports\.yml declares (?P<export>.+) no longer; .*",
    "warning_waiting": r"landing/(?P<file>.+) (has no|is younger|is being) .*; left for the .*",
    "warning_not_read": r"landing/(?P<file>.+?)"
    r"( is a link: | is no regular|: no export| lies in no ).*",
    "warning_bad_name": r"landing/(?P<file>.+): its name is not UTF-8: .*",
    "warning_later": r"(?P<rows>\d+) rows are later than (?P<day>[\d-]{10}) and do not count",
    "warning_no_such_goal": r"lookback_days_by_goal: no .* of the goal (['\"])(?P<goal>.*)\1",
    "warning_no_segment": r"goal (['\"])(?P<goal>.*)\1, (?P<segment>\w+) (['\"])(?P<value>.*)\4 "
    r"has no credit by (?P<model>\w+): .*",
    "warning_no_credit": r"goal (['\"])(?P<goal>.*)\1 has no credit by (?P<model>\w+): .*",
    "warning_all_convert": r"markov: every journey converts, .*",
}
NUMBER = re.compile(r" \((-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)\)(?=, |$)")  # not what a file's name has


def warnings(manifest: Mapping[str, Any], wording: Wording) -> list[str]:
    """What the steps of the manifest warn of, in their order."""
    steps: Iterable[Mapping[str, Any]] = manifest["steps"].values()
    return [in_words(line, wording) for step in steps for line in step.get("warnings", ())]


def in_words(line: str, wording: Wording) -> str:
    """A warning in the reader's language; the line itself where it is not known."""
    known = EXPECTATION.fullmatch(line)
    if known and wording.has(f"warning_{known['column']}"):
        column, found = known.groups()
        return wording.text(f"warning_{column}", **_found(column, found, wording))
    for key, pattern in LINES.items():
        if known := re.fullmatch(pattern, line):
            values = {name: _said(name, text, wording) for name, text in known.groupdict().items()}
            return wording.text(key, **values)
    return apart(line)


def _found(column: str, found: str, wording: Wording) -> dict[str, str]:
    """The subjects that an expectation found wrong, and the figure of the first."""
    forms: dict[str, Callable[[float], str]] = {
        "share_unmapped": wording.percent,
        "size_ratio": lambda value: wording.number(value, 2),
        "days_overdue": wording.number,
        "rows_conflicting": wording.number,
        "rows_read": wording.number,
    }
    form = forms.get(column)
    first = NUMBER.search(found)
    more = re.search(r" and (\d+) more$", found)
    if more:
        found = found[: more.start()]
    if form:
        found = NUMBER.sub(lambda number: f" ({form(float(number[1]))})", found)
    if more:
        found = wording.text("and_others", found=found, n=more[1])
    return {"found": apart(found), "figure": form(float(first[1])) if form and first else ""}


def _said(name: str, text: str, wording: Wording) -> str:
    if name == "rows":
        return wording.number(int(text))
    if name == "day":
        return wording.day(date.fromisoformat(text))
    if name == "model" and wording.has(f"model_{text}"):
        return wording.text(f"model_{text}")
    return apart(text)

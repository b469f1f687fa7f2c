"""A contract entry from a guess, to paste into _exports.yml."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import yaml

from attribution.contract import META
from attribution.export_guess import PERSON, Guess


def as_yaml(found: Guess, name: str) -> str:
    """The entry to paste below `tables:` in _exports.yml."""
    names = _names([header_ for header_, _, _ in found.columns])
    people = [
        column
        for column, (header_, kind, _) in zip(names, found.columns, strict=True)
        if kind == "varchar" and PERSON.search(header_)
    ]
    lines = [
        f"      - name: {name}",
        "        description: TODO",
        "        config:",
        "          meta:",
    ]
    for key, value in found.meta.items():
        if META[key] != value or found.notes.get(key, "").startswith("AMBIGUOUS"):
            note = f"   # {' '.join(found.notes[key].split())}" if key in found.notes else ""
            lines.append(f"            {key}: {_scalar(value)}{note}")
    lines.append("            required: []   # without which columns is a row worth nothing?")
    lines.append(f"            pseudonyms: [{', '.join(people)}]   # check: every id of a person")
    lines.append("        columns:")
    for column, (header_, kind, comment) in zip(names, found.columns, strict=True):
        said = json.dumps(header_, ensure_ascii=False)
        other = f", config: {{meta: {{header: {said}}}}}" if column != header_ else ""
        quoted = f'"{kind}"' if "," in kind else kind
        lines.append(f"          - {{name: {column}, data_type: {quoted}{other}}}   # {comment}")
    return "\n".join(lines) + "\n"


def _names(headers: Sequence[str]) -> list[str]:
    """A name for each column, none twice, and none that YAML takes for a truth."""
    names: list[str] = []
    for header_ in headers:
        name = snake(header_)
        if not isinstance(yaml.safe_load(name), str):
            name = f"column_{name}"
        number = 1
        while (f"{name}_{number}" if number > 1 else name) in names:
            number += 1
        names.append(f"{name}_{number}" if number > 1 else name)
    return names


def snake(text: str) -> str:
    """A lower-case name for a header or a file."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return name if re.match(r"[a-z]", name) else f"column_{name}".rstrip("_")


def _scalar(value: object) -> str:
    """A value in YAML, on one line."""
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
        .replace("\n...", "")
        .strip()
    )

"""A contract entry for a file that no contract knows: every guess says what it rests on.

Only `doctor --export` guesses. What is loaded is read by the contract that a person has pasted.
"""

from __future__ import annotations

import codecs
import gzip
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from attribution.contract import META, Column, Export
from attribution.errors import Unreadable
from attribution.records import Record, csv_records, header, json_records
from attribution.unpacking import plain_copy

SAMPLE = 10_000
DELIMITERS = (",", ";", "\t", "|")
INTEGER = re.compile(r"[+-]?(0|[1-9]\d{0,17})")
BOOLEAN = re.compile(r"true|false", re.IGNORECASE)
ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")
ISO_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?\s*([Zz]|UTC|[+-]\d\d(:?\d\d)?)?"
)
# by how the text looks: decimal sign, thousands sign, whether a minus may trail
NUMBERS = {
    re.compile(r"[+-]?\d+(\.\d+)?"): (".", "", False),
    re.compile(r"[+-]?\d+(\.\d+)?-?"): (".", "", True),
    re.compile(r"[+-]?(\d+|\d{1,3}(,\d{3})+)(\.\d+)?"): (".", ",", False),
    re.compile(r"[+-]?(\d+|\d{1,3}('\d{3})+)(\.\d+)?"): (".", "'", False),
    re.compile(r"[+-]?\d+(,\d+)?"): (",", "", False),
    re.compile(r"[+-]?\d+(,\d+)?-?"): (",", "", True),
    re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?"): (",", ".", False),
    re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?-?"): (",", ".", True),
}
DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y%m%d", "%Y/%m/%d")
CLOCKS = (" %H:%M:%S", " %H:%M", "T%H:%M:%S", " %H:%M:%S.%f")
MAYBE_ID = re.compile(
    r"(^|_)(id|nr|no|key|number|nummer)$|user|client|customer|visitor|kunde", re.I
)
PERSON = re.compile(r"user|client|customer|visitor|cookie|kunde|person|lead", re.I)


@dataclass
class Guess:
    """meta : keys of the contract. columns : (header, type, comment)."""

    meta: dict[str, Any] = field(default_factory=dict)
    columns: list[tuple[str, str, str]] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)


def guess(path: Path, scratch: Path) -> Guess:
    """What a file looks like.

    Raises
    ------
    Unreadable
        where nothing can be made of it.
    """
    found = Guess()
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as parquet:
            for name, kind in zip(
                parquet.schema_arrow.names, parquet.schema_arrow.types, strict=True
            ):
                found.columns.append((name, _arrow_type(str(kind)), f"{kind} in the file"))
        return found
    head = _head(path)
    found.meta["encoding"] = _encoding(head)
    text = head.decode(found.meta["encoding"], errors="ignore").lstrip("\ufeff")
    present: Counter[str] = Counter()
    if text.lstrip()[:1] in ("{", "["):
        if re.match(r'\s*\{\s*"[^"]*"\s*:\s*\[', text):
            found.meta["json_layout"] = "lists"
        export = _export(found.meta)
        records: Callable[[Path], Iterator[Record]] = lambda plain: json_records(  # noqa: E731
            export, plain, present
        )
    else:
        found.meta["delimiter"] = _delimiter(text)
        export = _export(found.meta)
        records = lambda plain: csv_records(export, plain)  # noqa: E731
    plain = plain_copy(export, path, scratch)
    rows = [record.values for record in itertools.islice(records(plain), SAMPLE) if record.values]
    names = list(present) or header(export, plain)[0]
    for name in names:
        values = [value.strip() for row in rows if (value := row.get(name)) and value.strip()]
        kind, comment = _column(name, values, found)
        found.columns.append((name, kind, comment))
    return found


def as_yaml(found: Guess, name: str) -> str:
    """The entry to paste below `tables:` in _exports.yml."""
    people = [_snake(header) for header, _, _ in found.columns if PERSON.search(header)]
    lines = [
        f"      - name: {name}",
        "        description: TODO",
        "        config:",
        "          meta:",
    ]
    for key, value in found.meta.items():
        if META[key] != value:
            note = f"   # {found.notes[key]}" if key in found.notes else ""
            lines.append(f"            {key}: {_scalar(value)}{note}")
    lines.append("            required: []   # without which columns is a row worth nothing?")
    lines.append(f"            pseudonyms: [{', '.join(people)}]   # check: every id of a person")
    lines.append("        columns:")
    for header_, kind, comment in found.columns:
        column = _snake(header_)
        other = f", config: {{meta: {{header: {_scalar(header_)}}}}}" if column != header_ else ""
        quoted = f'"{kind}"' if "," in kind else kind
        lines.append(f"          - {{name: {column}, data_type: {quoted}{other}}}   # {comment}")
    return "\n".join(lines) + "\n"


def _head(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as content:
            return bytes(content.read(2**20))
    except (OSError, EOFError) as error:
        raise Unreadable(f"broken gzip: {error}") from None


def _encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _delimiter(text: str) -> str:
    lines = text.splitlines()[:50]
    if lines and (said := re.fullmatch(r"sep=(.)", lines[0], re.IGNORECASE)):
        return said.group(1)
    lines = lines[:-1] or lines  # the last one may be cut

    def fit(sign: str) -> tuple[float, int]:
        counts = [line.count(sign) for line in lines]
        same = sum(count == counts[0] for count in counts) if counts and counts[0] else 0
        return same / max(len(counts), 1), counts[0] if counts else 0

    return max(DELIMITERS, key=fit)


def _export(meta: Mapping[str, Any]) -> Export:
    keys = {key: value for key, value in META.items() if key not in ("required", "pseudonyms")}
    tuples = {key: tuple(META[key]) for key in ("null_values", "placeholder_ids")}
    return Export(
        name="unknown", columns=(Column("x", "varchar", "x"),), **{**keys, **tuples, **meta}
    )


def _column(name: str, values: list[str], found: Guess) -> tuple[str, str]:
    """Type and comment of a column; what it says of the whole file goes into the guess."""
    if not values:
        return "varchar", "empty in the sample"
    rests = f"by {len(values):,} value{'s' if len(values) > 1 else ''}"
    if all(BOOLEAN.fullmatch(value) for value in values):
        return "boolean", rests
    if all(ISO_TIME.fullmatch(value) for value in values):
        return "timestamp", rests
    if all(ISO_DATE.fullmatch(value) for value in values):
        return "date", rests
    for clock, kind, key in (
        ("", "date", "date_format"),
        *((c, "timestamp", "time_format") for c in CLOCKS),
    ):
        fitting = [form for form in DATES if _parse_all(values, form + clock)]
        if fitting:
            return _with_format(fitting[0] + clock, fitting, kind, key, rests, found)
    if re.search(r"time|date|_at$|_ts$|^ts$|stamp", name, re.IGNORECASE) and (
        epoch := _epoch(values)
    ):
        found.meta["time_format"] = epoch
        return "timestamp", f"{rests}: {epoch}"
    if not MAYBE_ID.search(name):
        if all(INTEGER.fullmatch(value) for value in values):
            return "bigint", rests
        for pattern, (decimal, thousands, minus) in NUMBERS.items():
            if all(pattern.fullmatch(value) for value in values):
                if decimal != "." or thousands or minus:
                    found.meta |= {
                        "decimal": decimal, "thousands": thousands, "trailing_minus": minus
                    }  # fmt: skip
                    found.notes["decimal"] = f"by {name}, for instance {max(values, key=len)}"
                return "decimal(18,4)", rests
    return "varchar", rests


def _with_format(
    form: str, fitting: list[str], kind: str, key: str, rests: str, found: Guess
) -> tuple[str, str]:
    found.meta[key] = form
    if len(fitting) > 1:
        found.notes[key] = f"AMBIGUOUS: {' or '.join(fitting)}; no day is above 12: ask the source"
    return kind, f"{rests}: {form}"


def _parse_all(values: list[str], form: str) -> bool:
    try:
        for value in values:
            datetime.strptime(value, form)
    except ValueError:
        return False
    return True


def _epoch(values: list[str]) -> str | None:
    names = {10: "epoch_seconds", 13: "epoch_milliseconds", 16: "epoch_microseconds"}
    digits = {len(value) for value in values if re.fullmatch(r"1\d+", value)}
    same = len(digits) == 1 and all(value.isdigit() for value in values)
    return names.get(digits.pop()) if same else None


def _arrow_type(kind: str) -> str:
    for start, name in (("timestamp", "timestamp"), ("date", "date"), ("bool", "boolean"),
                        ("int", "bigint"), ("uint", "bigint"), ("double", "decimal(18,4)"),
                        ("float", "decimal(18,4)"), ("decimal", "decimal(18,4)")):  # fmt: skip
        if kind.startswith(start):
            return name
    return "varchar"


def _snake(header: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", header.lower()).strip("_")
    return name if re.match(r"[a-z]", name) else f"column_{name}".rstrip("_")


def _scalar(value: object) -> str:
    """A value in YAML, on one line."""
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
        .replace("\n...", "")
        .strip()
    )

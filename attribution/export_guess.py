"""What a file looks like that no contract knows: every guess says what it rests on.

Only `doctor --export` guesses. What is loaded is read by the contract that a person has pasted.
"""

from __future__ import annotations

import codecs
import gzip
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from attribution.contract import META, Column, Export
from attribution.errors import Unreadable
from attribution.records import Record, csv_records, header, json_records
from attribution.unpacking import plain_copy

SAMPLE = 10_000
DELIMITERS = (";", "\t", "|", ",")  # of two that fit, a comma is the more common sign within values
INTEGER = re.compile(r"[+-]?(0|[1-9]\d{0,17})")
BOOLEAN = re.compile(r"true|false", re.IGNORECASE)
ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")
ISO_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d{1,2}:\d\d(:\d\d(\.\d+)?)?\s*([Zz]|UTC|[+-]\d\d(:?\d\d)?)?"
)
# by how a number looks: decimal sign, thousands sign, whether a minus may trail; what begins with a
# 0 is a code
WHOLE, GROUPS = r"[+-]?(0|[1-9]\d*)", r"[+-]?(0|[1-9]\d*|[1-9]\d{0,2}(%s\d{3})+)"
NUMBERS = {
    (decimal, thousands, minus): re.compile(
        (GROUPS % re.escape(thousands) if thousands else WHOLE)
        + rf"({re.escape(decimal)}\d+)?"
        + "-?" * minus
    )
    for decimal, thousands in ((".", ""), (".", ","), (".", "'"), (",", ""), (",", "."))
    for minus in (False, True)
}
JSON = re.compile(r"\.jsonl?(\.gz)?$")
DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y%m%d", "%Y/%m/%d")
CLOCKS = (" %H:%M:%S", " %H:%M", "T%H:%M:%S", " %H:%M:%S.%f")
MAYBE_ID = re.compile(
    r"(^|_)(id|nr|no|key|number|nummer)$|user|client|customer|visitor|kunde", re.I
)
PERSON = re.compile(
    r"(user|client|customer|visitor|cookie|kunden?|person|lead)"
    r"([ _-]?pseudo)?[ _-]?(id|nr|no|key|number|nummer)?$",
    re.I,
)


@dataclass(frozen=True)
class Look:
    """What a column may be: its type, and the values of a key of the whole file that fit it.

    key : `numbers`, `date_format`, `time_format`, or None where it needs none.
    """

    kind: str
    comment: str
    key: str | None = None
    forms: tuple[Any, ...] = ()


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
                type_ = "varchar" if PERSON.search(name) else _arrow_type(str(kind))
                found.columns.append((name, type_, f"{kind} in the file"))
        return found
    head = _head(path)
    found.meta["encoding"] = _encoding(head)
    text = head.decode(found.meta["encoding"], errors="ignore").lstrip("\ufeff")
    plain = plain_copy(_export(found.meta), path, scratch)
    names, rows = _json(found, text, plain) if JSON.search(path.name) else _csv(found, text, plain)
    values = {
        name: [value.strip() for row in rows if (value := row.get(name)) and value.strip()]
        for name in names
    }
    _decide(found, values)
    return found


def _csv(found: Guess, text: str, plain: Path) -> tuple[list[str], list[dict[str, str | None]]]:
    found.meta["delimiter"] = _delimiter(text)
    export = _export(found.meta)
    return header(export, plain)[0], _sampled(csv_records(export, plain))


def _json(found: Guess, text: str, plain: Path) -> tuple[list[str], list[dict[str, str | None]]]:
    """By whichever layout gives records."""
    may_be_lists = re.match(r'\s*\{\s*"[^"]*"\s*:\s*\[', text)
    for layout in ("lists", "rows") if may_be_lists else ("rows",):
        present: Counter[str] = Counter()
        export = _export(found.meta | {"json_layout": layout})
        try:
            rows = _sampled(json_records(export, plain, present))
        except Unreadable:
            continue
        if rows:
            found.meta["json_layout"] = layout
            return list(present), rows
        break  # it is of that layout, and holds nothing
    raise Unreadable("holds no JSON records to guess by, a line each or in an array")


def _sampled(records: Iterator[Record]) -> list[dict[str, str | None]]:
    return [record.values for record in itertools.islice(records, SAMPLE) if record.values]


def _decide(found: Guess, values: Mapping[str, list[str]]) -> None:
    """Types of the columns. Signs of numbers, and formats of days and of times, are one for a file:
    where columns contradict each other, the one that fits the most is proposed.
    """
    looks = {name: _look(name, texts) for name, texts in values.items()}
    for key in ("numbers", "date_format", "time_format"):
        mine = {name: look for name, look in looks.items() if look.key == key}
        if not mine:
            continue
        votes = Counter(form for look in mine.values() for form in look.forms)
        fitting = [form for form, count in votes.items() if count == max(votes.values())]
        form = _preferred(key, fitting, found)
        for name, look in mine.items():
            if form not in look.forms:
                looks[name] = Look("varchar", f"{look.comment}; written unlike other columns")
        agree = [name for name in mine if form in mine[name].forms]
        either = [f for f in fitting if all(f in mine[name].forms for name in agree)]
        _note(found, key, form, either, max(values[agree[0]], key=len))
    found.columns = [(name, look.kind, look.comment) for name, look in looks.items()]


def _preferred(key: str, fitting: list[Any], found: Guess) -> Any:
    """Of numbers where a sign may be either, a comma is decimal where it does not part fields."""
    if key != "numbers":
        return fitting[0]
    order = list(NUMBERS)
    is_comma = found.meta.get("delimiter") == ";" and any(form[0] == "," for form in fitting)
    return min(fitting, key=lambda form: (is_comma and form[0] != ",", order.index(form)))


def _note(found: Guess, key: str, form: Any, either: list[Any], example: str) -> None:
    """Put what was decided into the keys of the contract, with what it rests on.

    either : all that would fit the same columns.
    """
    if key != "numbers":
        found.meta[key] = form
        if len(either) > 1:
            found.notes[key] = (
                f"AMBIGUOUS: {' or '.join(either)}; no day is above 12: ask the source"
            )
        return
    decimal, thousands, minus = form
    found.meta |= {"decimal": decimal, "thousands": thousands, "trailing_minus": minus}
    found.notes["decimal"] = f"for instance {example}"
    if len({other[0] for other in either}) > 1 and re.search(r"[.,]", example):
        found.notes["decimal"] = (
            f"AMBIGUOUS: the sign in {example} may part thousands or decimals: ask the source"
        )


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
        counts = [re.sub(r'"[^"]*"', "", line).count(sign) for line in lines]
        same = sum(count == counts[0] for count in counts) if counts and counts[0] else 0
        return same / max(len(counts), 1), counts[0] if counts else 0

    best = max(DELIMITERS, key=fit)
    return best if fit(best)[1] else ","


def _export(meta: Mapping[str, Any]) -> Export:
    keys = {key: value for key, value in META.items() if key not in ("required", "pseudonyms")}
    tuples = {key: tuple(META[key]) for key in ("null_values", "placeholder_ids")}
    return Export(
        name="unknown", columns=(Column("x", "varchar", "x"),), **{**keys, **tuples, **meta}
    )


def _look(name: str, values: list[str]) -> Look:
    if not values:
        return Look("varchar", "empty in the sample")
    rests = f"by {len(values):,} value{'s' if len(values) > 1 else ''}"
    if all(BOOLEAN.fullmatch(value) for value in values):
        return Look("boolean", rests)
    if all(ISO_TIME.fullmatch(value) for value in values):
        return Look("timestamp", rests, "time_format", (None,))
    if all(ISO_DATE.fullmatch(value) for value in values):
        return Look("date", rests, "date_format", (None,))
    for clock in ("", *CLOCKS):
        if forms := tuple(form + clock for form in DATES if _parse_all(values, form + clock)):
            kind, key = ("timestamp", "time_format") if clock else ("date", "date_format")
            return Look(kind, f"{rests}: {forms[0]}", key, forms)
    if re.search(r"time|date|_at$|_ts$|^ts$|stamp", name, re.IGNORECASE) and (
        epoch := _epoch(values)
    ):
        return Look("timestamp", f"{rests}: {epoch}", "time_format", (epoch,))
    if MAYBE_ID.search(name) or PERSON.search(name):
        return Look("varchar", rests)
    if all(INTEGER.fullmatch(value) for value in values):
        return Look("bigint", rests)
    signs = tuple(
        signs for signs, look in NUMBERS.items() if all(look.fullmatch(value) for value in values)
    )
    if not signs:
        return Look("varchar", rests)
    ends = (re.search(r"[.,](\d+)-?$", value) for value in values)
    scale = max([4, *(len(end[1]) for end in ends if end)])
    kind = "decimal(18,4)" if scale == 4 else f"decimal(38,{min(scale, 18)})"
    return Look(kind, rests, "numbers", signs)


def _parse_all(values: list[str], form: str) -> bool:
    if form.startswith("%Y%m%d") and not all(re.match(r"\d{8}(?!\d)", value) for value in values):
        return False  # it would take six digits, too
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

"""Text read record by record, so that every rejected row keeps its line and raw text."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from attribution.contract import Export
from attribution.errors import Unreadable
from attribution.settings import one_line

SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
LONGEST_FIELD = 2**20


@dataclass(frozen=True)
class Record:
    """One record of a file; `values` by header, `reason` where its shape is wrong."""

    line: int
    raw: str
    values: dict[str, str | None]
    reason: str | None = None


def header(export: Export, path: Path) -> tuple[list[str], int]:
    """The names in a CSV file's header, and how many lines stand above it: one where it says sep=.

    Raises
    ------
    Unreadable
        where there is none, or it contradicts itself or the contract.
    """
    csv.field_size_limit(LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            above = _separator_line(export, text)
            names = next(csv.reader(text, delimiter=export.delimiter, strict=True), [])
    except UnicodeError as error:
        raise Unreadable(f"not {export.encoding}: {one_line(error)}") from None
    except csv.Error as error:
        raise Unreadable(f"line 1: {one_line(error)}") from None
    if not any(name.strip() for name in names):
        raise Unreadable("no header")
    names = [name.strip() or f"column {place}" for place, name in enumerate(names, start=1)]
    folded = [name.casefold() for name in names]
    twice = next((place for place, name in enumerate(folded) if name in folded[:place]), None)
    if twice is not None:  # by place: where there is no header, the first row stands there
        raise Unreadable(
            f"columns {folded.index(folded[twice]) + 1} and {twice + 1} of the header have one name"
        )
    return names, above


def _separator_line(export: Export, text: TextIO) -> int:
    """Step over the line with which a spreadsheet names its delimiter."""
    said = SEPARATOR_LINE.fullmatch(text.readline())
    if said is None:
        text.seek(0)
        return 0
    if said.group(1) != export.delimiter:
        raise Unreadable(f"line 1 says sep={said.group(1)}, _exports.yml says {export.delimiter}")
    return 1


class Lines:
    """Lines of a text, remembering those of the record at hand so that they can be given back."""

    def __init__(self, text: Iterator[str]) -> None:
        self.text, self.again = text, deque[str]()
        self.record: list[str] = []
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.again.popleft() if self.again else next(self.text)
        self.record.append(line)
        return line

    def take(self) -> str:
        """The record's text, ended."""
        raw = "".join(self.record)
        self.number += len(self.record)
        self.record = []
        return raw.rstrip("\r\n")

    def take_all(self, keep: int) -> list[str]:
        """The record's first `keep` lines, each ended; the others are read once more."""
        self.again.extendleft(reversed(self.record[keep:]))
        taken = [text.rstrip("\r\n") for text in self.record[:keep]]
        self.number += keep
        self.record = []
        return taken


def csv_records(export: Export, path: Path) -> Iterator[Record]:
    names, above = header(export, path)
    with path.open(encoding="utf-8-sig", newline="") as text:
        lines = Lines(text)
        reader = csv.reader(lines, delimiter=export.delimiter, strict=True)
        try:
            for _ in range(above):
                next(lines)
            next(reader)
            lines.take()
            while True:
                line = lines.number + 1
                try:
                    fields = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    if "field limit" in str(error) and '"' in lines.record[0]:
                        raise Unreadable(
                            f"the quote in line {line} opens a text of more than a megabyte"
                        ) from None
                    # the line at which it stumbles is read once more, unless it is the last of all
                    keep = len(lines.record) - ("end of data" not in str(error))
                    swallowed = lines.take_all(max(keep, 1))
                    yield Record(line, swallowed[0], {}, one_line(error))
                    yield from _swallowed(line, swallowed)
                    reader = csv.reader(lines, delimiter=export.delimiter, strict=True)
                    continue
                if _swallows(export, names, lines.record, fields):
                    swallowed = lines.take_all(len(lines.record))
                    yield Record(
                        line, swallowed[0], {}, "a quote opens here and takes in whole rows"
                    )
                    yield from _swallowed(line, swallowed)
                    continue
                raw = lines.take()
                if "\0" in raw:
                    yield Record(line, raw.replace("\0", "\\0"), {}, "holds a NUL byte")
                elif fields:
                    yield _shaped(export, names, line, raw, fields)
        except UnicodeError as error:
            raise Unreadable(f"not {export.encoding}: {one_line(error)}") from None


def _swallowed(line: int, lines: list[str]) -> Iterator[Record]:
    """All but the first line of what a quote took in: it is no row of the source's, or nobody can
    tell, and whoever may write a text must write no rows.
    """
    for place, text in enumerate(lines[1:], start=1):
        yield Record(line + place, text, {}, f"stands behind a quote that opens in line {line}")


def _swallows(export: Export, names: list[str], record: list[str], fields: list[str]) -> bool:
    """Whether one of the lines that a record spans is a whole row: it was lost to a quote, which
    another lost quote closed, perhaps a thousand lines on. A text of several lines is none, as long
    as none of them looks like a row.
    """
    if len(record) == 1:
        return False
    least = width = len(names)
    if export.short_rows == "pad":
        required = {column.header for column in export.columns if column.required}
        least = max((place for place, name in enumerate(names, 1) if name in required), default=1)
    # a text that begins in the first columns has its row's other fields behind it
    if len(fields) == width and record[0].count(export.delimiter) < least - 1:
        return False
    for line in record[1:]:
        try:
            [found] = csv.reader([line], delimiter=export.delimiter, strict=True)
        except (csv.Error, ValueError):  # a quote of its own is open, or it is blank
            continue
        if least <= len(found) <= width:
            return True
    return False


def _shaped(export: Export, names: list[str], line: int, raw: str, fields: list[str]) -> Record:
    if len(fields) > len(names) or (len(fields) < len(names) and export.short_rows == "reject"):
        return Record(line, raw, {}, f"{len(fields)} fields instead of {len(names)}")
    return Record(line, raw, dict(zip(names, fields, strict=False)))


def json_records(export: Export, path: Path, present: Counter[str]) -> Iterator[Record]:
    """Records of JSON; how many of them hold each key is added up in `present`."""
    try:
        with path.open(encoding="utf-8-sig") as text:
            for line, raw, value in _json_values(export, text):
                if isinstance(value, ValueError | RecursionError):
                    yield Record(line, raw, {}, f"not JSON: {one_line(value)}")
                elif not isinstance(value, dict):
                    yield Record(line, raw, {}, "not a JSON object")
                elif "\0" in raw or "\\u0000" in raw:
                    yield Record(line, raw.replace("\0", "\\0"), {}, "holds a NUL byte")
                else:
                    values = {key: _json_text(item) for key, item in value.items()}
                    if _is_whole(raw, *values, *values.values()):
                        present.update(value.keys())
                        yield Record(line, raw, values)
                    else:
                        raw = raw.encode("utf-8", "backslashreplace").decode()
                        yield Record(line, raw, {}, "holds half a character")
    except UnicodeError as error:
        raise Unreadable(f"not {export.encoding}: {one_line(error)}") from None


def _json_values(export: Export, text: TextIO) -> Iterator[tuple[int, str, Any]]:
    """(line, raw text, value or error) for lines of JSON, or for the items of arrays."""
    # Numbers stay as they are written: 2108382086.1641140638 is an id. NaN is nothing.
    decode = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=lambda _: None).decode
    numbered = enumerate(text, start=1)
    number, first = next(((n, line) for n, line in numbered if line.strip()), (1, ""))
    if export.json_layout == "lists" or first.lstrip().startswith("["):
        try:
            whole = decode(first + "".join(line for _, line in numbered))
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"not JSON: {one_line(error)}") from None
        for place, item in enumerate(_items(export, whole), start=1):
            yield place, json.dumps(item, ensure_ascii=False), item
        return
    for place, line in itertools.chain([(number, first)], numbered):
        if line.strip():
            try:
                yield place, line.rstrip("\r\n"), decode(line)
            except (ValueError, RecursionError) as error:
                yield place, line.rstrip("\r\n"), error


def _items(export: Export, whole: Any) -> Iterator[Any]:
    if export.json_layout == "rows":
        yield from whole
        return
    if not isinstance(whole, dict) or not all(isinstance(rows, list) for rows in whole.values()):
        raise Unreadable("json_layout is `lists`, and this is no object of arrays")
    for rows in whole.values():
        yield from rows


def _is_whole(*texts: str | None) -> bool:
    """Whether texts have no half of a character, which JSON may escape and nothing can hold."""
    try:
        "".join(text or "" for text in texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False)

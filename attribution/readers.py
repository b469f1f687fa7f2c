"""A landed file as a relation.

Clean CSV and Parquet files are read by the engine in one pass. Whatever the engine stumbles over is
read again carefully, record by record, so that every rejected row keeps its line and raw text.
JSON is always read carefully: the engine knows neither bare NaN nor where a broken record began.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import json
import shutil
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import duckdb
import pyarrow as pa

from attribution.contract import Export
from attribution.settings import one_line
from attribution.warehouse import literal, quote

FORMATS = (".csv", ".csv.gz", ".parquet", ".json", ".json.gz", ".jsonl", ".jsonl.gz")
BATCH = 20_000


class Unreadable(Exception):
    """The file as a whole cannot be read; its text is the reason to quarantine it."""


@dataclass(frozen=True)
class Relation:
    """Rows of a file, as SQL to select from.

    columns : engine type by the file's own column name.
    row : SQL of the record's number within the file, from 1.
    careful : whether the columns _line, _raw, _reason stand beside the data; all values are text.
    """

    sql: str
    parameters: list[Any]
    columns: dict[str, str]
    row: str
    careful: bool = False


@dataclass(frozen=True)
class _Record:
    line: int
    raw: str
    values: dict[str, str | None]
    reason: str | None = None


def format_of(name: str) -> str | None:
    """The format by the file's ending, None where it is none of ours."""
    return next((ending for ending in FORMATS if name.endswith(ending)), None)


def plain_copy(export: Export, path: Path, scratch: Path) -> Path:
    """The file as it is, or a copy unpacked and in UTF-8: decoding all of a gzip checks its CRC."""
    if path.suffix == ".parquet" or (path.suffix != ".gz" and _is_utf8(export)):
        return path
    target = scratch / path.name.removesuffix(".gz")
    try:
        with path.open("rb") if path.suffix != ".gz" else gzip.open(path) as packed:
            if _is_utf8(export):
                with target.open("wb") as plain:
                    shutil.copyfileobj(packed, plain, 2**20)
            else:
                text = io.TextIOWrapper(packed, encoding=export.encoding, newline="")
                with target.open("w", encoding="utf-8", newline="") as plain_text:
                    shutil.copyfileobj(text, plain_text, 2**20)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Unreadable(f"broken gzip: {one_line(error)}") from None
    except UnicodeError as error:
        raise Unreadable(f"not {export.encoding}: {one_line(error)}") from None
    return target


def fast(con: duckdb.DuckDBPyConnection, export: Export, path: Path) -> Relation | None:
    """The file as the engine reads it, or None where only careful reading will do."""
    if path.suffix == ".parquet":
        rows = con.execute("describe select * from read_parquet(?)", [str(path)]).fetchall()
        return Relation(
            sql="read_parquet(?, file_row_number = true)",
            parameters=[str(path)],
            columns={name: kind for name, kind, *_ in rows},
            row="file_row_number + 1",
        )
    if path.suffix != ".csv" or export.short_rows == "pad":
        return None
    names = _header(export, path)
    fields = ", ".join(f"{literal(name)}: 'varchar'" for name in names)
    return Relation(
        sql=f"read_csv(?, header = true, auto_detect = false, delim = {literal(export.delimiter)}, "
        f"quote = '\"', escape = '\"', columns = {{{fields}}})",
        parameters=[str(path)],
        columns=dict.fromkeys(names, "VARCHAR"),
        row="row_number() over ()",
    )


def careful(con: duckdb.DuckDBPyConnection, export: Export, path: Path) -> Relation:
    """The file record by record, in the temporary table `careful`, every value as text.

    Beside the data stand _row (record), _line, _raw and, where its shape is wrong, _reason.
    """
    if path.suffix == ".parquet":
        return _careful_parquet(con, path)
    if path.suffix == ".csv":
        names = _header(export, path)
        records, present = _csv_records(export, path, names), dict.fromkeys(names, "VARCHAR")
    else:
        names, present = [column.name for column in export.columns], {}
        records = _json_records(path, present)
    columns = "".join(f", {quote(name)} varchar" for name in names)
    con.execute(
        "create or replace temp table careful "
        f"(_row bigint, _line bigint, _raw varchar, _reason varchar{columns})"
    )
    count = 0
    while batch := list(itertools.islice(records, BATCH)):
        arrays = [
            pa.array(range(count + 1, count + len(batch) + 1), pa.int64()),
            pa.array([record.line for record in batch], pa.int64()),
            pa.array([record.raw for record in batch], pa.string()),
            pa.array([record.reason for record in batch], pa.string()),
            *(pa.array([r.values.get(name) for r in batch], pa.string()) for name in names),
        ]
        con.register("batch", pa.table(arrays, names=[str(i) for i in range(len(arrays))]))
        con.execute("insert into careful select * from batch")
        con.unregister("batch")
        count += len(batch)
    if not count:
        present = dict.fromkeys(names, "VARCHAR")
    return Relation("careful", [], present, "_row", careful=True)


def _is_utf8(export: Export) -> bool:
    return codecs.lookup(export.encoding).name in ("utf-8", "utf-8-sig", "ascii")


def _header(export: Export, path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            names = next(csv.reader(text, delimiter=export.delimiter, strict=True), [])
    except UnicodeError as error:
        raise Unreadable(f"not {export.encoding}: {one_line(error)}") from None
    except csv.Error as error:
        raise Unreadable(f"line 1: {one_line(error)}") from None
    names = [name.strip() for name in names]
    if not any(names):
        raise Unreadable("no header")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Unreadable(f"column `{twice}` stands twice in the header")
    return names


class _Lines:
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

    def take(self, keep: int | None = None) -> str:
        """The record's text, ended; all but its first `keep` lines are read once more."""
        if keep is not None:
            self.again.extendleft(reversed(self.record[keep:]))
            del self.record[keep:]
        raw = "".join(self.record)
        self.number += len(self.record)
        self.record = []
        return raw.rstrip("\r\n")


def _csv_records(export: Export, path: Path, names: list[str]) -> Iterator[_Record]:
    with path.open(encoding="utf-8-sig", newline="") as text:
        lines = _Lines(text)
        reader = csv.reader(lines, delimiter=export.delimiter, strict=True)
        try:
            next(reader)
            lines.take()
            while True:
                line = lines.number + 1
                try:
                    fields = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    # A lost quote swallows what follows: only its own line is at fault.
                    yield _Record(line, lines.take(keep=1), {}, one_line(error))
                    reader = csv.reader(lines, delimiter=export.delimiter, strict=True)
                    continue
                raw = lines.take()
                if fields:
                    yield _shaped(export, names, line, raw, fields)
        except UnicodeError as error:
            raise Unreadable(f"not {export.encoding}: {one_line(error)}") from None


def _shaped(export: Export, names: list[str], line: int, raw: str, fields: list[str]) -> _Record:
    if len(fields) > len(names) or (len(fields) < len(names) and export.short_rows == "reject"):
        return _Record(line, raw, {}, f"{len(fields)} fields instead of {len(names)}")
    return _Record(line, raw, dict(zip(names, fields, strict=False)))


def _json_records(path: Path, present: dict[str, str]) -> Iterator[_Record]:
    try:
        with path.open(encoding="utf-8-sig") as text:
            for line, raw, value in _json_values(text):
                if isinstance(value, dict):
                    present.update(dict.fromkeys(value, "VARCHAR"))
                    values = {key: _json_text(item) for key, item in value.items()}
                    yield _Record(line, raw, values)
                else:
                    reason = value if isinstance(value, str) else "not a JSON object"
                    yield _Record(line, raw, {}, reason)
    except UnicodeError as error:
        raise Unreadable(f"not utf-8: {one_line(error)}") from None


def _json_values(text: TextIO) -> Iterator[tuple[int, str, Any]]:
    """(line, raw text, object or reason) for lines of JSON, or for the items of one array."""
    decode = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=lambda _: None).decode
    first = text.readline()
    while first.isspace():
        first = text.readline()
    if first.lstrip().startswith("["):
        try:
            items = decode(first + text.read())
        except ValueError as error:
            raise Unreadable(f"not JSON: {one_line(error)}") from None
        for number, item in enumerate(items, start=1):
            yield number, json.dumps(item, ensure_ascii=False), item
        return
    for number, line in enumerate(itertools.chain([first], text), start=1):
        if line.strip():
            try:
                yield number, line.rstrip("\r\n"), decode(line)
            except (ValueError, RecursionError) as error:
                yield number, line.rstrip("\r\n"), f"not JSON: {one_line(error)}"


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False)


def _careful_parquet(con: duckdb.DuckDBPyConnection, path: Path) -> Relation:
    described = con.execute("describe select * from read_parquet(?)", [str(path)]).fetchall()
    names = [name for name, *_ in described]
    columns = "".join(f", {quote(name)}::varchar as {quote(name)}" for name in names)
    con.execute(
        "create or replace temp table careful as select file_row_number + 1 as _row, "
        "file_row_number + 1 as _line, f::varchar as _raw, null::varchar as _reason"
        f"{columns} from read_parquet(?, file_row_number = true) as f",
        [str(path)],
    )
    return Relation("careful", [], dict.fromkeys(names, "VARCHAR"), "_row", careful=True)

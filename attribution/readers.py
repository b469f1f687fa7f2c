"""A landed file as a relation.

Clean CSV and Parquet files are read by the engine in one pass. Whatever the engine stumbles over is
read again carefully, record by record, so that every rejected row keeps its line and raw text.
JSON is always read carefully: the engine knows neither bare NaN nor where a broken record began.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from attribution.contract import Export
from attribution.parsing import as_text
from attribution.records import csv_records, header, json_records
from attribution.unpacking import lines_of
from attribution.warehouse import PARQUET, PARQUET_NUMBERED, literal, quote

FORMATS = (".csv", ".csv.gz", ".parquet", ".json", ".json.gz", ".jsonl", ".jsonl.gz")
BATCH = 20_000


@dataclass(frozen=True)
class Relation:
    """Rows of a file, as SQL to select from.

    columns : engine type by the header in the file.
    row : SQL of the record's number within the file, from 1.
    careful : whether the columns _line, _raw, _reason stand beside the data; all values are text.
    rows : how many there are where each stands on a line of its own, None where that is not asked.
    rare : keys of few JSON records, which may be data that a source put there as names.
    """

    sql: str
    parameters: list[Any]
    columns: dict[str, str]
    row: str
    careful: bool = False
    rows: int | None = None
    rare: frozenset[str] = frozenset()


def format_of(name: str) -> str | None:
    """The format by the file's ending, None where it is none of ours."""
    return next((ending for ending in FORMATS if name.endswith(ending)), None)


def fast(con: duckdb.DuckDBPyConnection, export: Export, path: Path) -> Relation | None:
    """The file as the engine reads it, or None where only careful reading will do."""
    if path.suffix == ".parquet":
        rows = con.execute(f"describe select * from {PARQUET}", [str(path)]).fetchall()
        return Relation(
            sql=PARQUET_NUMBERED,
            parameters=[str(path)],
            columns={name: kind for name, kind, *_ in rows},
            row="file_row_number + 1",
        )
    if path.suffix != ".csv":
        return None
    names, above = header(export, path)
    # told to skip a line, the engine loses every row where line ends are mixed, and says nothing
    if above or export.short_rows == "pad" or (lines := lines_of(path)) is None:
        return None
    fields = ", ".join(f"{literal(name)}: 'varchar'" for name in names)
    return Relation(
        sql=f"read_csv(?, header = true, auto_detect = false, hive_partitioning = false, "
        f"delim = {literal(export.delimiter)}, quote = '\"', escape = '\"', "
        f"columns = {{{fields}}})",
        parameters=[str(path)],
        columns=dict.fromkeys(names, "VARCHAR"),
        row="row_number() over ()",
        rows=lines - 1,
    )


def careful(con: duckdb.DuckDBPyConnection, export: Export, path: Path) -> Relation:
    """The file record by record, in the temporary table `careful`, every value as text.

    Beside the data stand _row (record), _line, _raw and, where its shape is wrong, _reason.
    """
    if path.suffix == ".parquet":
        return _careful_parquet(con, path)
    keys: Counter[str] = Counter()
    if path.suffix == ".csv":
        names, _ = header(export, path)
        records = csv_records(export, path)
    else:
        names = [column.header for column in export.columns]
        records = json_records(export, path, keys)
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
    present = keys if path.suffix != ".csv" and count else names
    rare = frozenset(key for key, records in keys.items() if 2 * records < count)
    return Relation(
        "careful", [], dict.fromkeys(present, "VARCHAR"), "_row", careful=True, rare=rare
    )


def _careful_parquet(con: duckdb.DuckDBPyConnection, path: Path) -> Relation:
    described = con.execute(f"describe select * from {PARQUET}", [str(path)]).fetchall()
    columns = "".join(
        f", {as_text(quote(name), kind)} as {quote(name)}" for name, kind, *_ in described
    )
    con.execute(
        "create or replace temp table careful as select file_row_number + 1 as _row, "
        "file_row_number + 1 as _line, f::varchar as _raw, null::varchar as _reason"
        f"{columns} from {PARQUET_NUMBERED} as f",
        [str(path)],
    )
    names = dict.fromkeys((name for name, *_ in described), "VARCHAR")
    return Relation("careful", [], names, "_row", careful=True)

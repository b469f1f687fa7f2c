"""SQL that conforms a file's rows to their contract: types, UTC, pseudonyms, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from attribution.contract import Column, Export
from attribution.pseudonyms import register_pseudonyms
from attribution.readers import Relation
from attribution.warehouse import literal, quote

OFFSET = r"\d:\d\d(:\d\d(\.\d+)?)?\s*([Zz]|UTC|[+-]\d\d(:?\d\d)?)$"
NATIVE = {
    "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S", "DATE",
    "DECIMAL", "DOUBLE", "FLOAT", "BIGINT", "INTEGER", "SMALLINT", "TINYINT", "BOOLEAN", "HUGEINT",
    "UBIGINT", "UINTEGER", "USMALLINT", "UTINYINT",
}  # fmt: skip


def typed(
    con: duckdb.DuckDBPyConnection, export: Export, relation: Relation, key: bytes | None
) -> str:
    """SQL that yields _row, each column of the contract, and its text as `_text_<column>`."""
    kept = "_line, _raw, _reason, " if relation.careful else ""
    present = [column for column in export.columns if column.name in relation.columns]
    texts = ", ".join(
        f"{_text(column, relation.columns[column.name])} as {quote('_text_' + column.name)}"
        for column in present
    )
    inner = f"select {kept}{relation.row} as _row, {texts} from {relation.sql}"
    hidden = [column for column in present if column.pseudonym and key is not None]
    if key is not None and hidden:
        register_pseudonyms(con, inner, relation.parameters, hidden, key)
    joins = "".join(
        f" left join _pseudonyms as {quote('_p_' + column.name)} "
        f"on {quote('_p_' + column.name)}.id = rows.{quote('_text_' + column.name)}"
        for column in hidden
    )
    values = ", ".join(
        f"{_value(export, column, relation, column in hidden)} as {quote(column.name)}"
        for column in export.columns
    )
    return f"select rows.*, {values} from ({inner}) as rows{joins}"


def _text(column: Column, kind: str) -> str:
    """A value as it stands in the file; blank text is NULL."""
    name = quote(column.name)
    if kind == "VARCHAR":
        return f"nullif(trim({name}), '')"
    if column.type == "varchar" or not _is_native(kind):
        return f"nullif(trim({name}::varchar), '')"
    return name


def _value(export: Export, column: Column, relation: Relation, hidden: bool) -> str:
    """SQL of a column's typed value; NULL where its text does not fit the type."""
    if column.name not in relation.columns:
        return f"null::{column.type}"
    if hidden:
        return f"{quote('_p_' + column.name)}.pseudonym"
    text = f"rows.{quote('_text_' + column.name)}"
    kind = relation.columns[column.name]
    is_text = not _is_native(kind)
    if column.type == "timestamp":
        return _plausible(_utc(text, kind, export.time_zone), "timestamp")
    if column.type == "date":
        return _plausible(f"try_cast({text} as date)", "date")
    if column.type.startswith("decimal") and is_text and export.decimal == ",":
        # A point would be a thousands sign here: no guessing what was meant.
        return (
            f"case when not contains({text}, '.') "
            f"then try_cast(replace({text}, ',', '.') as {column.type}) end"
        )
    if column.type == "bigint" and is_text:
        return (
            f"case when regexp_full_match({text}, '[+-]?\\d+') then try_cast({text} as bigint) end"
        )
    return f"try_cast({text} as {column.type})"


def _plausible(value: str, kind: str) -> str:
    """Infinity and the year 9999 are no times of a customer; NULL then, and so rejected."""
    return f"case when {value} between {kind} '1900-01-01' and {kind} '2200-01-01' then {value} end"


def _utc(text: str, kind: str, zone: str) -> str:
    """A time in UTC: by its own offset, else by the declared zone."""
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"make_timestamp(epoch_us({text}))"
    with_offset = f"make_timestamp(epoch_us(try_cast({text} as timestamptz)))"
    if zone == "UTC":
        return f"try_cast({text} as timestamp)" if kind != "VARCHAR" else with_offset
    local = f"timezone({literal(zone)}, try_cast({text} as timestamp))"
    from_local = f"make_timestamp(epoch_us({local}))"
    if kind != "VARCHAR":
        return from_local
    return (
        f"case when regexp_matches({text}, {literal(OFFSET)}) "
        f"then {with_offset} else {from_local} end"
    )


def problems(export: Export, relation: Relation) -> Iterator[tuple[Column, str]]:
    for column in export.columns:
        value, text = quote(column.name), quote("_text_" + column.name)
        if column.required:
            yield column, f"{value} is null"
        elif column.name in relation.columns:
            yield column, f"{text} is not null and {value} is null"
        else:
            yield column, "false"


def complaint(column: Column) -> str:
    """Why a row was rejected, without its value: reasons may be logged, values may not."""
    if column.type == "varchar":
        return f"{column.name} is empty"
    return f"{column.name} is {'empty or ' if column.required else ''}no {column.type}"


def _is_native(kind: str) -> bool:
    return kind.split("(")[0] in NATIVE

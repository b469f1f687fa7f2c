"""SQL that conforms a file's rows to their contract: types, UTC, pseudonyms, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from attribution.contract import Column, Export
from attribution.parsing import as_text, clock_change, day, number, truth, utc
from attribution.pseudonyms import People
from attribution.readers import Relation
from attribution.warehouse import literal, quote

BLANKS = r"[\s\p{Z}\p{Cf}]+"  # those that do not show, too
# zeros; what a table calculation or a data frame makes of an id, whose digits are lost
NOBODY = r"[0\s.\p{Z}\p{Cf}-]+|\d(\.\d+)?[eE]\+\d+|-?inf"
NATIVE = {
    "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S", "DATE",
    "DECIMAL", "DOUBLE", "FLOAT", "BIGINT", "INTEGER", "SMALLINT", "TINYINT", "BOOLEAN", "HUGEINT",
    "UBIGINT", "UINTEGER", "USMALLINT", "UTINYINT",
}  # fmt: skip


def typed(
    con: duckdb.DuckDBPyConnection, export: Export, relation: Relation, people: People
) -> str:
    """SQL of a file's rows: _row, each column of the contract, and its text as `_text_<column>`.

    Beside them stand _suppressed, for rows that nobody may keep, and _clock_change: `overlap` or
    `gap` where a local time came twice or never.
    """
    kept = "_line, _raw, _reason, " if relation.careful else ""
    present = [column for column in export.columns if column.header in relation.columns]
    texts = ", ".join(
        f"{_text(export, column, relation.columns[column.header])} "
        f"as {quote('_text_' + column.name)}"
        for column in present
    )
    inner = f"select {kept}{relation.row} as _row, {texts} from {relation.sql}"
    persons = [column for column in present if column.pseudonym]
    looked_up = people.register(con, inner, relation.parameters, persons)
    joins = "".join(
        f" left join _people as {quote('_p_' + column.name)} "
        f"on {quote('_p_' + column.name)}.id = rows.{quote('_text_' + column.name)}"
        for column in looked_up
    )
    values = ", ".join(
        f"{_value(export, column, relation, column in looked_up)} as {quote(column.name)}"
        for column in export.columns
    )
    listed = " or ".join(
        ["false"]
        + [f"coalesce({quote('_p_' + column.name)}.is_suppressed, false)" for column in looked_up]
    )
    # in a layer of its own: the engine would work out each time twice
    plausible = ", ".join(
        _plausible(quote(column.name), column.type)
        for column in export.columns
        if column.type in ("timestamp", "date")
    )
    replaced = f" replace ({plausible})" if plausible else ""
    changed = _clock_change(export, present, relation)
    refused = _refused(export, relation)
    return (
        f"select *{replaced}, _listed{refused} as _suppressed, "
        f"{changed} as _clock_change "
        f"from (select rows.*, {values}, {listed} as _listed "
        f"from ({inner}) as rows{joins})"
    )


def _refused(export: Export, relation: Relation) -> str:
    """Who did not consent; a text that is neither yes nor no, or a broken row, is a fault."""
    if not export.consent_column:
        return ""
    said = quote("_text_" + export.consent_column)
    refused = f"({said} is null or not coalesce({quote(export.consent_column)}, true))"
    return f" or (_reason is null and {refused})" if relation.careful else f" or {refused}"


def problems(export: Export, relation: Relation) -> Iterator[tuple[Column, str]]:
    for column in export.columns:
        value, text = quote(column.name), quote("_text_" + column.name)
        if column.required:
            yield column, f"{value} is null"
        elif column.header in relation.columns:
            yield column, f"{text} is not null and {value} is null"
        else:
            yield column, "false"


def complaint(column: Column) -> str:
    """SQL of why a row was rejected, without its value: reasons may be logged, values may not."""
    empty = literal(f"{column.name} is empty")
    if column.pseudonym:
        is_empty = f"{quote('_text_' + column.name)} is null"
        nobody = literal(f"{column.name} is no id: a placeholder, or a number without its digits")
        return f"case when {is_empty} then {empty} else {nobody} end"
    if column.type == "varchar":
        return empty
    return literal(f"{column.name} is {'empty or ' if column.required else ''}no {column.type}")


def _text(export: Export, column: Column, kind: str) -> str:
    """A value as it stands in the file; blank text, and what the contract calls none, is NULL."""
    name = quote(column.header)
    if _is_native(kind) and column.type != "varchar":
        return name
    text = as_text(name, kind)
    if column.pseudonym:  # a blank before an id that does not show would make a second customer
        text = f"regexp_replace({text}, '^{BLANKS}|{BLANKS}$', '', 'g')"
    else:
        text = _trimmed(text)
    text = f"nullif({text}, '')"
    for nothing in export.null_values:
        text = f"nullif({text}, {literal(nothing)})"
    return text


def _trimmed(text: str) -> str:
    """Texts without blanks around them; to see that ASCII has none takes a third of trimming it."""
    has_none = (
        f"strlen({text}) = length({text}) "
        f"and not starts_with({text}, ' ') and not ends_with({text}, ' ')"
    )
    return f"case when {has_none} then {text} else trim({text}) end"


def _value(export: Export, column: Column, relation: Relation, looked_up: bool) -> str:
    """SQL of a column's typed value; NULL where its text does not fit the type."""
    if column.header not in relation.columns:
        return f"null::{column.type}"
    text = f"rows.{quote('_text_' + column.name)}"
    if column.pseudonym:
        # One NULL of the source's making must not become one giant customer.
        listed = ", ".join(literal(name.lower()) for name in export.placeholder_ids)
        is_none = f"regexp_full_match({text}, {literal(NOBODY)})" + (
            f" or lower({text}) in ({listed})" if listed else ""
        )
        stored = f"{quote('_p_' + column.name)}.stored" if looked_up else text
        return f"case when not ({is_none}) then {stored} end"
    kind = _kind(relation, column)
    is_text = kind == "VARCHAR"
    if column.type == "timestamp":
        return utc(export, text, kind)
    if column.type == "date":
        return day(export, text, is_text)
    if is_text and (column.type.startswith("decimal") or column.type == "bigint"):
        return number(export, text, column.type)
    if column.type == "boolean" and kind != "BOOLEAN":
        return truth(text)
    return f"try_cast({text} as {column.type})"


def _plausible(column: str, kind: str) -> str:
    """Infinity and the year 9999 are no times of a customer; NULL then, and so rejected."""
    return (
        f"case when {column} between {kind} '1900-01-01' and {kind} '2199-12-31' then {column} end "
        f"as {column}"
    )


def _clock_change(export: Export, present: list[Column], relation: Relation) -> str:
    found = [
        change
        for column in present
        if column.type == "timestamp"
        and (change := clock_change(export, quote("_text_" + column.name), _kind(relation, column)))
    ]
    return f"coalesce({', '.join(found)})" if found else "null::varchar"


def _kind(relation: Relation, column: Column) -> str:
    """The engine's type of a column where the engine knows what it means, else text."""
    kind = relation.columns[column.header]
    return kind if _is_native(kind) else "VARCHAR"


def _is_native(kind: str) -> bool:
    return kind.split("(")[0] in NATIVE

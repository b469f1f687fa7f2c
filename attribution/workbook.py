"""`attribution.xlsx` and `csv/`: the marts that people read, as their tools open them.

No text of the data becomes a formula. In the workbook texts are written as texts; in CSV, where a
program decides by the first character, what begins like a formula gets an apostrophe before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import duckdb
import xlsxwriter
from xlsxwriter.exceptions import FileCreateError
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from attribution.warehouse import joined_texts, literal, quote
from attribution.wording import Wording

# Marts worth reading in a spreadsheet, in the order of its sheets, and what each is sorted by. The
# credit of single conversions and touchpoints is for programs: attribution.duckdb and parquet/.
SHEETS: dict[str, str] = {
    "channel_performance": "model, conversions desc, channel",
    "campaign_performance": "basis, period_from, model, conversions desc, channel, campaign",
    "channel_credit": "goal, segment, segment_value, model, conversions desc, channel",
    "channel_credit_daily": "date, goal, model, channel",
    "conversion_paths": "goal, conversions desc, path",
    "credit_history": "run_date, model, goal, channel",
    "ladder_stages": "goal, stage",
    "ladder_effects": "goal, stage, channel",
    "lift_tests": "goal, channel, lift, standard_error",
    "model_diagnostics": "goal, segment, segment_value, model, name",
    "load_files": "export, file, sha256",
    "load_set_aside": "export, reason",
    "run_manifest": "section, name",
}
MOST_ROWS = 100_000  # of a sheet; a longer table is in csv/ and parquet/
LINE_END = "\r\n"  # of a CSV file
LONGEST_TEXT = 32_767  # of a cell, by Excel
# what makes a spreadsheet compute, at the start of a text or where another delimiter would cut it
FORMULA = '(^|[;,\t\r\n])("*)([=+\\-@＝＋－＠])'
APOSTROPHE = r"\1\2'\3"
HARMLESS = {  # types whose texts no spreadsheet takes for a formula
    *("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT"),
    *("UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DATE", "TIMESTAMP"),
}
# What is a fraction and reads better in percent.
FRACTIONS = {
    *("share", "share_low", "share_high", "standard_error", "removal_effect"),
    "change_vs_last_touch",
    *("recorded_share", "same_day_share", "chance_per_contact", "chance_low", "chance_high"),
    *("lift", "ladder_lift", "calibrated_lift"),
}
SMALL = {"moves_per_day", "organic_moves_per_day", "contacts_per_day"}  # two places would be 0.00

Value = Any
CsvDecimal = Literal["point", "comma"]


def write_workbook(
    con: duckdb.DuckDBPyConnection, path: Path, manifest: Mapping[str, Any], wording: Wording
) -> None:
    """All sheets of the version that `con` has open; equal marts give equal bytes.

    The first sheet says what the others hold. A table of more than MOST_ROWS rows has no sheet and
    the first sheet says where it is.
    """
    options = {
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "nan_inf_to_errors": True,
        "default_date_format": "yyyy-mm-dd",
        "in_memory": True,  # no temporary files: fewer places where a disk can be full
    }
    try:
        with xlsxwriter.Workbook(str(path), options) as book:
            _write_sheets(book, con, manifest, wording)
    except FileCreateError as error:
        raise OSError(str(error)) from error


def _write_sheets(
    book: xlsxwriter.Workbook,
    con: duckdb.DuckDBPyConnection,
    manifest: Mapping[str, Any],
    wording: Wording,
) -> None:
    staged = datetime.fromisoformat(manifest["staged_at"]).replace(tzinfo=None)
    book.set_properties({"title": wording.text("title"), "created": staged})
    styles = {
        "head": book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"}),
        "text": book.add_format({"num_format": "@"}),
        "whole": book.add_format({"num_format": "#,##0"}),
        "real": book.add_format({"num_format": "#,##0.00"}),
        "small": book.add_format({"num_format": "0.00000"}),
        "percent": book.add_format({"num_format": "0.0%"}),
        "day": book.add_format({"num_format": "yyyy-mm-dd"}),
        "moment": book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
        "title": book.add_format({"bold": True, "font_size": 14}),
    }
    rows = {table: _count(con, table) for table in SHEETS}
    _write_contents(
        book.add_worksheet(wording.text("sheet_contents")), rows, manifest, wording, styles
    )
    for table, count in rows.items():
        if 0 < count <= MOST_ROWS:
            _write_sheet(book.add_worksheet(table), con, table, count, styles)


def write_csv(con: duckdb.DuckDBPyConnection, folder: Path, decimal: CsvDecimal) -> None:
    """One file for each table of SHEETS.

    decimal : `point` gives `,` between fields and plain UTF-8; `comma` gives `;`, a decimal comma
        and a byte order mark, as Excel expects them where commas are decimal signs.
    """
    folder.mkdir()
    delimiter, encoding = (";", "utf-8-sig") if decimal == "comma" else (",", "utf-8")
    for table, order in SHEETS.items():
        columns = con.execute(f"describe {quote(table)}").fetchall()
        fields = ", ".join(_csv_field(name, kind, decimal, delimiter) for name, kind, *_ in columns)
        line = f"concat_ws({literal(delimiter)}, {fields}) || {literal(LINE_END)}"
        with (folder / f"{table}.csv").open("wb") as file:
            head = delimiter.join(name for name, *_ in columns)
            file.write(f"{head}{LINE_END}".encode(encoding))
            for rows in joined_texts(con, f"select {line} from {quote(table)} order by {order}"):
                file.write(rows)


def _csv_field(name: str, kind: str, decimal: CsvDecimal, delimiter: str) -> str:
    """The SQL of a column as a field: in quotes where it holds what would end one."""
    text = _csv_text(name, kind, decimal)
    if kind in HARMLESS or kind.startswith("DECIMAL"):
        return f"coalesce({text}, '')"
    ends = literal(f'[{delimiter}"\r\n]')
    return (
        f"case when regexp_matches({text}, {ends}) "
        f"""then concat('"', replace({text}, '"', '""'), '"') else coalesce({text}, '') end"""
    )


def _csv_text(name: str, kind: str, decimal: CsvDecimal) -> str:
    """The SQL of a column as CSV shows it; NULL is an empty field."""
    column = quote(name)
    text = f"{column}::varchar"
    if kind.startswith("DECIMAL"):
        scale = kind.rstrip(")").partition(",")[2]
        text = f"{column}::decimal(38, {scale})::varchar"  # so wide that 0 stands before the point
        if int(scale):
            text = f"rtrim(rtrim({text}, '0'), '.')"
    elif kind not in HARMLESS:
        return f"regexp_replace({text}, {literal(FORMULA)}, {literal(APOSTROPHE)}, 'g')"
    if decimal == "comma" and kind.startswith(("DECIMAL", "DOUBLE", "FLOAT")):
        text = f"replace({text}, '.', ',')"
    return text


def _table(
    con: duckdb.DuckDBPyConnection, table: str
) -> tuple[list[str], Iterator[Sequence[Value]]]:
    order = SHEETS[table]
    result = con.execute(f"from {quote(table)} order by {order}")
    names = [column[0] for column in result.description or []]
    return names, iter(result.fetchone, None)


def _count(con: duckdb.DuckDBPyConnection, table: str) -> int:
    row = con.execute(f"select count(*) from {quote(table)}").fetchone()
    return int(row[0]) if row else 0


def _write_contents(
    sheet: Worksheet,
    rows: Mapping[str, int],
    manifest: Mapping[str, Any],
    wording: Wording,
    styles: Mapping[str, Format],
) -> None:
    sheet.set_column(0, 0, 26)
    sheet.set_column(1, 1, 12)
    sheet.set_column(2, 2, 110)
    sheet.write_string(0, 0, wording.text("title"), styles["title"])
    day = date.fromisoformat(manifest["run_date"])
    sheet.write_string(1, 0, wording.text("as_of", day=wording.day(day, "long")))
    sheet.write_string(2, 0, str(manifest["run_id"]))
    for column, key in enumerate(("sheet", "rows", "sheet_holds")):
        sheet.write_string(4, column, wording.text(key), styles["head"])
    for number, (table, count) in enumerate(rows.items(), start=5):
        if 0 < count <= MOST_ROWS:
            sheet.write_url(number, 0, f"internal:'{table}'!A1", string=table)
        else:
            sheet.write_string(number, 0, table)
        sheet.write_number(number, 1, count, styles["whole"])
        says = wording.text(f"table_{table}")
        if count > MOST_ROWS:
            says += " " + wording.text("sheet_too_long", table=table)
        sheet.write_string(number, 2, says)


def _write_sheet(
    sheet: Worksheet,
    con: duckdb.DuckDBPyConnection,
    table: str,
    count: int,
    styles: Mapping[str, Format],
) -> None:
    names, rows = _table(con, table)
    sheet.freeze_panes(1, 0)
    sheet.autofilter(0, 0, count, len(names) - 1)
    for column, name in enumerate(names):
        texts = name in ("path", "reason", "file", "value", "name")
        sheet.set_column(column, column, 40 if texts else max(14, len(name) + 4))
        sheet.write_string(0, column, name, styles["head"])
    for number, row in enumerate(rows, start=1):
        for column, value in enumerate(row):
            _write_cell(sheet, number, column, value, names[column], styles)


def _write_cell(
    sheet: Worksheet,
    row: int,
    column: int,
    value: Value,
    name: str,
    styles: Mapping[str, Format],
) -> None:
    if value is None:
        return
    if isinstance(value, str):
        sheet.write_string(row, column, value[:LONGEST_TEXT], styles["text"])
    elif isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, datetime):
        sheet.write_datetime(row, column, value, styles["moment"])
    elif isinstance(value, date):
        sheet.write_datetime(row, column, value, styles["day"])
    elif isinstance(value, int):
        sheet.write_number(row, column, value, styles["whole"])
    else:
        style = "percent" if name in FRACTIONS else "small" if name in SMALL else "real"
        sheet.write_number(row, column, float(value), styles[style])

"""The load contract: the dbt source `exports` of _exports.yml, checked.

dbt reads the same file for its sources, so what is loaded and what is modelled cannot differ.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from attribution.errors import AttributionError, ContractError, SettingsError
from attribution.settings import (
    Folders,
    Settings,
    load_settings,
    one_line,
    read_yaml,
    time_zones,
)

META: dict[str, Any] = {
    "encoding": "utf-8",
    "delimiter": ",",
    "json_layout": "rows",
    "decimal": ".",
    "thousands": "",
    "trailing_minus": False,
    "date_format": None,
    "time_format": None,
    "time_zone": "UTC",
    "dst_overlap": "later",
    "dst_gap": "shift",
    "null_values": [],
    "placeholder_ids": [
        "null",
        "none",
        "nil",
        "nan",
        "na",
        "n/a",
        "#n/a",
        "undefined",
        "unknown",
        "anonymous",
        "(null)",
        "(none)",
        "(not set)",
        r"\n",
        "-1",
    ],
    "short_rows": "reject",
    "extra_columns": "ignore",
    "consent": "ignore",
    "sidecar": "optional",
    "settle_seconds": 0,
    "max_gigabytes": 20,
    "file_date": None,
    "optional": False,
    "required": [],
    "pseudonyms": [],
}
EPOCHS = ("epoch_seconds", "epoch_milliseconds", "epoch_microseconds")
TYPES = re.compile(r"varchar|timestamp|date|boolean|bigint|decimal\(\d{1,2},\d{1,2}\)")
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Column:
    """One column: its name in `raw`, its engine type, and its header in the file."""

    name: str
    type: str
    header: str
    required: bool = False
    pseudonym: bool = False


@dataclass(frozen=True)
class Export:
    """One export: a folder below landing/, a table in `raw`. _exports.yml explains each key."""

    name: str
    columns: tuple[Column, ...]
    encoding: str
    delimiter: str
    json_layout: str
    decimal: str
    thousands: str
    trailing_minus: bool
    date_format: str | None
    time_format: str | None
    time_zone: str
    dst_overlap: str
    dst_gap: str
    null_values: tuple[str, ...]
    placeholder_ids: tuple[str, ...]
    short_rows: str
    extra_columns: str
    consent: str
    sidecar: str
    settle_seconds: int
    max_gigabytes: float
    file_date: re.Pattern[str] | None
    optional: bool

    @property
    def consent_column(self) -> str | None:
        return "consent" if self.consent == "required" else None

    @property
    def pseudonyms(self) -> list[str]:
        return [column.name for column in self.columns if column.pseudonym]

    def date_of(self, file_name: str) -> str | None:
        """The date in a file's name, as the contract finds it."""
        found = self.file_date.search(file_name) if self.file_date else None
        return found.group(1) if found else None


def declared(folders: Folders, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings of a dbt project, once its contract is known to be sound, too.

    Raises
    ------
    SettingsError, ContractError
        in one line that lists what is wrong with either.
    """
    problems: list[AttributionError] = []
    try:
        settings = load_settings(folders.dbt_project, overrides)
    except SettingsError as error:
        problems.append(error)
    try:
        read_contract(folders.contract)
    except ContractError as error:
        problems.append(error)
    if problems:
        raise type(problems[0])("; ".join(str(problem) for problem in problems))
    return settings


def read_contract(path: Path) -> dict[str, Export]:
    """Exports by name, in the order of the file.

    Raises
    ------
    ContractError
        in one line that lists every problem with its key.
    """
    try:
        document = read_yaml(path)
        sources = {source["name"]: source for source in document["sources"]}
        source = sources["exports"]
        tables = list(source["tables"])
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ContractError(
            f"{path} does not declare a dbt source `exports` with tables: {one_line(error)}"
        ) from None
    shared = _meta(source)
    problems: list[str] = []
    exports = {}
    for table in tables:
        export = _export(table, META | shared | _meta(table), problems)
        if export:
            exports[export.name] = export
    if problems:
        raise ContractError(f"{path}: {'; '.join(problems)}")
    return exports


def _meta(node: Mapping[str, Any]) -> dict[str, Any]:
    return dict((node.get("config") or {}).get("meta") or {})


def _export(
    table: Mapping[str, Any], meta: Mapping[str, Any], problems: list[str]
) -> Export | None:
    name = str(table.get("name"))
    columns = tuple(_column(node, meta) for node in table.get("columns") or [])
    names = [column.name for column in columns]
    wrong = [
        *(f"{name}: `{key}` is no key of meta" for key in sorted(set(meta) - set(META))),
        *(
            f"{name}: {key} names `{column}`, which is no column"
            for key in ("required", "pseudonyms")
            for column in meta[key]
            if column not in names
        ),
        *(
            f"{name}.{column.name}: data_type `{column.type}` is none of varchar, timestamp, date, "
            "boolean, bigint, decimal(p,s)"
            for column in columns
            if not TYPES.fullmatch(column.type)
        ),
        *(
            f"{name}: pseudonyms names `{column.name}`, whose data_type is not varchar"
            for column in columns
            if column.pseudonym and column.type != "varchar"
        ),
        *(f"{n}: is no lower-case name" for n in [name, *names] if not NAME.fullmatch(n)),
        *(_wrong_values(name, meta)),
    ]
    if not columns or len(set(names)) < len(names):
        wrong.append(f"{name}: needs columns, each name once")
    if len({column.header.casefold() for column in columns}) < len(columns):
        wrong.append(f"{name}: two columns read the same header")
    if meta["consent"] == "required" and ("consent", "boolean") not in [
        (column.name, column.type) for column in columns
    ]:
        wrong.append(f"{name}: consent is required, so it needs a column `consent` of boolean")
    if wrong:
        problems.extend(wrong)
        return None
    values = {key: meta[key] for key in META if key not in ("required", "pseudonyms")}
    return Export(
        name=name,
        columns=columns,
        **values
        | {
            "file_date": re.compile(meta["file_date"]) if meta["file_date"] else None,
            "null_values": tuple(meta["null_values"]),
            "placeholder_ids": tuple(meta["placeholder_ids"]),
        },
    )


def _column(node: Mapping[str, Any], meta: Mapping[str, Any]) -> Column:
    name = str(node.get("name"))
    return Column(
        name=name,
        type=str(node.get("data_type")).lower().replace(" ", ""),
        header=str(_meta(node).get("header", name)),
        required=name in meta["required"],
        pseudonym=name in meta["pseudonyms"],
    )


def _wrong_values(name: str, meta: Mapping[str, Any]) -> list[str]:
    def one_of(key: str, *allowed: str) -> tuple[bool, str]:
        return meta[key] in allowed, f"must be {' or '.join(allowed)}"

    checks = {
        "encoding": (_is_encoding(meta["encoding"]), "is no encoding that Python knows"),
        "delimiter": (len(str(meta["delimiter"])) == 1, "must be one character"),
        "json_layout": one_of("json_layout", "rows", "lists"),
        "decimal": one_of("decimal", ".", ","),
        "thousands": (
            meta["thousands"] in ("", ".", ",", "'", "’", " ", "\u00a0", "\u202f")
            and meta["thousands"] != meta["decimal"],
            "must be empty, or one of . , ' ’ and a space, and not the decimal sign",
        ),
        "trailing_minus": _is_boolean(meta["trailing_minus"]),
        "date_format": _is_format(meta["date_format"]),
        "time_format": _is_format(meta["time_format"], *EPOCHS),
        "time_zone": (meta["time_zone"] in time_zones(), "is no time zone"),
        "dst_overlap": one_of("dst_overlap", "earlier", "later", "reject"),
        "dst_gap": one_of("dst_gap", "shift", "reject"),
        "null_values": _are_texts(meta["null_values"]),
        "placeholder_ids": _are_texts(meta["placeholder_ids"]),
        "short_rows": one_of("short_rows", "reject", "pad"),
        "extra_columns": one_of("extra_columns", "ignore", "quarantine"),
        "consent": one_of("consent", "ignore", "required"),
        "sidecar": one_of("sidecar", "optional", "required"),
        "settle_seconds": _is_number(meta["settle_seconds"], 0),
        "max_gigabytes": _is_number(meta["max_gigabytes"], 1e-9),
        "file_date": (_has_one_group(meta["file_date"]), "must be a pattern with one group"),
        "optional": _is_boolean(meta["optional"]),
    }
    return [f"{name}: {key} {message}" for key, (right, message) in checks.items() if not right]


def _is_boolean(value: object) -> tuple[bool, str]:
    return isinstance(value, bool), "must be true or false"


def _is_number(value: object, least: float) -> tuple[bool, str]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and float(str(value)) >= least, f"must be a number from {least:g}"


def _are_texts(value: object) -> tuple[bool, str]:
    are = isinstance(value, list) and all(isinstance(text, str) for text in value)
    return are, "must be a list of texts: write them in quotes"


def _is_format(value: object, *names: str) -> tuple[bool, str]:
    right = value is None or value in names or (isinstance(value, str) and "%" in value)
    return right, f"must be a pattern such as %d.%m.%Y{''.join(f', or {name}' for name in names)}"


def _is_encoding(name: object) -> bool:
    try:
        codecs.lookup(str(name))
    except LookupError:
        return False
    return True


def _has_one_group(pattern: object) -> bool:
    try:
        return pattern is None or re.compile(str(pattern)).groups == 1
    except re.error:
        return False

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
from zoneinfo import available_timezones

import yaml

from attribution.errors import ContractError
from attribution.settings import one_line

META: dict[str, Any] = {
    "encoding": "utf-8",
    "delimiter": ",",
    "decimal": ".",
    "time_zone": "UTC",
    "short_rows": "reject",
    "extra_columns": "ignore",
    "file_date": None,
    "optional": False,
    "required": [],
    "pseudonyms": [],
}
TYPES = re.compile(r"varchar|timestamp|date|boolean|bigint|decimal\(\d{1,2},\d{1,2}\)")
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    required: bool = False
    pseudonym: bool = False


@dataclass(frozen=True)
class Export:
    """One export: a folder below landing/, a table in `raw`."""

    name: str
    columns: tuple[Column, ...]
    encoding: str
    delimiter: str
    decimal: str
    time_zone: str
    short_rows: str
    extra_columns: str
    file_date: re.Pattern[str] | None
    optional: bool

    @property
    def pseudonyms(self) -> list[str]:
        return [column.name for column in self.columns if column.pseudonym]

    def date_of(self, file_name: str) -> str | None:
        """The date in a file's name, as the contract finds it."""
        found = self.file_date.search(file_name) if self.file_date else None
        return found.group(1) if found else None


def read_contract(path: Path) -> dict[str, Export]:
    """Exports by name, in the order of the file.

    Raises
    ------
    ContractError
        in one line that lists every problem with its key.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
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
    declared = [
        (str(column.get("name")), str(column.get("data_type")).lower().replace(" ", ""))
        for column in table.get("columns") or []
    ]
    names = [column for column, _ in declared]
    wrong = [
        *(f"{name}: `{key}` is no key of meta" for key in sorted(set(meta) - set(META))),
        *(
            f"{name}: {key} names `{column}`, which is no column"
            for key in ("required", "pseudonyms")
            for column in meta[key]
            if column not in names
        ),
        *(
            f"{name}.{column}: data_type `{kind}` is none of varchar, timestamp, date, boolean, "
            "bigint, decimal(p,s)"
            for column, kind in declared
            if not TYPES.fullmatch(kind)
        ),
        *(f"{n}: is no lower-case name" for n in [name, *names] if not NAME.fullmatch(n)),
        *(_wrong_values(name, meta)),
    ]
    if not declared or len(set(names)) < len(names):
        wrong.append(f"{name}: needs columns, each name once")
    if wrong:
        problems.extend(wrong)
        return None
    pattern = meta["file_date"]
    return Export(
        name=name,
        columns=tuple(
            Column(column, kind, column in meta["required"], column in meta["pseudonyms"])
            for column, kind in declared
        ),
        encoding=meta["encoding"],
        delimiter=meta["delimiter"],
        decimal=meta["decimal"],
        time_zone=meta["time_zone"],
        short_rows=meta["short_rows"],
        extra_columns=meta["extra_columns"],
        file_date=re.compile(pattern) if pattern else None,
        optional=meta["optional"],
    )


def _wrong_values(name: str, meta: Mapping[str, Any]) -> list[str]:
    checks = {
        "encoding": (_is_encoding(meta["encoding"]), "is no encoding that Python knows"),
        "delimiter": (len(str(meta["delimiter"])) == 1, "must be one character"),
        "decimal": (meta["decimal"] in (".", ","), "must be . or ,"),
        "time_zone": (meta["time_zone"] in available_timezones(), "is no time zone"),
        "short_rows": (meta["short_rows"] in ("reject", "pad"), "must be reject or pad"),
        "extra_columns": (
            meta["extra_columns"] in ("ignore", "quarantine"),
            "must be ignore or quarantine",
        ),
        "file_date": (_has_one_group(meta["file_date"]), "must be a pattern with one group"),
        "optional": (isinstance(meta["optional"], bool), "must be true or false"),
    }
    return [f"{name}: {key} {message}" for key, (right, message) in checks.items() if not right]


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

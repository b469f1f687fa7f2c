"""How a file would be read, without loading it: what `attribution doctor --export FILE` shows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from attribution.archive import rows_file
from attribution.contract import Export, read_contract
from attribution.convert import Job, Outcome, convert
from attribution.errors import Unreadable, UsageError
from attribution.export_guess import guess
from attribution.export_proposal import as_yaml, snake
from attribution.landing import Landed, check_sidecar, rows_said, sha256_of
from attribution.pseudonyms import People
from attribution.quarantine import rejects
from attribution.readers import FORMATS, format_of
from attribution.settings import Folders, Settings
from attribution.terminal import console, print_rows
from attribution.warehouse import PARQUET, open_reader, quote

SHOWN = 5
HIDDEN = "(a person's)"


@dataclass(frozen=True)
class Profile:
    """columns : (column, type, rows filled, an example). rejected : (line, reason)."""

    export: Export
    outcome: Outcome
    columns: list[tuple[str, str, int, str]]
    rejected: list[tuple[int, str]]


def profile(
    folders: Folders, settings: Settings, path: Path, name: str | None = None
) -> Profile | str:
    """How a file would be read as an export, or a contract entry for one of none.

    name : the export; by default the folder below landing/ in which the file lies.

    Raises
    ------
    UsageError
        where there is no such file or export, or nothing can be made of the file.
    """
    if not path.is_file():
        raise UsageError(f"doctor --export {path}: there is no such file")
    contract = read_contract(folders.contract)
    if name is None:
        folder = path.absolute().parent.resolve()
        name = folder.name if folder.parent == folders.landing.resolve() else None
    elif name not in contract:
        raise UsageError(f"doctor --as {name}: the exports are {', '.join(contract)}")
    with tempfile.TemporaryDirectory() as temporary:
        if name in contract:
            return _known(folders, settings, contract, path, name, Path(temporary))
        if format_of(path.name) is None:
            raise UsageError(f"doctor --export {path}: its ending is none of {', '.join(FORMATS)}")
        try:
            found = guess(path, Path(temporary))
        except Unreadable as unreadable:
            raise UsageError(f"doctor --export {path}: {unreadable}") from None
        return as_yaml(found, name or snake(path.name.partition(".")[0]))


def _known(
    folders: Folders,
    settings: Settings,
    contract: Mapping[str, Export],
    path: Path,
    name: str,
    temporary: Path,
) -> Profile:
    """Read it with the code of the load, into a folder that is thrown away."""
    export = contract[name]
    where = replace(folders, landing=path.absolute().parent, state=temporary)
    where.scratch.mkdir()
    landed = Landed(export, path.absolute(), sha256_of(path))
    with open_reader(where, settings) as con:
        try:
            check_sidecar(landed)
            job = Job(name, landed.path, landed.sha256, rows_said(landed.path))
            outcome = convert(con, export, job, where, People())
        except Unreadable as unreadable:
            outcome = Outcome("quarantined", reason=str(unreadable))
        columns = []
        if outcome.state == "loaded":
            rows = str(rows_file(where, name, landed.sha256))
            for column in export.columns:
                found = con.execute(
                    f"select count({quote(column.name)}), any_value({quote(column.name)}::varchar) "
                    f"from {PARQUET}",
                    [rows],
                ).fetchone()
                filled, example = found or (0, None)
                shown = HIDDEN if column.pseudonym and filled else example or ""
                columns.append((column.header, column.type, filled, shown))
    entry = {"export": name, "sha256": landed.sha256, "file": path.name}
    return Profile(export, outcome, columns, list(_first(where, entry)))


def _first(where: Folders, entry: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Line and reason; not the text, for terminals are copied into tickets."""
    for number, reject in enumerate(rejects(where, entry)):
        if number == SHOWN:
            return
        yield reject["line"], reject["reason"]


def print_profile(shown: Profile | str) -> int:
    """Print what `profile` found; the exit code: 1 where the file would be quarantined."""
    if isinstance(shown, str):
        console().print(
            "# No export of the contract. Correct this, paste it below `tables:` of _exports.yml:",
            soft_wrap=True,
        )
        console().print(shown, end="", soft_wrap=True)
        return 0
    export, outcome = shown.export, shown.outcome
    if outcome.state == "quarantined":
        console().print(f"would be quarantined: {outcome.reason}", soft_wrap=True)
        return 1
    print_rows(
        f"{export.name}: {outcome.rows_read:,} rows read = {outcome.rows_loaded:,} loaded "
        f"+ {outcome.rows_rejected:,} rejected + {outcome.rows_suppressed:,} suppressed",
        ["column in the file", "type", "filled", "for instance"],
        [
            [header, kind, f"{filled:,}" if filled else "–", example[:60]]
            for header, kind, filled, example in shown.columns
        ],
    )
    said = [
        f"encoding {export.encoding}, delimiter {export.delimiter!r}, decimal {export.decimal!r}, "
        f"times without an offset are of {export.time_zone}",
        outcome.extra_columns and f"not in the contract: column {outcome.extra_columns}",
        outcome.rows_dst_overlap and f"local times that came twice: {outcome.rows_dst_overlap:,}",
        outcome.rows_dst_gap and f"local times that never were: {outcome.rows_dst_gap:,}",
        *(f"line {line}: {reason}" for line, reason in shown.rejected),
    ]
    for text in said:
        if text:
            console().print(text, soft_wrap=True)
    return 0

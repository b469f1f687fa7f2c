"""The verbs of whoever answers for the runs: quarantine, rebuild, erase, docs, rollback."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from attribution.analyse import warn
from attribution.errors import UsageError


def add_verbs(verbs: Any) -> None:
    """Add the verbs to the command line's."""
    quarantine = verbs.add_parser("quarantine", help="what was refused, and what to do about it")
    actions = quarantine.add_subparsers(metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="refused files, and files with rejected rows")
    listed.add_argument("--format", choices=("table", "json"), default="table")
    listed.set_defaults(command=_list)
    for name, command, text in (
        ("show", _show, "why, and each rejected row with line, reason and raw text"),
        ("requeue", _judge, "have the next load read the file again"),
        ("drop", _judge, "accept the loss: gates pass over it, what was kept of it is removed"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("id", metavar="ID", help="as `quarantine list` shows it")
        action.set_defaults(command=command, verdict=name)

    rebuild = verbs.add_parser("rebuild", help="build the warehouse anew from the archive")
    rebuild.set_defaults(command=_rebuild)
    erase = verbs.add_parser("erase", help="remove customers from state/ and publish/ for good")
    erase.add_argument("customers", nargs="*", metavar="CUSTOMER_ID")
    erase.add_argument(
        "--file", type=Path, help="ids, one a line; - reads them from the standard input"
    )
    erase.set_defaults(command=_erase)
    docs = verbs.add_parser("docs", help="publish/docs.html: every table and column, and lineage")
    docs.set_defaults(command=_docs)
    rollback = verbs.add_parser("rollback", help="point publish/current at an earlier version")
    rollback.add_argument("--to", metavar="RUN_ID", help="default: the version before the current")
    rollback.set_defaults(command=_rollback)


def _list(chosen: argparse.Namespace) -> int:
    from attribution import verdicts
    from attribution.settings import Folders
    from attribution.terminal import print_rows

    entries = verdicts.refused(Folders.from_environment())
    if chosen.format == "json":
        print(json.dumps(entries, indent=1, ensure_ascii=False))
        return 0
    rows = [
        [
            f"{entry['id']}  {entry['export']}/{entry['file']}",
            f"{entry['rows_rejected']:,} of {entry['rows_read']:,}",
            entry["reason"]
            or ("the other rows are loaded" if entry["rows_loaded"] else "no row is loaded"),
        ]
        for entry in entries
    ]
    print_rows("Quarantine", ["id, file", "rows rejected", "reason"], rows)
    return 0


def _show(chosen: argparse.Namespace) -> int:
    from attribution import quarantine, verdicts
    from attribution.settings import Folders
    from attribution.terminal import visible

    folders = Folders.from_environment()
    entry = verdicts.find(folders, chosen.id)
    said = entry["reason"] or f"{entry['rows_rejected']:,} of {entry['rows_read']:,} rows rejected"
    print(f"{entry['export']}/{entry['file']}: {said}")
    for reject in quarantine.rejects(folders, entry):
        raw = "(not kept)" if reject["raw"] is None else visible(reject["raw"])
        print(f"line {reject['line']}: {reject['reason']}: {raw}")
    return 0


def _judge(chosen: argparse.Namespace) -> int:
    from attribution import verdicts
    from attribution.runs import lock
    from attribution.settings import Folders, load_settings

    folders = Folders.from_environment()
    judge = verdicts.requeue if chosen.verdict == "requeue" else verdicts.drop
    with lock(folders):
        entry = judge(folders, load_settings(folders.dbt_project), chosen.id)
    said = "will be read again by the next run" if chosen.verdict == "requeue" else "is dropped"
    print(f"{entry['export']}/{entry['file']} {said}")
    return 0


def _rebuild(chosen: argparse.Namespace) -> int:
    from attribution import pipeline, terminal

    with terminal.progress() as report:
        line = pipeline.Line.from_environment(progress=report)
        counts, warnings = pipeline.rebuild(line)
    warn([{"warnings": warnings}])
    print(f"{line.folders.warehouse}: {counts['rows']:,} rows of {counts['files']:,} files")
    print("now `attribution run` builds and publishes from it")
    return 0


def _erase(chosen: argparse.Namespace) -> int:
    from attribution import pipeline, terminal

    customers = list(chosen.customers)
    if chosen.file is not None:
        try:
            is_piped = str(chosen.file) == "-"
            ids = sys.stdin.buffer.read() if is_piped else chosen.file.read_bytes()
            text = ids.decode("utf-8-sig")
        except (OSError, UnicodeError) as error:
            raise UsageError(f"erase: --file {chosen.file}: {error}") from None
        customers += [line.strip() for line in text.splitlines() if line.strip()]
    if not customers:
        raise UsageError("erase: name customer ids, or a --file of them")
    with terminal.progress() as report:
        line = pipeline.Line.from_environment(progress=report)
        receipt = pipeline.erase(line, customers)
    print(json.dumps(receipt, indent=1))
    return 0


def _docs(_: argparse.Namespace) -> int:
    from attribution.lineage import write_docs
    from attribution.settings import Folders, load_settings

    folders = Folders.from_environment()
    print(write_docs(folders, load_settings(folders.dbt_project), {}))
    return 0


def _rollback(chosen: argparse.Namespace) -> int:
    from attribution import publish
    from attribution.runs import lock
    from attribution.settings import Folders
    from attribution.telling import retell

    folders = Folders.from_environment()
    with lock(folders):
        run_id = publish.rollback(folders, chosen.to)
        retell(folders)
    print(f"{folders.publish / 'current'} -> {run_id}")
    return 0

"""The command line: one verb a step, and what an operator asks in the morning."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import traceback
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from attribution import __version__, analyse, operate
from attribution.errors import AttributionError, Stopped
from attribution.logs import LOGGER, configure
from attribution.stopping import stoppable, terminable

if TYPE_CHECKING:  # it takes seconds to import
    from attribution.pipeline import Line, Progress

STEPS = {
    "load": "read landed files into raw tables, each exactly once",
    "build": "build journeys and statistics with dbt",
    "attribute": "fit the models to the statistics",
    "marts": "build the tables that people read with dbt",
    "stage": "write the candidate version",
    "publish": "point publish/current at the candidate",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a sign stops no night
            stream.reconfigure(errors="backslashreplace")
    try:
        chosen = _parser().parse_args(arguments)
        configure()
        with terminable(), stoppable():
            code: int = chosen.command(chosen)
        return code
    except AttributionError as error:
        LOGGER.error(str(error))
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Stopped, KeyboardInterrupt):
        LOGGER.error("stopped before it was done; run again to go on")
        return 1
    except MemoryError as error:
        said = str(error) or "no more to be had"
        LOGGER.error(f"not enough memory ({said}): group channels, or take a larger machine")
        return 1
    except Exception as error:
        LOGGER.error(_unforeseen(error))
        return 1


def _unforeseen(error: Exception) -> str:
    """One line for what should not happen; where it happened goes to a file."""
    from attribution.settings import Folders, one_line

    said = f"{type(error).__name__}: {one_line(error)}"
    log = Folders.from_environment().state / "logs" / "error.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError:
        return f"{said}; please report it"
    return f"{said}; please report it with {log}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attribution",
        description="Nightly multi-touch attribution: landed exports to published channel credit.",
        epilog="Exit codes: 0 done, 1 error, 2 wrong usage, 3 a gate refused, 75 another run "
        "holds the lock. Folders come from ATTRIBUTION_HOME (default ./var), settings from "
        "dbt_project.yml.",
    )
    parser.add_argument("--version", action="version", version=f"attribution {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    line = argparse.ArgumentParser(add_help=False)
    line.add_argument(
        "--date", type=_date, metavar="YYYY-MM-DD", help="run date (default: newest exported day)"
    )
    line.add_argument("--set", **analyse.SET)

    run = verbs.add_parser("run", parents=[line], help="the whole line, load to publish")
    run.add_argument("--full", action="store_true", help="ignore what earlier nights built")
    run.set_defaults(command=_run)
    for step, text in STEPS.items():
        verb = verbs.add_parser(step, parents=[line], help=text)
        verb.set_defaults(command=_step, step=step)
    check = verbs.add_parser("check", parents=[line], help="run one gate of Great Expectations")
    check.add_argument("boundary", choices=("exports", "statistics", "credits"))
    check.set_defaults(command=_step, step="check")

    analyse.add_verbs(verbs)
    status = verbs.add_parser("status", help="what is published, and how the last run went")
    status.add_argument("--format", choices=("table", "json"), default="table")
    status.set_defaults(command=_status)
    doctor = verbs.add_parser(
        "doctor", help="check settings, folders, key, warehouse; or show how a file would be read"
    )
    doctor.add_argument("--export", type=Path, metavar="FILE", help="a file, landed or not")
    doctor.add_argument("--as", dest="name", metavar="EXPORT", help="read FILE as this export")
    doctor.set_defaults(command=_doctor)
    operate.add_verbs(verbs)
    return parser


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date such as 2026-03-31") from None


def _line(chosen: argparse.Namespace, report: Progress) -> Line:
    """The line as the environment and the command line declare it; a wrong setting is told."""
    from attribution import pipeline, telling
    from attribution.settings import Folders

    with telling.beginning(Folders.from_environment()):
        return pipeline.Line.from_environment(analyse.overrides(chosen), chosen.date, report)


def _run(chosen: argparse.Namespace) -> int:
    from attribution import pipeline, terminal

    with terminal.progress() as report:
        line = _line(chosen, report)
        figures = pipeline.run(line, full=chosen.full)
    analyse.warn(figures.values())
    from attribution.status import print_published

    print_published(line.folders)
    return 0


def _step(chosen: argparse.Namespace) -> int:
    from attribution import pipeline, terminal

    step = f"check {chosen.boundary}" if chosen.step == "check" else chosen.step
    with terminal.progress() as report:
        figures = pipeline.run_step(_line(chosen, report), step)
    analyse.warn([figures])
    shown = {name: value for name, value in figures.items() if name != "warnings"}
    print(f"{step}: " + ", ".join(f"{name} {value}" for name, value in shown.items()))
    return 0


def _status(chosen: argparse.Namespace) -> int:
    from attribution import status
    from attribution.settings import Folders

    folders = Folders.from_environment()
    if chosen.format == "json":
        print(json.dumps(status.status(folders), indent=1, ensure_ascii=False))
    else:
        status.print_published(folders)
        status.print_runs(folders)
    return 0


def _doctor(chosen: argparse.Namespace) -> int:
    from attribution.doctor import examine
    from attribution.settings import Folders, load_settings

    if chosen.export is not None:
        from attribution.export_profile import print_profile, profile

        folders = Folders.from_environment()
        settings = load_settings(folders.dbt_project)
        return print_profile(profile(folders, settings, chosen.export, chosen.name))
    problems = 0
    for what, problem in examine(Folders.from_environment()):
        print(f"{'ok  ' if problem is None else 'FAIL'}  {what}{f': {problem}' if problem else ''}")
        problems += problem is not None
    return 1 if problems else 0

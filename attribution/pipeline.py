"""The line: nine steps, each idempotent for its date, each with one verb.

The command line and the Airflow DAG call `run_step` and `run` and nothing else of the package.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import duckdb

from attribution import publish as versions
from attribution.build import build
from attribution.contract import declared, read_contract
from attribution.erase import erase as erase_from_state
from attribution.errors import AttributionError, EraseError, OutOfOrder, StepError, UsageError
from attribution.exports import load_exports
from attribution.reading import ReadingProcess
from attribution.rebuild import rebuild as rebuild_warehouse
from attribution.retention import expire_files, expire_quarantine
from attribution.room import check_publish
from attribution.runs import STEPS, RunRecord, lock
from attribution.settings import Folders, Settings, hmac_key, load_settings, one_line
from attribution.stopping import stop_if_asked, stoppable
from attribution.suppression import people
from attribution.telling import beginning, told
from attribution.transform import dbt
from attribution.validation import gate
from attribution.warehouse import open_published, open_warehouse

Figures = dict[str, Any]
Progress = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class Line:
    """Where a run works, and with which settings.

    overrides : settings by name that stand above dbt_project.yml, as `--set` gives them.
    run_date : the day up to which exports count; None means the newest day in them.
    progress : called with (step, done, total, what).
    full : build all journeys anew, whatever changed since the last build.
    """

    folders: Folders
    settings: Settings
    overrides: Mapping[str, Any] = field(default_factory=dict)
    run_date: date | None = None
    progress: Progress = lambda *_: None
    full: bool = False

    @classmethod
    def from_environment(
        cls,
        overrides: Mapping[str, Any] | None = None,
        run_date: date | None = None,
        progress: Progress = lambda *_: None,
    ) -> Line:
        folders = Folders.from_environment()
        settings = declared(folders, overrides)
        return cls(folders, settings, dict(overrides or {}), run_date, progress)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Line:
        """The same, by params of the DAG; a wrong one is told as a run that failed at its start."""
        with beginning(Folders.from_environment()):
            try:
                day = date.fromisoformat(params["date"]) if params["date"] else None
            except ValueError:
                raise UsageError(f"there is no date {params['date']}") from None
            return cls.from_environment(params["settings"], day)


def run(line: Line, *, full: bool = False) -> dict[str, Figures]:
    """All steps under one lock; figures by step.

    full : ignore what earlier nights left beside the raw tables: dbt's parsed project, and the
        journeys of customers who have not changed since.

    Raises
    ------
    AttributionError
        of the step that failed; nothing is published then.
    """
    with _lock(line.folders):
        if full:
            shutil.rmtree(line.folders.state / "dbt", ignore_errors=True)
        return _take_all(replace(line, full=full))


def run_step(line: Line, step: str, run: str | None = None) -> Figures:
    """One step under its own lock.

    run : the figure `run` that `load` returned; with it a step refuses to go on with another run
        that began in between.

    Raises
    ------
    OutOfOrder
        where the step to its left is not done, or was done for another date or other settings.
    """
    with _lock(line.folders):
        return _take(line, step, run)


def rebuild(line: Line) -> tuple[dict[str, int], list[str]]:
    """A new warehouse from the archive, see rebuild.py; counts and warnings."""
    with lock(line.folders):
        _empty(line.folders)
        return rebuild_warehouse(
            line.folders,
            line.settings,
            read_contract(line.folders.contract),
            lambda done, total, what: line.progress("rebuild", done, total, what),
        )


def erase(line: Line, identifiers: Sequence[str]) -> Figures:
    """Remove customers from state/, publish anew without them, drop every other version.

    Returns the receipt. Run date and settings are those of the published version.
    """
    with lock(line.folders):
        _empty(line.folders)
        shutil.rmtree(line.folders.publish / "candidate", ignore_errors=True)
        is_out = versions.current(line.folders.publish) is not None
        kept = line.settings
        if is_out:
            with suppress(AttributionError):  # a damaged version keeps nobody from being erased
                kept = _as_published(line).settings
        receipt = erase_from_state(
            line.folders,
            line.settings,
            read_contract(line.folders.contract),
            hmac_key(kept),
            identifiers,
            lambda done, total, what: line.progress("erase", done, total, what),
        )
        if is_out:
            try:
                _take_all(_as_published(line))
            except AttributionError as error:
                raise EraseError(
                    f"erase: state/ holds them no longer, published versions still do: {error}; "
                    "mend this, then erase again"
                ) from None
            versions.keep_only_current(line.folders)
        return receipt


def _as_published(line: Line) -> Line:
    """The line with the run date and the settings of the published version."""
    manifest = versions.read_manifest(line.folders.publish / "current")
    ours = load_settings(line.folders.dbt_project).model_dump(mode="json")
    # no other ones: to dbt a setting that is given is a project to parse anew
    overrides = {n: v for n, v in manifest["settings"].items() if n in ours and v != ours[n]}
    return replace(
        line,
        settings=load_settings(line.folders.dbt_project, overrides),
        overrides=overrides,
        run_date=date.fromisoformat(manifest["run_date"]),
    )


def _take_all(line: Line) -> dict[str, Figures]:
    return {step: _take(line, step) for step in STEPS}


@contextmanager
def _lock(folders: Folders) -> Iterator[None]:
    """The lock of a run. That somebody holds it is told."""
    with ExitStack() as stack:
        with beginning(folders):
            stack.enter_context(lock(folders))
        yield


def _take(line: Line, step: str, run: str | None = None) -> Figures:
    with beginning(line.folders, has_lock=True):
        # load begins a new one, whatever became of the last
        record = RunRecord() if step == STEPS[0] and run is None else RunRecord.read(line.folders)
    if run is not None and run != record.run:
        raise OutOfOrder(
            f"{step}: another run began at {record.started_at}, so this one cannot go on: begin it "
            "again with `load`"
        )
    record.begin(step, line.settings.fingerprint())
    is_after_build = STEPS.index(step) > STEPS.index("build")
    if is_after_build and line.run_date and record.run_date != line.run_date.isoformat():
        raise OutOfOrder(
            f"{step}: the warehouse stands at {record.run_date}, not at {line.run_date}: "
            "begin with `build` for that date"
        )
    started = time.monotonic()
    line.progress(step, 0, 0, "")
    with told(line.folders, record, step), stoppable(), _in_one_line(line.folders, step):
        record.write(line.folders)
        figures = _STEPS[step](line, record)
        record.finish(line.folders, step, time.monotonic() - started, figures)
    line.progress(step, 1, 1, "")
    return figures


@contextmanager
def _in_one_line(folders: Folders, step: str) -> Iterator[None]:
    """What the machine or the engine says on its own, as an error of the step."""
    try:
        yield
    except (OSError, MemoryError, duckdb.Error) as error:
        full = (OSError, MemoryError, duckdb.IOException, duckdb.OutOfMemoryException)
        place = "" if hasattr(error, "filename") and error.filename else f" in {folders.state}"
        came = "may be published" if step == STEPS[-1] else "nothing was published"
        way_out = "mend the cause and run again"
        if isinstance(error, duckdb.Error) and "corrupt" in str(error).lower():
            way_out = "`attribution rebuild` makes the warehouse anew from the archive"
        raise StepError(
            f"{step}: {one_line(error) or type(error).__name__}{place}; {came}: {way_out}",
            may_pass=isinstance(error, full),
        ) from error


def _load(line: Line, record: RunRecord) -> Figures:
    contract = read_contract(line.folders.contract)
    known = people(line.folders, hmac_key(line.settings))
    _empty(line.folders)
    # here and not after publication, which a gate may refuse for weeks
    gone = expire_quarantine(line.folders, line.settings)
    with (
        open_warehouse(line.folders, line.settings) as con,
        ReadingProcess(line.folders, line.settings, known) as read,
    ):
        counts, warnings = load_exports(
            con,
            contract,
            line.folders,
            known,
            load_id=str(record.started_at),
            read=read,
            progress=lambda done, total, what: line.progress("load", done, total, what),
            max_bad_row_share=line.settings.max_bad_row_share,
        )
    return {"run": record.run, **counts, "quarantine_expired": gone, "warnings": warnings}


def _check_exports(line: Line, record: RunRecord) -> Figures:
    contract = read_contract(line.folders.contract)
    required = [export.name for export in contract.values() if not export.optional]
    with open_warehouse(line.folders, line.settings) as con:
        return gate(line.folders, line.settings, "exports", con, {"required": required})


def _build(line: Line, record: RunRecord) -> Figures:
    figures = build(
        line.folders, line.settings, line.run_date, line.full, partial(_dbt, line, "build")
    )
    record.run_date = figures["run_date"]
    return figures


def _check_statistics(line: Line, record: RunRecord) -> Figures:
    with open_warehouse(line.folders, line.settings) as con:
        return gate(line.folders, line.settings, "statistics", con)


def _attribute(line: Line, record: RunRecord) -> Figures:
    from attribution.attribute import attribute  # the models take seconds to import

    stop_if_asked()
    with open_warehouse(line.folders, line.settings) as con:
        return dict(attribute(con, line.settings))


def _marts(line: Line, record: RunRecord) -> Figures:
    return {"nodes": _dbt(line, "marts", "path:models/marts")}


def _stage(line: Line, record: RunRecord) -> Figures:
    now = datetime.now(UTC)
    run_id = f"{record.run_date}_{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}Z"
    check_publish(line.folders)
    with open_warehouse(line.folders, line.settings) as con:
        manifest = versions.stage(con, line.folders, line.settings, record, run_id)
    rows = {name: table["rows"] for name, table in manifest["tables"].items()}
    return {"run_id": run_id, "rows": rows}


def _check_credits(line: Line, record: RunRecord) -> Figures:
    with open_published(line.folders.publish / "candidate") as con:
        return gate(line.folders, line.settings, "credits", con)


def _publish(line: Line, record: RunRecord) -> Figures:
    run_id = str(record.steps["stage"]["run_id"])
    folder = versions.publish(line.folders, line.settings.keep_versions, run_id)
    _empty(line.folders)
    run_date = date.fromisoformat(str(record.run_date))
    contract = read_contract(line.folders.contract)
    gone = expire_files(line.folders, line.settings, contract, run_date)
    return {"run_id": folder.name, "folder": str(folder), "files_expired": gone}


_STEPS: dict[str, Callable[[Line, RunRecord], Figures]] = {
    "load": _load,
    "check exports": _check_exports,
    "build": _build,
    "check statistics": _check_statistics,
    "attribute": _attribute,
    "marts": _marts,
    "stage": _stage,
    "check credits": _check_credits,
    "publish": _publish,
}


def _dbt(
    line: Line, step: str, *selected: str, exclude: Sequence[str] = (), full: bool = False
) -> int:
    return dbt(
        line.folders,
        line.settings,
        line.overrides,
        [
            *("build", "--exclude-resource-type", "unit_test"),
            "--no-write-json",  # a second of each night, for what only `docs` reads
            *("--select", *selected),
            *(("--exclude", *exclude) if exclude else ()),
            *(("--full-refresh",) if full else ()),
        ],
        progress=lambda done, total, node: line.progress(step, done, total, node),
    )


def _empty(folders: Folders) -> None:
    """Leave nothing of an earlier run's decoded files and spilled tables."""
    shutil.rmtree(folders.scratch, ignore_errors=True)
    folders.scratch.mkdir(mode=0o700)
    (folders.scratch / "spill").mkdir()

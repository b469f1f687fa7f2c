"""dbt on the company's project, in this process: it takes longer to import than to run."""

from __future__ import annotations

import gc
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import duckdb

from attribution.errors import AttributionError, BuildError
from attribution.settings import Folders, Settings, one_line
from attribution.stopping import stop_if_asked
from attribution.warehouse import environment_for_dbt, open_warehouse

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
NO_ID = re.compile(r"\(?[^\W\d]{1,20}\)?|\(all goals\)")
LOG_BYTES, LOGS = 10_000_000, 4  # of one file, and how many are kept beside it
# Events that end a node, each with the name that dbt gives there to the number of all nodes.
FINISHED = {"LogModelResult": "total", "LogSeedResult": "total", "LogTestResult": "num_models"}


def dbt(
    folders: Folders,
    settings: Settings,
    overrides: Mapping[str, Any],
    arguments: Sequence[str],
    progress: Callable[[int, int, str], None] = lambda *_: None,
) -> int:
    """Run one dbt command.

    Returns
    -------
    int : how many nodes (models, seeds, tests) it ran.

    Raises
    ------
    BuildError
        naming what failed, and where the log is.
    """
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner
    from dbt_common.exceptions import env_secrets, scrub_secrets

    path = folders.state / "logs" / "dbt.log"
    stop_if_asked()  # importing dbt takes seconds, and may keep a signal to itself
    failures: list[str] = []
    done = 0

    def listen(event: Any) -> None:
        nonlocal done
        if event.info.level != "debug" and event.info.msg.strip():
            said = scrub_secrets(COLOUR.sub("", event.info.msg), env_secrets())
            log.info("[%s] %s", event.info.level, said)
            if event.info.level == "error":
                failures.append(said.partition("Traceback (most recent")[0])
        if event.info.name in FINISHED:
            done += 1
            total = getattr(event.data, FINISHED[event.info.name])
            progress(done, total, event.data.node_info.node_name)

    command = [
        # its own logs write a line of every event before they ask whether that is wanted
        *("--log-level", "none", "--log-level-file", "none", "--log-path", str(path.parent)),
        *arguments,
        *("--target-path", str(folders.state / "dbt")),
        *("--project-dir", str(folders.dbt_project), "--profiles-dir", str(folders.dbt_project)),
    ]
    if overrides:
        command += ["--vars", json.dumps(dict(overrides))]
    with (
        _environment(environment_for_dbt(folders, settings)),
        _rare_collection(),
        _log(path) as log,
    ):
        try:
            result = dbtRunner(callbacks=[listen]).invoke(command)
        finally:
            DuckDBConnectionManager.close_all_connections()  # or it would hold the warehouse
    if result.exception is not None and not isinstance(result.exception, Exception):
        raise result.exception  # a stop, or a scheduler's timeout
    if not result.success:
        told = list(_told(getattr(result.result, "results", []), folders, settings))
        what = "; ".join(told[:3]) or " ".join(failures[:3]) or result.exception or "dbt failed"
        raise BuildError(f"dbt {arguments[0]}: {one_line(what)}; see {path}")
    return done


def _told(results: Sequence[Any], folders: Folders, settings: Settings) -> Iterator[str]:
    """What failed, in the words of our own models and tests where these have some.

    A test says why it is there (`meta: {why: ...}`), and which values it found.
    """
    for result in results:
        node, message = result.node, COLOUR.sub("", result.message or "")
        if result.status == "error":
            ours = re.search(r"Compilation Error in .*\n((?:.|\n)*?)\n\s*> in macro", message)
            yield ours.group(1) if ours else f"{node.name}: {message}"
        elif result.status == "fail" and "why" in node.config.meta:
            found = _some_rows(folders, settings, node.compiled_code)
            yield f"{node.name}: {node.config.meta['why']}{f' (found: {found})' if found else ''}"
        elif result.status == "fail":
            yield f"{node.name}: {message}"


def _some_rows(folders: Folders, settings: Settings, compiled: str) -> str:
    """What a test found first, as far as it is a word: a shifted column may hold ids and names."""
    with (
        suppress(AttributionError, duckdb.Error),
        open_warehouse(folders, settings, read_only=True) as con,
    ):
        rows = con.execute(f"select * from (\n{compiled}\n) as found order by all").fetchmany(3)
        return ", ".join(str(row[0]) for row in rows if NO_ID.fullmatch(str(row[0])))
    return ""


@contextmanager
def _rare_collection() -> Iterator[None]:
    """dbt makes millions of objects that last: a tenth of its time went on looking for others."""
    former = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*former)


@contextmanager
def _log(path: Path) -> Iterator[logging.Logger]:
    """A log of what dbt says above the level of debugging."""
    path.parent.mkdir(parents=True, exist_ok=True)
    logging.raiseExceptions = False  # a full disk is told once, not by each line of this
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOGS, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log = logging.Logger(path.name)  # of its own: nothing else hears it
    log.addHandler(handler)
    try:
        yield log
    finally:
        with suppress(OSError):  # a full disk, again: what dbt did is of more importance
            handler.close()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """profiles.yml reads the environment; ours is put back afterwards."""
    former = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

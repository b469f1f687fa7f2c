"""dbt on the company's project, in this process: it takes longer to import than to run."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from attribution.errors import BuildError
from attribution.settings import Folders, Settings, one_line
from attribution.stopping import stop_if_asked
from attribution.warehouse import environment_for_dbt

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
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

    stop_if_asked()  # importing dbt takes seconds, and may keep a signal to itself
    failures: list[str] = []
    done = 0

    def listen(event: Any) -> None:
        nonlocal done
        if event.info.level == "error" and event.info.msg.strip():
            said = COLOUR.sub("", event.info.msg).partition("Traceback (most recent")[0]
            failures.append(said)
        if event.info.name in FINISHED:
            done += 1
            total = getattr(event.data, FINISHED[event.info.name])
            progress(done, total, event.data.node_info.node_name)

    command = [
        *("--log-level", "none", "--log-level-file", "info", "--no-use-colors-file"),
        *("--log-path", str(folders.state / "logs")),
        *arguments,
        *("--target-path", str(folders.state / "dbt")),
        *("--project-dir", str(folders.dbt_project), "--profiles-dir", str(folders.dbt_project)),
    ]
    if overrides:
        command += ["--vars", json.dumps(dict(overrides))]
    logging.raiseExceptions = False  # a full disk is told once, not by each line of dbt's log
    with _environment(environment_for_dbt(folders, settings)):
        try:
            result = dbtRunner(callbacks=[listen]).invoke(command)
        finally:
            DuckDBConnectionManager.close_all_connections()  # or it would hold the warehouse
    if result.exception is not None and not isinstance(result.exception, Exception):
        raise result.exception  # a stop, or a scheduler's timeout
    if not result.success:
        what = " ".join(failures[:3]) or result.exception or "dbt failed"
        raise BuildError(
            f"dbt {arguments[0]}: {one_line(what)}; see {folders.state / 'logs' / 'dbt.log'}"
        )
    return done


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

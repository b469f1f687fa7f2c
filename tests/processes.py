"""The command line in processes of their own, forked from one that has imported what a run needs.

They can be killed, raced and starved like any other, and begin ten seconds of importing sooner.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["attribution.cli", "attribution.pipeline", "attribution.attribute", "great_expectations",
     "dbt.cli.main", "dbt.adapters.duckdb.connections"]
)  # fmt: skip


class Run:
    """A process that has begun, with what a test needs of subprocess.Popen."""

    def __init__(
        self,
        environment: Mapping[str, str],
        command: tuple[str, ...],
        largest_file: int | None = None,
    ) -> None:
        """largest_file : bytes beyond which no file may grow, as on a disk that is full."""
        self._folder = TemporaryDirectory(prefix="attribution-said-")  # leaves with this object
        self._said = Path(self._folder.name)
        for name in ("out", "err"):  # before it begins: it may be killed before it says a word
            (self._said / name).touch()
        self._process = SERVER.Process(
            target=_run, args=(dict(environment), command, str(self._said), largest_file)
        )
        self._process.start()
        self.pid = self._process.pid
        self.kill, self.terminate = self._process.kill, self._process.terminate

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self._process.join(timeout)
        if self._process.is_alive():
            raise subprocess.TimeoutExpired("attribution", timeout or 0)
        out, err = ((self._said / name).read_text() for name in ("out", "err"))
        return out, err


def _run(
    environment: dict[str, str], command: tuple[str, ...], said: str, largest_file: int | None
) -> None:
    from attribution import cli

    os.environ.clear()
    os.environ.update(environment)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{said}/{name}", os.O_WRONLY), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    sys.exit(cli.main(command))

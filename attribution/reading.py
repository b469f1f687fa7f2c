"""A process of its own that reads landed files: whatever a file does to it, the run goes on.

Started as `python -m attribution.reading`. It reads one JSON line per request from its standard
input, the first of which holds its setup, the pseudonym key among it, and answers each with one.
It has no warehouse, and its engine may touch landing/, the archive and the scratch folder only.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from attribution.convert import TOO_MUCH_MEMORY, Job, Outcome, convert
from attribution.errors import LoadError
from attribution.pseudonyms import People
from attribution.settings import Folders, Settings, one_line

PR_SET_PDEATHSIG = 1
BESIDE_THE_ENGINE = 2 * 2**30  # bytes that reading may take on top of the engine's memory_limit


class ReadingProcess:
    """The process, started with the first file; a context manager that ends it.

    Called with a Job it returns the Outcome. A file that brings the process down twice, or takes
    more memory than it may, is quarantined.
    """

    def __init__(self, folders: Folders, settings: Settings, people: People) -> None:
        self.setup = {
            "folders": {name: str(value) for name, value in vars(folders).items()},
            "settings": settings.model_dump(mode="json"),
            "key": people.key.hex() if people.key is not None else None,
            "salt": people.salt.hex(),
            "suppressed": sorted(people.suppressed),
            "memory": settings.memory_bytes + BESIDE_THE_ENGINE,
        }
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> ReadingProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def __call__(self, job: Job) -> Outcome:
        for _ in range(2):
            answer = self._ask(job)
            if answer is not None:
                break
            died = self._end()
        else:
            return Outcome("quarantined", reason=f"brings the reading process down ({died})")
        if "error" in answer:
            raise LoadError(answer["error"])
        outcome = Outcome(**answer)
        if outcome.reason == TOO_MUCH_MEMORY:
            self._end()  # what it still holds would be missing to the next file
        return outcome

    def _ask(self, job: Job) -> dict[str, Any] | None:
        """The answer, or None where the process died over it."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "attribution.reading"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
            self._send(self.setup)
        self._send(asdict(job))
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        answer: dict[str, Any] | None = json.loads(line) if line.endswith("\n") else None
        return answer

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message, default=str) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it is dead; the missing answer tells

    def _end(self) -> str:
        """Stop the process; returns how it ended."""
        if self.process is None:
            return "not started"
        process, self.process = self.process, None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        try:
            process.stdin.close()
            code = process.wait(timeout=5)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            process.kill()
            code = process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


class _WithoutPandas:
    """At its first parameter the engine imports pandas if it can: two seconds for nothing."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("not needed to read files", name=name)


def main() -> None:
    """Answer requests until the standard input ends."""
    from attribution.contract import read_contract
    from attribution.warehouse import open_reader

    sys.meta_path.insert(0, _WithoutPandas())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run itself decides when to stop
    if sys.platform == "linux":  # not to write on where the run was killed
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:
            return
    setup = json.loads(sys.stdin.readline())
    folders = Folders(**{name: Path(value) for name, value in setup["folders"].items()})
    people = People(
        key=bytes.fromhex(setup["key"]) if setup["key"] is not None else None,
        salt=bytes.fromhex(setup["salt"]),
        suppressed=frozenset(setup["suppressed"]),
    )
    settings = Settings.model_validate(setup["settings"])
    contract = read_contract(folders.contract)
    with open_reader(folders, settings) as con:
        if sys.platform == "linux":
            _bound_memory(setup["memory"])
        for line in sys.stdin:
            job = Job(**json.loads(line))
            job = Job(job.export, Path(job.path), job.sha256, job.rows)
            sys.stdout.write(json.dumps(_answer(con, contract, job, folders, people)) + "\n")
            sys.stdout.flush()


def _bound_memory(more: int) -> None:
    """Refuse more than so many bytes on top of what is held now: a file of one endless line, or of
    one text a billion times over, must not take the machine's.
    """
    held = int(Path("/proc/self/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = held + more if hard == resource.RLIM_INFINITY else min(held + more, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _answer(con: Any, contract: Any, job: Job, folders: Folders, people: People) -> dict[str, Any]:
    try:
        return asdict(convert(con, contract[job.export], job, folders, people))
    except Exception as error:  # the machine's fault or ours: the run stops and says so
        return {"error": one_line(f"{type(error).__name__}: {error}")}


if __name__ == "__main__":
    main()

"""Our models beside other packages': the same answers where theirs are exact, and the time of both.

Each peer is installed from pins with hashes (scripts/peers/*.txt) into an environment of its own
below var/peers and runs there in its own process. This matters most for ChannelAttribution, which
is GPL-3: it is never imported by the attribution package or by this script, and not needed by them.

Rows of paths are read before the clock starts; imports do not count. Calls alternate: ours from
the rows, ours from ready statistics, the peer, and again; figures are medians. Ratios are of CPU
seconds of one run on one machine, one thread each. A peer beyond the limit of time or memory is
ended, and the table says so. Exit code 1: exact answers differ, or a peer is missing or fails.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts" / "peers"
HOME = ROOT / "var" / "peers"
TOLERANCE = 1e-9
NOTABLE = 0.01  # simulation says nothing of effects that are smaller than its own noise

# Threads of BLAS that wait for each other on a busy machine take fifty times the CPU of one alone.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")

Answer = dict[str, Any]


@dataclass(frozen=True)
class Peer:
    """A package to compare with; `exact` where it does not simulate."""

    name: str
    version: str
    orders: tuple[int, ...]
    exact: bool
    shapley: bool = False

    @property
    def pins(self) -> Path:
        return SCRIPTS / f"{self.name}.txt"

    @property
    def script(self) -> Path:
        return SCRIPTS / f"run_{self.name.replace('-', '_')}.py"


@dataclass(frozen=True)
class Case:
    """One model on one file of paths."""

    data: str
    model: str
    order: int
    most_runs: int = 1000

    @property
    def task(self) -> Answer:
        return {"do": "fit", "data": self.data, "model": self.model, "order": self.order}

    @property
    def title(self) -> str:
        return f"markov {self.order}" if self.model == "markov" else self.model


@dataclass
class Result:
    """Answers of one case by us and one peer."""

    case: Case
    peer: Peer
    rows: list[Answer] = field(default_factory=list)
    ready: list[Answer] = field(default_factory=list)
    theirs: list[Answer] = field(default_factory=list)

    def problem(self) -> str:
        """What kept a run from its end, or nothing."""
        sides = (("ours", self.rows + self.ready), (self.peer.name, self.theirs))
        return "; ".join(
            f"{name}: {why}"
            for name, answers in sides
            for why in sorted({a[key] for a in answers for key in ("limit", "error") if key in a})
        )


PEERS = (
    Peer("channelattribution", "2.2.5", orders=(1, 2, 3), exact=False),
    Peer("marketing-attribution-models", "2.1.1", orders=(1,), exact=True, shapley=True),
    Peer("do-attribution", "0.0.2", orders=(1, 2, 3), exact=True),
)


def main() -> int:
    options = arguments()
    environments = {peer: environment for peer in PEERS if (environment := install(peer))}
    with tempfile.TemporaryDirectory() as folder:
        files = path_files(Path(folder))
        ours = Runner("ours", Path(sys.executable), SCRIPTS / "run_ours.py", files)
        results = []
        for peer, python in environments.items():
            theirs = Runner(peer.name, python, peer.script, files)
            for case in cases(peer, list(files)):
                results.append(measure(case, peer, ours, theirs, options))
            theirs.end()
        ours.end()
    print(f"{machine()}\n\n{agreement(results)}\n\n{speed(results)}")
    if options.json:
        options.json.write_text(json.dumps(report(results), indent=2) + "\n")
    broken = complaints(results)
    for line in broken:
        print(f"bench-peers: {line}", file=sys.stderr)
    return 1 if broken or len(environments) < len(PEERS) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all figures to this file, too")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each case")
    parser.add_argument("--limit", type=float, default=60, help="seconds that one run may take")
    return parser.parse_args()


# Environments


def install(peer: Peer) -> Path | None:
    """Python of the peer's environment, made where its pins are new; None where that fails."""
    folder = HOME / peer.name
    python, stamp = folder / "bin" / "python", folder / "ready"
    build = SCRIPTS / f"{peer.name}-build.txt"
    pins = [peer.pins] + [build] * build.exists()
    wanted = sys.version + "".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in pins)
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"installing {peer.name} {peer.version} into {folder} ...", file=sys.stderr)
    # What a source package is built with is pinned as well.
    constraints = ["--build-constraints", str(build)] if build.exists() else []
    make = ["venv", "--clear", "--python", sys.executable, str(folder)]
    fill = ["pip", "sync", "--require-hashes", "--python", str(python), *constraints]
    HOME.mkdir(parents=True, exist_ok=True)
    log = HOME / f"{peer.name}-install.log"
    if not (uv(make, log) and uv([*fill, str(peer.pins)], log)):
        print(f"bench-peers: {peer.name} cannot be installed: see {log}", file=sys.stderr)
        return None
    stamp.write_text(wanted)
    return python


def uv(command: list[str], log: Path) -> bool:
    """Whether uv did it; what it says goes into the log."""
    program = Path(sys.executable).with_name("uv")  # locked with everything else in .venv
    with log.open("w") as said:
        done = subprocess.run([str(program), *command], stdout=said, stderr=said, check=False)
    return done.returncode == 0


# Data


def path_files(folder: Path) -> dict[str, Path]:
    """Files of aggregated paths by name; the example data only where it lies at hand."""
    files = {}
    shared = Path(os.environ.get("ATTRIBUTION_SHARED", ROOT.parent / "shared"))
    example = shared / "data" / "channelattribution_pathdata" / "Data.csv"
    if example.exists():
        files["example data"] = example
    else:
        print(f"bench-peers: no {example}: going on without it", file=sys.stderr)
    for channels in (20, 200):
        files[f"{channels} channels"] = generate(folder / f"{channels}.csv", channels)
    return files


def generate(path: Path, channels: int, journeys: int = 200_000, seed: int = 1) -> Path:
    """About five touches a journey, by Zipf's law; each touch converts by its channel's chance."""
    random = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, channels + 1)
    lengths = random.geometric(0.2, journeys)
    touches = random.choice(channels, lengths.sum(), p=popularity / popularity.sum())
    chance = random.uniform(0.0, 0.03, channels)
    starts = np.cumsum(lengths) - lengths
    lost = np.multiply.reduceat(1 - chance[touches], starts)
    converts = random.random(journeys) >= lost
    counts: dict[tuple[int, ...], list[int]] = {}
    for steps, converted in zip(np.split(touches, starts[1:]), converts, strict=True):
        count = counts.setdefault(tuple(steps.tolist()), [0, 0])
        count[0 if converted else 1] += 1
    lines = ["path;total_conversions;total_null"]
    for path_steps, (won, lost_count) in counts.items():
        text = " > ".join(f"c{step:03d}" for step in path_steps)
        lines.append(f"{text};{won};{lost_count}")
    path.write_text("\n".join(lines) + "\n")
    return path


def cases(peer: Peer, data: list[str]) -> Iterator[Case]:
    for name in data:
        large = name == "200 channels"  # order 3 takes everyone minutes there, as does Shapley
        for order in peer.orders:
            if order < 3 or not large:
                yield Case(name, "markov", order)
        if peer.shapley and not large:
            yield Case(name, "shapley", 0, most_runs=1000 if name == "example data" else 1)


# Runs


class Runner:
    """A process that answers tasks one by one; started when first asked, again after a limit."""

    def __init__(self, name: str, python: Path, script: Path, files: dict[str, Path]) -> None:
        self.name, self.command, self.files = name, [str(python), str(script)], files
        self.process: subprocess.Popen[str] | None = None
        self.loaded: set[str] = set()

    def ask(self, task: Answer, limit: float) -> Answer:
        """The answer, or {"limit": why} or {"error": why}."""
        if task["data"] not in self.loaded:
            load = {"do": "load", "data": task["data"], "file": str(self.files[task["data"]])}
            failed = self._send(load, 600)
            if failed:
                return failed
            self.loaded.add(task["data"])
        return self._send(task, limit)

    def _send(self, task: Answer, limit: float) -> Answer:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(task) + "\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], limit)[0]:
            self.end()
            return {"limit": f"> {limit:g} s"}
        line = process.stdout.readline()
        if not line:
            self.end()
            return {"error": f"its process ended, see {self._log()}"}
        answer: Answer = json.loads(line)
        return answer

    def _running(self) -> subprocess.Popen[str]:
        if self.process is None:
            with self._log().open("w") as log:
                self.process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=os.environ | ONE_THREAD,
                    text=True,
                )
        return self.process

    def _log(self) -> Path:
        return HOME / f"{self.name}.log"

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        self.process = None
        self.loaded.clear()


def measure(
    case: Case, peer: Peer, ours: Runner, theirs: Runner, options: argparse.Namespace
) -> Result:
    """Runs by turns, so that whatever else the machine does meets both."""
    print(f"{case.data}, {case.title}: {peer.name} ...", file=sys.stderr)
    result = Result(case, peer)
    for _ in range(min(options.repeats, case.most_runs)):
        result.rows.append(ours.ask(case.task | {"start": "rows"}, options.limit))
        result.ready.append(ours.ask(case.task | {"start": "statistics"}, options.limit))
        if all("cpu" in answer for answer in result.theirs):  # what failed once fails again
            result.theirs.append(theirs.ask(case.task, options.limit))
    return result


# Tables


def agreement(results: list[Result]) -> str:
    """How far each peer's values are from ours, relative to ours."""
    lines = [
        "removal effects (shapley: credit) beside ours, relative differences",
        f"{'paths':<14}{'model':<11}{'peer':<30}{'largest':>9}{'mean':>9}"
        f"{'of effects >= 1 %':>19}  peer is",
    ]
    for result in results:
        found = differences(result)
        if found is not None:
            lines.append(
                f"{_names(result)}{found['largest']:>9.1e}{found['mean']:>9.1e}"
                f"{found['largest_notable']:>19.1e}  "
                f"{'exact' if result.peer.exact else 'simulated'}"
            )
    return "\n".join(lines)


def differences(result: Result) -> dict[str, float] | None:
    """Largest and mean relative difference over channels; None where either side has no answer."""
    ours, theirs = _values(result.ready), _values(result.theirs)
    if ours is None or theirs is None:
        return None
    if ours.keys() != theirs.keys():
        return dict.fromkeys(("largest", "mean", "largest_notable"), float("inf"))
    a, b = np.array([(ours[channel], theirs[channel]) for channel in sorted(ours)]).T
    apart = np.abs(a - b) / np.where(a == 0, 1.0, np.abs(a))
    return {
        "largest": float(apart.max()),
        "mean": float(apart.mean()),
        "largest_notable": float(apart[np.abs(a) >= NOTABLE].max(initial=0.0)),
    }


def speed(results: list[Result]) -> str:
    """Medians of seconds; how many times more CPU the peer takes."""
    lines = [
        "seconds, and how many times our cpu seconds the peer takes",
        f"{'':<55}{'ours, rows':^17}{'ours, statistics':^19}{'peer':^17}{'peer / ours':^18}",
        f"{'paths':<14}{'model':<11}{'peer':<30}"
        + f"{'cpu':>8}{'wall':>8}" * 3
        + f"{'rows':>9}{'stats':>9}{'runs':>6}",
    ]
    for result in results:
        line = _names(result)
        for answers in (result.rows, result.ready, result.theirs):
            line += f"{_number(median(answers, 'cpu'))}{_number(median(answers, 'wall'))}"
        theirs = median(result.theirs, "cpu")
        for answers in (result.rows, result.ready):
            own = median(answers, "cpu")
            line += f"{_ratio(theirs / own) if theirs and own else '-':>9}"
        lines.append(f"{line}{len(result.theirs):>6}  {result.problem()}".rstrip())
    return "\n".join(lines)


def median(answers: list[Answer], clock: str) -> float | None:
    seconds = [answer[clock] for answer in answers if clock in answer]
    return statistics.median(seconds) if seconds else None


def complaints(results: list[Result]) -> list[str]:
    """Whatever is wrong, a line each: exact answers that differ, and errors."""
    lines = []
    for result in results:
        what = f"{result.case.data}, {result.case.title}, {result.peer.name}"
        found = differences(result)
        if result.peer.exact and found and not found["largest"] <= TOLERANCE:
            lines.append(f"{what}: {found['largest']:.1e} apart, more than {TOLERANCE:g}")
        if result.peer.exact and found is None and result.case.order == 1:
            lines.append(f"{what}: nothing to compare, since {result.problem()}")
        answers = result.rows + result.ready + result.theirs
        lines += sorted({f"{what}: {answer['error']}" for answer in answers if "error" in answer})
    return lines


def report(results: list[Result]) -> Answer:
    """Every figure of the tables, and every run behind the medians."""
    return {
        "machine": machine(),
        "results": [
            {
                "paths": result.case.data,
                "model": result.case.model,
                "order": result.case.order,
                "peer": result.peer.name,
                "version": result.peer.version,
                "exact": result.peer.exact,
                "differences": differences(result),
                "problem": result.problem(),
                "ours_from_rows": _runs(result.rows),
                "ours_from_statistics": _runs(result.ready),
                "peer_from_rows": _runs(result.theirs),
            }
            for result in results
        ],
    }


def machine() -> str:
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"numpy {np.__version__}, {time.strftime('%Y-%m-%d')}"
    )


def _runs(answers: list[Answer]) -> Answer:
    return {clock: [a[clock] for a in answers if clock in a] for clock in ("cpu", "wall")}


def _values(answers: list[Answer]) -> dict[str, float] | None:
    return next((answer["values"] for answer in answers if "values" in answer), None)


def _names(result: Result) -> str:
    return f"{result.case.data:<14}{result.case.title:<11}{result.peer.name:<30}"


def _number(seconds: float | None) -> str:
    if seconds is None:
        return f"{'-':>8}"
    return f"{seconds:>8.4f}" if seconds < 1 else f"{seconds:>8.2f}"


def _ratio(times: float) -> str:
    return f"{times:.2f}" if times < 10 else f"{times:,.0f}"


if __name__ == "__main__":
    sys.exit(main())

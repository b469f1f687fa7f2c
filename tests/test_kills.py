"""Runs that are killed, stopped or raced: what is published stays whole, the next run heals."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from conftest import Home, land_small_world
from faults import ledger_adds_up, no_litter, published_is_whole, say, start, times
from processes import Run

from attribution.runs import STEPS


def wait_for_step(home: Home, process: Run, step: str) -> None:
    """Until the record says that the step is done, by the run at hand."""
    record = home.path / "state" / "run.json"
    former = record.read_text() if record.exists() else ""
    while process.poll() is None:
        text = record.read_text() if record.exists() else ""
        if text != former and f'"{step}": {{' in text:
            return
        time.sleep(0.005)


def after_the_fault(home: Home, former: str | None) -> str | None:
    run_id = published_is_whole(home)
    assert former is None or run_id is not None
    ledger_adds_up(home)
    return run_id


def test_killed_at_every_step_the_next_run_publishes_the_same(
    small_world: Home, home: Home
) -> None:
    land_small_world(home)
    run_id = None
    for step in STEPS[:: times(3, 1)]:
        process = start(home)
        wait_for_step(home, process, step)
        process.kill()
        process.communicate()
        run_id = after_the_fault(home, run_id)
    home.must("run")
    assert home.hashes() == small_world.hashes()
    no_litter(home)


def test_killed_at_any_moment_the_next_run_publishes_the_same(
    small_world: Home, after_run: Home
) -> None:
    home = after_run
    run_id, draw = published_is_whole(home), random.Random(5)  # noqa: S311
    began = time.monotonic()
    start(home).communicate()
    last = time.monotonic() - began
    moments, killed = times(2, 60), 0
    for _ in range(3 * moments):
        process, began = start(home), time.monotonic()
        try:
            process.communicate(timeout=draw.uniform(0, last))
            last = time.monotonic() - began
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
        run_id = after_the_fault(home, run_id)
        if killed == moments:
            break
    home.must("run")
    assert home.hashes() == small_world.hashes()
    no_litter(home)
    assert killed == moments
    say(f"{killed} runs killed at random moments, each left a whole version; the next one healed")


def test_sigterm_ends_clean_says_so_and_frees_the_lock(after_run: Home) -> None:
    home = after_run
    for step in ("check exports", "load", "build")[: times(2, 3)]:
        process = start(home)
        wait_for_step(home, process, step)
        time.sleep(0.3)  # into the next step
        process.terminate()
        _, said = process.communicate(timeout=60)
        assert process.returncode == 1, said
        assert "stopped before it was done; run again" in said
        assert "Traceback" not in said
        ledger_adds_up(home)
        assert home.attribution("status").returncode == 0
    home.must("run")
    no_litter(home)


def test_sigterm_at_any_moment_ends_it_there(after_run: Home) -> None:
    """Also while a library is imported, which may keep the signal to itself."""
    home, draw = after_run, random.Random(6)  # noqa: S311
    record = home.path / "state" / "run.json"
    began = time.monotonic()
    start(home).communicate()
    last, moments, stopped = time.monotonic() - began, times(1, 40), 0
    for _ in range(3 * moments):
        former, process = record.read_text(), start(home)
        try:
            process.communicate(timeout=draw.uniform(1, last))
            continue  # it was through
        except subprocess.TimeoutExpired:
            text = record.read_text()
            was_at_its_end = text != former and '"check credits": {' in text
            process.terminate()
        _, said = process.communicate(timeout=120)
        if process.returncode == 0:
            assert was_at_its_end, said  # publishing takes no time
            continue
        assert process.returncode == 1, said
        assert "stopped before it was done; run again" in said
        stopped += 1
        if stopped == moments:
            break
    assert stopped == moments
    home.must("run")
    no_litter(home)
    say(f"{stopped} runs stopped by SIGTERM at random moments, each said so")


def test_raced_runs_one_publishes_the_other_names_it(after_run: Home) -> None:
    home = after_run
    refused = 0
    for _ in range(times(1, 50)):
        first, second = start(home), start(home)
        said = [process.communicate()[1] for process in (first, second)]
        codes = sorted([first.returncode, second.returncode])
        assert codes in ([0, 75], [0, 0]), said  # both, where one was done before the other began
        for process, text in zip((first, second), said, strict=True):
            if process.returncode == 75:
                refused += 1
                other = second if process is first else first
                assert re.search(rf"pid {other.pid} on \S+ since ", text), text
        published_is_whole(home)
        ledger_adds_up(home)
    assert refused
    say(f"{refused} of {times(1, 50)} races refused by exit 75, all with their holder named")


READER = """
import sys, time, json, os
from pathlib import Path
import duckdb
current, stop, count = Path(sys.argv[1]) / "current", Path(sys.argv[2]), 0
while not stop.exists():
    version = current.resolve()
    try:
        with duckdb.connect(version / "attribution.duckdb", read_only=True) as con:
            (run_id,) = con.execute("select distinct run_id from run_manifest").fetchone()
            n = con.execute("select count(*) from channel_credit").fetchone()[0]
        assert run_id == version.name, (run_id, version.name)
        manifest = json.loads((version / "manifest.json").read_text())
        assert manifest["tables"]["channel_credit"]["rows"] == n
        count += 1
    except (FileNotFoundError, duckdb.IOException):
        if version.exists():  # a version that is there must be readable
            raise
print(count)
"""


def test_readers_never_see_half_a_version(small_world: Home, tmp_path: Path) -> None:
    """Two processes read `current` on and on while versions are published under them."""
    from attribution import publish
    from attribution.runs import RunRecord
    from attribution.settings import Folders, load_settings
    from attribution.warehouse import open_warehouse

    stop = tmp_path / "stop"
    where = Folders.from_environment(
        small_world.environment | {"ATTRIBUTION_PUBLISH": str(tmp_path / "publish")}
    )
    where.publish.mkdir()
    settings = load_settings(where.dbt_project)
    record = RunRecord.read(where)

    def one(number: int) -> None:
        run_id = f"2026-01-05_{number:08d}Z"
        with open_warehouse(where, settings) as con:
            publish.stage(con, where, settings, record, run_id)
        publish.publish(where, 3, run_id)

    one(0)
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(where.publish), str(stop)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={k: v for k, v in os.environ.items() if not k.startswith("ATTRIBUTION_")},
        )
        for _ in range(2)
    ]
    time.sleep(1)
    for number in range(1, times(10, 100) + 1):
        one(number)
    stop.touch()
    reads = []
    for reader in readers:
        out, error = reader.communicate(timeout=60)
        assert reader.returncode == 0, error
        reads.append(int(out))
    assert all(reads)
    say(f"{times(10, 100)} versions published under two readers, {sum(reads)} reads, none mixed")


def test_a_reader_that_holds_and_dies_blocks_nobody(small_world: Home, after_run: Home) -> None:
    """A BI tool opens the published file read-write, is killed, and leaves its log behind."""
    home = after_run
    held = home.current.resolve() / "attribution.duckdb"
    held.chmod(0o644)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import duckdb, sys, time\n"
            "con = duckdb.connect(sys.argv[1])\n"
            "con.execute('create table mine as select 1 as x')\n"
            "print('held', flush=True)\n"
            "time.sleep(600)",
            str(held),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    home.must("run")
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert Path(f"{held}.wal").exists()
    assert held.parent.name != published_is_whole(home)
    assert home.hashes() == small_world.hashes()

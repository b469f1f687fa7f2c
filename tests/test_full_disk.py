"""Disks that are full, and file operations that fail, one after the other."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Home, keep, put_back
from faults import LONG, folders, ledger_adds_up, no_litter, published_is_whole, say, start, times

from attribution import pipeline
from attribution.errors import AttributionError
from attribution.runs import STEPS
from attribution.settings import load_settings

WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.chmod"}


class Saboteur:
    """Lets the n-th change of a file below a folder fail, as a full disk would; notes each."""

    def __init__(self) -> None:
        self.place, self.fails = "", 0
        self.seen: list[tuple[str, str]] = []  # what was done, and in which folder
        sys.addaudithook(self._watch)  # can be disarmed, but never removed

    @contextmanager
    def armed(self, place: Path, n: int = 0) -> Iterator[None]:
        self.place, self.fails, self.seen = str(place), n, []
        try:
            yield
        finally:
            self.place = ""

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.place or not (event in WRITES or event == "open"):
            return
        if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            return
        paths = [str(a) for a in arguments if isinstance(a, str | os.PathLike)]
        if any(self.place in path for path in paths):
            self.seen.append((event, str(Path(paths[-1]).parent)))
            if len(self.seen) == self.fails:
                raise OSError(28, "No space left on device", str(arguments[0]))


def to_fail(seen: Sequence[tuple[str, str]]) -> list[int]:
    """All; in the short form, of what is done to many files of a folder the first and the last."""
    numbers = range(1, len(seen) + 1)
    if LONG:
        return list(numbers)
    first = {operation: n for n, operation in reversed(list(zip(numbers, seen, strict=True)))}
    last = dict(zip(seen, numbers, strict=True))
    return sorted({*first.values(), *last.values()})


@pytest.fixture(scope="module")
def saboteur() -> Saboteur:
    return Saboteur()


@pytest.fixture(scope="module")
def before(small_world: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Published once; then a correction, a broken and a new file were landed."""
    home = Home(tmp_path_factory.mktemp("before") / "home")
    shutil.copytree(small_world.path, home.path, symlinks=True)
    home.land("identities", "i.csv", "anonymous_id,customer_id,linked_at\nv3,k3,2026-01-03\n")
    good = "".join(f"g{n},k1,2026-01-03 10:00:00,branch\n" for n in range(200))
    home.land(
        "touchpoints",
        "new.csv",
        "touchpoint_id,customer_id,occurred_at,channel\nx,k1,never,search\n" + good,
    )
    return keep(home)


@pytest.fixture(scope="module")
def after(before: Home) -> dict[str, str]:
    """The hashes of an undisturbed run."""
    home = put_back(before)
    home.must("run")
    return home.hashes()


def failure_of(home: Home, step: str) -> str | None:
    try:
        pipeline.run_step(line(home), step)
    except AttributionError as error:
        return str(error)
    return None


def line(home: Home) -> pipeline.Line:
    return pipeline.Line(folders(home), load_settings(home.dbt_project))


@pytest.mark.parametrize("step", ["load", "stage", "publish"])
def test_every_file_operation_of_ledger_and_publish_may_fail(
    before: Home,
    after: dict[str, str],
    saboteur: Saboteur,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    for name, value in before.environment.items():
        monkeypatch.setenv(name, value)
    prepared = put_back(before)
    for earlier in STEPS[: STEPS.index(step)]:
        pipeline.run_step(line(prepared), earlier)
    prepared = keep(prepared, f"before {step}")
    published = published_is_whole(prepared)
    home = put_back(prepared)
    with saboteur.armed(home.path):
        assert failure_of(home, step) is None
    operations = to_fail(saboteur.seen)
    failed = 0
    for operation in operations:
        home = put_back(prepared)
        with saboteur.armed(home.path, operation):
            said = failure_of(home, step)
        if said is None:
            continue  # its failure did not matter, such as making a folder that is there
        assert "\n" not in said
        failed += 1
        # the swap itself may be done, and the failure be in the tidying after it
        assert published_is_whole(home) == published or step == "publish"
        ledger_adds_up(home)
        if failed % times(10, 3) == 1:
            home.must("run")
            assert home.hashes() == after
            no_litter(home)
    assert failed > 3
    say(f"{step}: each of {len(operations)} file operations failed once, {failed} stopped the step")


def test_too_little_room_is_said_before_work_begins(after_run: Home) -> None:
    """Files of terabytes, of which a disk holds nothing but their size."""
    with (after_run.current / "large").open("wb") as version:
        version.truncate(2**43)
    refused = after_run.main("stage")
    assert refused.returncode == 1
    assert re.search(r"stage: \S+ has [\d,]+ MB free and a version takes 8,388,6", refused.stderr)
    landed = after_run.land("touchpoints", "large.parquet", b"")
    os.truncate(landed, 2**43)
    refused = after_run.main("run")
    assert refused.returncode == 1
    assert re.search(
        r"load: \S+ has [\d,]+ MB free and the new files may need 167,77", refused.stderr
    )
    assert refused.stderr.endswith("free space, or set ATTRIBUTION_STATE to a larger disk\n")


def test_a_file_that_cannot_grow_is_one_clear_line(before: Home, after: dict[str, str]) -> None:
    """Runs that may write no file longer than so many bytes, as on a disk that is full."""
    home = put_back(before)
    published = published_is_whole(home)
    sizes = [1, 30, 1500] + [4, 100, 300, 700, 2000] * LONG
    for kilobytes in sizes:
        process = start(home, largest_file=kilobytes * 1024)
        _, said = process.communicate()
        assert process.returncode == 1, said
        last = said.strip().splitlines()[-1]
        assert last.startswith("attribution: "), said
        assert "Traceback" not in said
        assert published_is_whole(home) == published
        ledger_adds_up(home)
        say(f"files of at most {kilobytes} kB: {last[:150]}")
        if LONG or kilobytes == sizes[-1]:
            home.must("run")
            assert home.hashes() == after
            no_litter(home)
            home = put_back(before)


@pytest.mark.skipif(not LONG, reason="mounts a disk: `make torture`")
@pytest.mark.parametrize("folder", ["state", "publish"])
def test_a_full_disk_at_every_stage(
    before: Home, after: dict[str, str], tmp_path: Path, folder: str
) -> None:
    """A tmpfs that holds what is there and a little more, ever a little more until a run passes."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    home = put_back(before)
    disk = home.path / folder
    kept = tmp_path / "kept"
    disk.rename(kept)
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", disk], check=True)
    try:
        shutil.copytree(kept, disk, symlinks=True, dirs_exist_ok=True)
        used = shutil.disk_usage(disk).used // 1024

        def leave(kilobytes: int) -> None:
            size = f"remount,size={used + kilobytes}k"
            subprocess.run(["mount", "-o", size, disk], check=True)

        leave(100)
        stages, extra = [], 100
        while True:
            done = home.attribution("run")
            if done.returncode == 0:
                break
            last = done.stderr.strip().splitlines()[-1]
            assert last.startswith("attribution: "), done.stderr
            assert published_is_whole(home)
            stages.append(last[:110])
            extra += 400
            assert extra < 100_000
            leave(extra)
        assert stages
        assert home.hashes() == after
        ledger_adds_up(home)
        say(f"{folder}: full {len(stages)} times before a run passed at +{extra} kB:")
        for text in dict.fromkeys(stages):
            say(f"    {text}")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)

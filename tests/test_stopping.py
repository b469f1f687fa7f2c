"""A stop that is asked for is a stop, whatever the code that the signal meets makes of it; and what
nobody foresaw ends in one line."""

import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import duckdb
import numpy as np
import pytest

from attribution.errors import StepError, Stopped
from attribution.settings import Folders, load_settings
from attribution.stopping import stop_if_asked, stoppable, terminable
from attribution.transform import dbt


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_a_library_keeps_stops_what_would_begin(number: int) -> None:
    with terminable():
        with suppress(BaseException):  # as an import that is tried
            os.kill(os.getpid(), number)
        with pytest.raises(Stopped):
            stop_if_asked()
        with pytest.raises(Stopped), stoppable():
            pytest.fail("it began")


def test_what_fails_by_a_stop_is_a_stop() -> None:
    def fail() -> None:
        with suppress(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
        raise StepError("Connection already closed!", may_pass=False)

    with terminable(), pytest.raises(Stopped) as found, stoppable():
        fail()
    assert isinstance(found.value.__cause__, StepError)


def test_the_engine_tells_a_signal_as_an_error() -> None:
    def interrupt(value: int) -> int:
        if value == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return value

    with duckdb.connect() as con:
        con.create_function("interrupt", interrupt, ["bigint"], "bigint")
        with terminable(), pytest.raises(Stopped), stoppable():
            con.execute("select interrupt(i) from range(3) as r(i)").fetchall()


def test_a_signal_that_the_import_of_dbt_keeps_stops_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a library tries an import, and goes on whatever comes."""

    class Loader(ModuleType):
        def __getattr__(self, name: str) -> object:
            if name != "dbtRunner":
                raise AttributeError(name)
            with suppress(BaseException):
                os.kill(os.getpid(), signal.SIGTERM)
            return lambda **_: pytest.fail("dbt began")

    monkeypatch.setitem(sys.modules, "dbt.cli.main", Loader("dbt.cli.main"))
    folders = Folders.from_environment({"ATTRIBUTION_HOME": str(tmp_path)})
    with terminable(), pytest.raises(Stopped):
        dbt(folders, load_settings(folders.dbt_project), {}, ["build"])


def test_what_a_scheduler_raises_goes_on_as_it_is() -> None:
    """Airflow's timeout of a task is no Exception; the engine tells it as one."""

    class TimedOut(BaseException):
        pass

    with pytest.raises(TimedOut), stoppable():
        raise RuntimeError("Query interrupted") from TimedOut()


def test_other_errors_stay_what_they_are_and_a_stop_does_not_outlive_its_command() -> None:
    with terminable(), suppress(Stopped):
        os.kill(os.getpid(), signal.SIGTERM)
    with terminable():
        with pytest.raises(StepError), stoppable():
            raise StepError("a full disk", may_pass=True)
        stop_if_asked()


@pytest.mark.parametrize(
    ("fail", "says", "is_kept"),
    [
        (
            lambda: np.empty(1 << 50),
            r"not enough memory \(Unable to allocate .*\): ",
            False,
        ),
        (
            lambda: 1 // 0,
            r"ZeroDivisionError: .*; please report it with .*error\.log",
            True,
        ),
    ],
)
def test_what_nobody_foresaw_is_one_line(
    home, monkeypatch: pytest.MonkeyPatch, fail, says, is_kept
) -> None:
    monkeypatch.setattr("attribution.paths.read_paths", lambda *_, **__: fail())
    done = home.main("credit", "paths.csv", "--model", "linear")
    assert done.returncode == 1
    assert re.fullmatch(f"attribution: {says}.*\n", done.stderr)
    log = home.path / "state" / "logs" / "error.log"
    assert log.exists() == is_kept
    assert not is_kept or "ZeroDivisionError" in log.read_text()

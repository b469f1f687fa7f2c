"""A stop that is asked for is a stop, whatever the code that the signal meets makes of it."""

import os
import signal
from contextlib import suppress

import duckdb
import pytest

from attribution.errors import StepError, Stopped
from attribution.stopping import stop_if_asked, stoppable, terminable


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
    with terminable(), pytest.raises(Stopped) as found, stoppable():
        with suppress(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
        raise StepError("Connection already closed!", may_pass=False)
    assert isinstance(found.value.__cause__, StepError)


def test_the_engine_tells_a_signal_as_an_error() -> None:
    def interrupt(value: int) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return value

    with duckdb.connect() as con, terminable(), pytest.raises(Stopped), stoppable():
        con.create_function("interrupt", interrupt, ["bigint"], "bigint")
        con.execute("select interrupt(i) from range(3) as r(i)").fetchall()


def test_other_errors_stay_what_they_are_and_a_stop_does_not_outlive_its_command() -> None:
    with terminable(), suppress(Stopped):
        os.kill(os.getpid(), signal.SIGTERM)
    with terminable():
        with pytest.raises(StepError), stoppable():
            raise StepError("a full disk", may_pass=True)
        stop_if_asked()

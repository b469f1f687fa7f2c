"""What came of a run, as the engineers learn it: log, history, metrics, webhook, manifest."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jsonschema
import pytest
from conftest import ROOT, Home
from prometheus_client.parser import text_string_to_metric_families

from attribution import logs, webhook
from attribution.errors import BuildError, GateRefused, LoadError, Stopped
from attribution.runs import KEPT, STEPS, RunRecord, history, lock, remember
from attribution.settings import Folders
from attribution.telling import told
from attribution.terminal import print_rows
from attribution.transform import _log

HOOK = "token-of-the-webhook"


@dataclass
class Receiver:
    """A web server of our own that keeps what it is sent."""

    url: str
    status: int = 200
    received: list[dict] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.received.append(json.loads(body) | {"path": self.path})
            self.send_response(found.status)
            if found.status == 302:
                self.send_header("Location", "/login")
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(f"http://127.0.0.1:{server.server_port}/{HOOK}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that takes a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/{HOOK}"


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders.from_environment({"ATTRIBUTION_HOME": str(tmp_path)})
    folders.state.mkdir()
    return folders


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("ATTRIBUTION_WEBHOOK_URL", "ATTRIBUTION_METRICS", "ATTRIBUTION_LOG"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def record_of(*steps: str) -> RunRecord:
    figures = {
        "load": {"seconds": 2.0, "rows_read": 9, "rows_loaded": 8, "rows_rejected": 1},
        "check exports": {"seconds": 1.0, "expectations": 6, "warnings": ["so few"]},
        "check statistics": {"seconds": 1.0, "expectations": 6, "warnings": []},
        "check credits": {"seconds": 1.0, "expectations": 6, "warnings": []},
        "stage": {"seconds": 1.0, "run_id": "2026-01-05_20260106T040000000Z"},
    }
    return RunRecord(
        run="1f",
        run_date="2026-01-05",
        started_at="2026-01-06T03:59:00+00:00",
        steps={step: figures.get(step, {"seconds": 0.5}) for step in steps},
    )


def take(folders: Folders, record: RunRecord, step: str, error: BaseException | None) -> None:
    with told(folders, record, step):
        if error:
            raise error
        record.steps[step] = {"seconds": 0.5}


def metrics(path: Path) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name.removeprefix("attribution_"), tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("step", "error", "outcome", "message"),
    [
        ("build", LoadError("load: t.csv: a disk was full"), "failed", "load: t.csv: a disk was"),
        ("check exports", GateRefused("exports: rejected"), "refused", "exports: rejected"),
        ("attribute", RuntimeError("no\nforesight"), "failed", "RuntimeError: no foresight"),
        ("publish", None, "published", None),
    ],
)
def test_every_end_is_told_to_history_metrics_and_webhook(
    folders: Folders, receiver: Receiver, environment: pytest.MonkeyPatch,
    step: str, error: Exception | None, outcome: str, message: str | None,
) -> None:  # fmt: skip
    environment.setenv("ATTRIBUTION_WEBHOOK_URL", receiver.url)
    record = record_of(*STEPS[: STEPS.index(step)])
    if error:
        with pytest.raises(type(error)):
            take(folders, record, step, error)
    else:
        take(folders, record, step, None)
    [run] = history(folders)
    assert (run["outcome"], run["ended_in"], run["run"]) == (outcome, step, "1f")
    assert list(run["steps"]) == list(STEPS[: STEPS.index(step) + 1])
    assert run["rows"] == {"read": 9, "loaded": 8, "rejected": 1}
    [told_of] = receiver.received
    assert told_of["path"] == f"/{HOOK}"
    assert (told_of["event"], told_of["step"], told_of["run"]) == (outcome, step, "1f")
    assert (told_of["message"] or "").startswith(message or "")
    assert (run["run_id"] is not None) == (outcome == "published") == (told_of["message"] is None)
    found = metrics(folders.state / "metrics.prom")
    assert found["last_run_outcome", (outcome,)] == 1
    assert sum(found["last_run_outcome", (name,)] for name in ("published", "failed")) <= 1
    assert found["last_run_rows", ("rejected",)] == 1
    assert found["last_run_started_timestamp_seconds", ()] == 1767671940
    assert found["last_run_step_seconds", ("load",)] == 2


def test_a_step_that_ends_well_ends_no_run(
    folders: Folders, receiver: Receiver, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("ATTRIBUTION_WEBHOOK_URL", receiver.url)
    take(folders, record_of("load"), "check exports", None)
    assert (history(folders), receiver.received) == ([], [])


def test_who_stops_a_run_needs_no_message(
    folders: Folders, receiver: Receiver, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("ATTRIBUTION_WEBHOOK_URL", receiver.url)
    with pytest.raises(Stopped):
        take(folders, record_of("load"), "build", Stopped())
    assert [run["outcome"] for run in history(folders)] == ["stopped"]
    assert receiver.received == []


@pytest.mark.parametrize("error", [None, GateRefused("no")])
@pytest.mark.parametrize("fault", ["hangs", "refuses", "says 500", "says 302", "is no URL"])
def test_a_webhook_that_fails_changes_no_outcome(
    folders: Folders, receiver: Receiver, silent: str, environment: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, fault: str, error: Exception | None,
) -> None:  # fmt: skip
    environment.setattr(webhook, "SECONDS", 0.2)
    receiver.status = 302 if fault == "says 302" else 500
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = f"http://127.0.0.1:{closed.getsockname()[1]}/{HOOK}"
    url, said = {
        "hangs": (silent, ""),  # our own limit or the socket's, whichever comes first
        "refuses": (refusing, "ConnectionRefusedError"),
        "says 500": (receiver.url, "HTTP status 500"),
        "says 302": (receiver.url, "HTTP status 302"),  # to a page for logging in, as a rule
        "is no URL": (f"gopher:{HOOK}", "begins neither with https:// nor with http://"),
    }[fault]
    environment.setenv("ATTRIBUTION_WEBHOOK_URL", url)
    record = record_of(*STEPS[:-1])
    if error:
        with pytest.raises(GateRefused):
            take(folders, record, "publish", error)
    else:
        take(folders, record, "publish", None)
    assert history(folders)[0]["outcome"] == ("refused" if error else "published")
    [warned] = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warned.startswith("webhook: not delivered: ")
    assert said in warned
    everything = caplog.text + "".join(
        path.read_text() for path in folders.state.iterdir() if path.is_file()
    )
    assert HOOK not in everything


def test_what_cannot_be_written_changes_no_outcome(
    folders: Folders, environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (folders.state / "runs.json.tmp").mkdir()
    (folders.state / "folder").mkdir()
    environment.setenv("ATTRIBUTION_METRICS", str(folders.state / "folder"))
    take(folders, record_of(*STEPS[:-1]), "publish", None)
    warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert [text.partition(":")[0] for text in warned] == ["history", "metrics"]
    caplog.clear()
    take(folders, RunRecord(run="1f"), "publish", None)  # no step before it: nothing to tell of
    warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert [text.partition(":")[0] for text in warned] == ["the end of the run"]


def test_history_keeps_the_last_runs_and_each_once(folders: Folders) -> None:
    (folders.state / "runs.json").write_text('{"half')  # no reason to stop a night
    for number in range(KEPT + 5):
        remember(folders, {"run": str(number), "outcome": "failed"})
    remember(folders, {"run": str(KEPT), "outcome": "published"})
    runs = history(folders)
    assert len(runs) == KEPT
    assert [run["run"] for run in runs if run["outcome"] == "published"] == [str(KEPT)]
    assert (runs[-1]["run"], runs[0]["run"]) == (str(KEPT), "5")


def test_metrics_are_replaced_whole_and_readable(
    folders: Folders, environment: pytest.MonkeyPatch
) -> None:
    """The collector reads every *.prom of a folder that is not ours."""
    path = folders.state.parent / "collector" / "attribution.prom"
    environment.setenv("ATTRIBUTION_METRICS", str(path))
    before = os.umask(0o022)
    try:
        for _ in range(2):
            take(folders, record_of(*STEPS[:-1]), "publish", None)
    finally:
        os.umask(before)
    assert [found.name for found in path.parent.iterdir()] == ["attribution.prom"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_published_run_stands_in_status_metrics_and_history(bank: Home) -> None:
    [run] = json.loads((bank.path / "state" / "runs.json").read_text())
    manifest = bank.manifest()
    assert run["run_id"] == manifest["run_id"]
    assert run["rows"]["read"] == manifest["rows"]["read"]
    assert set(run["gates"]) == {"exports", "statistics", "credits"}
    found = metrics(bank.path / "state" / "metrics.prom")
    assert found["last_run_outcome", ("published",)] == 1
    assert found["versions", ()] == 1
    for table, entry in manifest["tables"].items():
        assert found["published_rows", (table,)] == entry["rows"]
    assert json.loads(bank.must("status", "--format", "json").stdout)["runs"] == [run]
    shown = bank.must("status").stdout
    assert f"version {run['run_id']} (current)" in shown
    assert "Runs, newest first" in shown
    for step in STEPS:
        assert step in shown


def test_after_a_rollback_metrics_are_of_the_version_that_is_published(after_run: Home) -> None:
    after_run.must("run", "--date", "2026-01-04")
    found = metrics(after_run.path / "state" / "metrics.prom")
    assert found["published_run_date_timestamp_seconds", ()] == 1767484800  # 4 January
    after_run.must("rollback")
    found = metrics(after_run.path / "state" / "metrics.prom")
    assert found["published_run_date_timestamp_seconds", ()] == 1767571200
    assert found["last_run_outcome", ("published",)] == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_signs_stops_nothing_and_files_are_utf_8(
    bank: Home, tmp_path: Path, encoding: str
) -> None:
    environment = bank.environment | {
        "PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
    }  # fmt: skip
    shown = subprocess.run(
        [sys.executable, "-m", "attribution", "status"],
        env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    code = (
        "import sys; from pathlib import Path; from attribution.runs import RunRecord; "
        "from attribution.settings import Folders; "
        "from attribution.publish import _write_manifest; "
        "folders = Folders.from_environment(); folders.state.mkdir(); "
        r"RunRecord(run='\u00dcber', started_at='').write(folders); "
        r"_write_manifest(folders.state, {'run_id': '\u20ac', 'files': {}})"
    )
    home = Home(tmp_path)
    written = subprocess.run(
        [sys.executable, "-c", code], env=environment | home.environment, check=False
    )
    assert written.returncode == 0
    assert "Über" in (tmp_path / "state" / "run.json").read_text("utf-8")
    assert "€" in (tmp_path / "state" / "manifest.json").read_text("utf-8")


def test_a_table_shows_its_figures_beside_a_long_name_and_no_stranger_writes_to_the_screen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_rows(
        "title\x1b[31m", ["channel", "credit"], [["n" * 300, "12.5"], ["a\x1b]0;b\x07\n", "1"]]
    )
    shown = capsys.readouterr().out
    assert "12.5" in shown
    assert "\x1b" not in shown
    assert r"a\x1b]0;b\x07\n" in shown


def test_a_failed_run_is_told_as_json_and_leaves_the_version(
    home: Home, receiver: Receiver
) -> None:
    """A process of its own; every line on stderr is JSON and bears the run."""
    environment = {
        "ATTRIBUTION_LOG": "json",
        "ATTRIBUTION_WEBHOOK_URL": receiver.url,
        "ATTRIBUTION_LANDING": str(home.path / "nowhere"),
    }
    done = home.attribution("load", environment=environment)
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["level"], line.get("event")) for line in lines] == [
        ("info", "step_begins"),
        ("info", "failed"),
        ("error", None),
    ]
    assert {line["run"] for line in lines} == {history(folders_of(home))[0]["run"]}
    assert {line["step"] for line in lines} == {"load"}
    assert [told_of["event"] for told_of in receiver.received] == ["failed"]
    assert HOOK not in done.stdout + done.stderr
    assert metrics(home.path / "state" / "metrics.prom")["last_run_outcome", ("failed",)] == 1
    shown = home.must("status").stdout
    assert "failed in load" in shown
    assert "failed: load:" in shown


@pytest.mark.parametrize("fault", ["a setting", "the lock"])
def test_what_fails_before_the_first_step_is_told(
    home: Home, receiver: Receiver, fault: str
) -> None:
    """Who holds the lock goes on keeping history and metrics."""
    (home.path / "state").mkdir(exist_ok=True)
    options = ("--set", "report_language=fr") if fault == "a setting" else ()
    with ExitStack() as stack:
        if fault == "the lock":
            stack.enter_context(lock(folders_of(home)))
        done = home.main("run", *options, environment={"ATTRIBUTION_WEBHOOK_URL": receiver.url})
    assert done.returncode == (75 if fault == "the lock" else 1)
    [told_of] = receiver.received
    assert (told_of["event"], told_of["step"], told_of["run_id"]) == ("failed", "start", None)
    assert f"attribution: {told_of['message']}" in done.stderr
    if fault == "the lock":
        assert history(folders_of(home)) == []
        assert not (home.path / "state" / "metrics.prom").exists()
    else:
        assert [run["ended_in"] for run in history(folders_of(home))] == ["start"]
        assert metrics(home.path / "state" / "metrics.prom")["last_run_outcome", ("failed",)] == 1
        assert "failed in start" in home.must("status").stdout


def test_a_record_that_a_power_cut_emptied_stops_no_new_run(home: Home) -> None:
    (home.path / "state").mkdir(exist_ok=True)
    record = home.path / "state" / "run.json"
    record.touch()
    done = home.main("build")
    assert done.returncode == 1
    assert f"{record} cannot be read" in done.stderr
    home.must("load")
    assert json.loads(record.read_text())["steps"].keys() == {"load"}


def test_lines_of_json_bear_the_run_that_did_not_begin(home: Home) -> None:
    options = ("--set", "report_language=fr")
    done = home.attribution("run", *options, environment={"ATTRIBUTION_LOG": "json"})
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["info", "error"]
    assert {line["run"] for line in lines} == {history(folders_of(home))[0]["run"]}
    assert {line["step"] for line in lines} == {"start"}


def test_a_line_is_said_once_whatever_libraries_set_up(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure({})
    logging.basicConfig()
    logging.getLogger("attribution.some.room").error("a disk is full")
    logging.getLogger("a library").error("nobody needs to know")
    assert capsys.readouterr().err == "attribution: a disk is full\n"


def test_a_form_of_log_that_is_none_is_refused(home: Home) -> None:
    done = home.main("status", environment={"ATTRIBUTION_LOG": "xml"})
    assert (done.returncode, done.stderr) == (
        1,
        "attribution: ATTRIBUTION_LOG: 'xml' is neither text nor json; correct it\n",
    )


def folders_of(home: Home) -> Folders:
    return Folders.from_environment({"ATTRIBUTION_HOME": str(home.path)})


def test_manifest_is_as_its_schema_says(bank: Home) -> None:
    schema = json.loads((ROOT / "docs" / "manifest.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    manifest = bank.manifest()
    assert list(validator.iter_errors(manifest)) == []
    assert set(manifest) == set(schema["properties"])
    for broken in (
        manifest | {"more": 1},
        {name: value for name, value in manifest.items() if name != "inputs"},
        manifest | {"run_id": "../current"},
    ):
        assert list(validator.iter_errors(broken)) != []


def test_dbts_log_on_a_full_disk_hides_no_outcome(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "dbt.log"
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    with _log(path) as log:
        log.info("a model")
    with pytest.raises(BuildError, match="the model's own fault"):
        _fail(path)


def _fail(path: Path) -> None:
    with _log(path) as log:
        log.info("a model")
        raise BuildError("the model's own fault")

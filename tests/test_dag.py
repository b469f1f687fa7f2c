"""The DAG: its policy, and Airflow's own run of it."""

import email
import email.policy
import fcntl
import json
import os
import re
import shutil
import socketserver
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from conftest import ROOT, Home, land_small_world

LINE = [
    "load",
    "check_exports",
    "build",
    "check_statistics",
    "attribute",
    "marts",
    "stage",
    "check_credits",
    "publish",
]
INSPECT = """
import json, sys, time
from pathlib import Path
from airflow.dag_processing.dagbag import DagBag
folder = Path(sys.argv[1])
before = time.process_time()
bag = DagBag(str(folder))
heavy = sorted({"great_expectations", "dbt", "duckdb", "attribution"} & set(sys.modules))
dag = bag.dags["attribution_nightly"]
tasks = {
    task.task_id: {
        "downstream": sorted(task.downstream_task_ids), "pool": task.pool, "slots": task.pool_slots,
        "retries": task.retries, "callbacks": len(task.on_failure_callback or []),
        "timeout": task.execution_timeout.total_seconds(),
        "outlets": [outlet.name for outlet in task.outlets],
    }
    for task in dag.tasks
}
print(json.dumps({
    "errors": bag.import_errors, "dags": sorted(bag.dags), "heavy": heavy, "tasks": tasks,
    "catchup": dag.catchup, "active": dag.max_active_runs, "doc": dag.doc_md,
    "params": sorted(dag.params), "schedule": str(dag.schedule), "tags": sorted(dag.tags),
}))
"""


class Mailbox(socketserver.ThreadingTCPServer):
    """A mail server of our own: it takes every message and keeps its text."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Smtp)
        self.messages: list[EmailMessage] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Smtp(socketserver.StreamRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                text = b"".join(iter(self.rfile.readline, b".\r\n"))
                message = email.message_from_bytes(text, policy=email.policy.default)
                self.server.messages.append(message)
            self.wfile.write(b"250 good\r\n")


class Airflow:
    """An Airflow of its own: database, pool, and the folders of one line."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.path = home.path / "airflow"
        self.environment = home.environment | {
            "AIRFLOW_HOME": str(self.path),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).parent / "airflow", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def rows(self, sql: str) -> list[tuple]:
        with sqlite3.connect(self.path / "airflow.db") as database:
            return database.execute(sql).fetchall()


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    home = land_small_world(Home(tmp_path_factory.mktemp("airflow")))
    airflow = Airflow(home)
    for command in (("db", "migrate"), ("pools", "set", "attribution", "1", "one writer")):
        done = airflow(*command)
        assert done.returncode == 0, done.stderr
    return airflow


@pytest.fixture
def mailbox(airflow: Airflow) -> Iterator[Mailbox]:
    with Mailbox() as box:
        extra = {"from_email": "night@bank.example", "disable_ssl": True, "disable_tls": True}
        connection = {
            "conn_type": "smtp", "host": "127.0.0.1", "port": box.server_address[1],
            "extra": extra | {"retry_limit": 0},
        }  # fmt: skip
        mailed = {
            "ATTRIBUTION_EMAIL": "team@bank.example",
            "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(connection),
        }
        airflow.environment |= mailed
        yield box
        for name in mailed:
            del airflow.environment[name]
        box.shutdown()


@pytest.fixture(scope="module")
def dag(airflow: Airflow) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", INSPECT, str(ROOT / "dags")],
        env=airflow.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_parses_without_errors_and_without_the_line(dag: dict) -> None:
    assert dag["errors"] == {}
    assert dag["dags"] == ["attribution_nightly"]
    assert dag["heavy"] == []


def test_is_one_straight_line(dag: dict) -> None:
    assert list(dag["tasks"]) == LINE
    for task, following in zip(LINE, [*LINE[1:], None], strict=True):
        downstream = dag["tasks"][task]["downstream"]
        if task == "load":  # it also hands the run's name to each of them
            assert downstream == sorted(LINE[1:])
        else:
            assert downstream == ([following] if following else [])


def test_policy_of_every_task(dag: dict) -> None:
    for name, task in dag["tasks"].items():
        assert (task["pool"], task["slots"]) == ("attribution", 1), name
        assert task["callbacks"] >= 1, name
        assert 0 < task["timeout"] <= 4 * 3600, name
        assert task["retries"] == 2, name  # what cannot pass by itself fails without one
        assert task["outlets"] == (["attribution_published"] if name == "publish" else []), name


def test_policy_of_the_dag(dag: dict) -> None:
    assert (dag["catchup"], dag["active"]) == (False, 1)
    assert dag["params"] == ["date", "settings"]
    assert dag["doc"].strip().startswith("# attribution_nightly")
    assert dag["tags"] == ["attribution"]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"date": "2026-02-30", "settings": {}}, "there is no date 2026-02-30"),
        ({"date": "", "settings": {"lookback_days": "x"}}, "lookback_days"),
    ],
)
def test_what_is_wrong_before_the_first_step_fails_at_once_and_is_told(
    airflow: Airflow, params: dict, said: str
) -> None:
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import attribution_nightly as dag; "
        "dag.get_current_context = lambda: {'params': json.loads(sys.argv[2])}; dag.take('load')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "dags"), json.dumps(params)],
        env=airflow.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(rf"AirflowFailException: .*{said}", done.stderr), done.stderr
    last = json.loads((airflow.home.path / "state" / "runs.json").read_text())[-1]
    assert (last["outcome"], last["ended_in"]) == ("failed", "start")
    assert said in last["message"]


def test_airflow_runs_the_line_and_refuses_a_broken_export(
    airflow: Airflow, mailbox: Mailbox
) -> None:
    home = airflow.home
    conf = json.dumps({"date": "2026-01-04", "settings": {"lookback_days": 10}})
    done = airflow("dags", "test", "attribution_nightly", "--conf", conf)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    [(extra,)] = airflow.rows("select extra from asset_event")
    run_id = home.manifest()["run_id"]
    assert json.loads(extra)["run_id"] == run_id
    assert Path(json.loads(extra)["folder"]).name == run_id
    assert home.manifest()["run_date"] == "2026-01-04"
    assert home.manifest()["settings"]["lookback_days"] == 10
    assert airflow.rows("select state from dag_run") == [("success",)]
    [mail] = mailbox.messages
    assert (mail["To"], mail["Subject"]) == ("team@bank.example", "attribution: published")
    assert run_id in mail.get_body().get_content()
    hashes, before = home.hashes(), home.current.readlink()

    # the command line on the same folders says the same
    home.must("run", "--date", "2026-01-04", "--set", "lookback_days=10")
    assert home.hashes() == hashes
    assert home.current.readlink() != before
    before = home.current.readlink()

    # without params: the newest day, the settings as declared
    home.land("touchpoints", "broken.csv", "touchpoint_id,customer_id\nt,k\n")
    done = airflow("dags", "test", "attribution_nightly")
    assert done.returncode != 0
    assert "touchpoints/broken.csv (quarantined)" in done.stdout + done.stderr
    states = dict(
        airflow.rows(
            "select task_id, state from task_instance where run_id = "
            "(select run_id from dag_run where state = 'failed')"
        )
    )
    [_, mail] = mailbox.messages
    assert mail["Subject"] == "attribution: check_exports failed, nothing was published"
    assert "touchpoints/broken.csv (quarantined)" in mail.get_body().get_content()
    assert states["load"] == "success"
    assert states["check_exports"] == "failed"  # not up_for_retry
    assert states["publish"] == "upstream_failed"
    assert home.current.readlink() == before
    assert airflow.rows("select count(*) from asset_event") == [(1,)]
    (home.path / "landing" / "touchpoints" / "broken.csv").unlink()

    # while someone works at the command line
    with (home.path / "state" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(json.dumps({"pid": 4711, "host": "night", "since": "2026-01-01T04:00:00"}))
        held.flush()
        done = airflow("tasks", "test", "attribution_nightly", "load")
    assert "is held by pid 4711 on night since 2026-01-01T04:00:00" in done.stdout + done.stderr
    assert "new_state=up_for_retry" in done.stdout + done.stderr  # and not failed: it will pass
    shutil.rmtree(airflow.path / "logs", ignore_errors=True)

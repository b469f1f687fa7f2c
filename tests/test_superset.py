"""Apache Superset itself on the published file: a dataset and its chart, while versions come.

It has an environment of its own, which `make bi-test` makes.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Home
from versions import NUMBERS, publish_numbered

from attribution.settings import Folders

SUPERSET = os.environ.get("ATTRIBUTION_SUPERSET")
PUBLISHES = 20
pytestmark = pytest.mark.skipif(
    not SUPERSET, reason="Superset has an environment of its own: make bi-test"
)
CONFIG = """
SECRET_KEY = {secret!r}
SQLALCHEMY_DATABASE_URI = "sqlite:///{home}/superset.db"
WTF_CSRF_ENABLED = False  # this client is no browser
TALISMAN_ENABLED = False
"""


@dataclass
class Superset:
    """A server of our own, spoken to by its REST API."""

    url: str
    token: str = ""

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()[:2000]}") from None

    def create(self, kind: str, **body: Any) -> int:
        return self.call("POST", f"{kind}/", body)["id"]

    def chart(self, dataset: int, columns: list[Any], metrics: list[Any]) -> list[dict[str, Any]]:
        """The rows of a chart, asked for as Superset's own pages do, past every cache."""
        body = {
            "datasource": {"id": dataset, "type": "table"},
            "queries": [{"columns": columns, "metrics": metrics, "row_limit": 1000}],
            "result_format": "json",
            "result_type": "full",
            "force": True,
        }
        return self.call("POST", "chart/data", body)["result"][0]["data"]


@pytest.fixture(scope="module")
def superset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Superset]:
    home = tmp_path_factory.mktemp("superset")
    config, password = home / "superset_config.py", secrets.token_hex(16)
    config.write_text(CONFIG.format(secret=secrets.token_hex(32), home=home))
    environment = os.environ | {
        "SUPERSET_CONFIG_PATH": str(config),
        "SUPERSET_HOME": str(home),
        "FLASK_APP": "superset",
    }
    admin = ("--username", "admin", "--firstname", "a", "--lastname", "b", "--email", "a@b.example")
    for command in (
        ("db", "upgrade"),
        ("fab", "create-admin", *admin, "--password", password),
        ("init",),
    ):
        done = subprocess.run(
            [SUPERSET, *command], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = (home / "server.log").open("w")
    command = [SUPERSET, "run", "--host", "127.0.0.1", "--port", str(port), "--with-threads"]
    with subprocess.Popen(command, env=environment, stdout=log, stderr=log) as server:
        try:
            found = Superset(f"http://127.0.0.1:{port}")
            _wait_for(found, server, home / "server.log")
            login = {"username": "admin", "password": password, "provider": "db"}
            found.token = found.call("POST", "security/login", login)["access_token"]
            yield found
        finally:
            server.terminate()


def _wait_for(superset: Superset, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(f"{superset.url}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-3000:])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    home = tmp_path_factory.mktemp("home")
    folders = Folders.from_environment({"ATTRIBUTION_HOME": str(home)})
    folders.publish.mkdir(parents=True)
    return folders


@pytest.fixture(scope="module")
def database(superset: Superset, bank: Home, folders: Folders) -> int:
    """As docs/bi.md says."""
    publish_numbered(bank, folders, 0)
    return superset.create(
        "database",
        database_name="attribution",
        sqlalchemy_uri=f"duckdb:///{folders.publish}/current/attribution.duckdb",
        extra=json.dumps({"engine_params": {"connect_args": {"read_only": True}}}),
    )


def total(column: str) -> dict[str, Any]:
    return {"expressionType": "SQL", "sqlExpression": f"sum({column})", "label": column}


def test_a_chart_says_what_the_table_says(superset: Superset, bank: Home, database: int) -> None:
    dataset = superset.create(
        "dataset", database=database, schema="main", table_name="channel_performance"
    )
    rows = superset.chart(dataset, ["model"], [total("conversions"), total("revenue")])
    expected = bank.published(
        "select model, sum(conversions)::double, sum(revenue)::double "
        "from channel_performance group by model"
    )
    assert {(row["model"], float(row["conversions"]), float(row["revenue"])) for row in rows} == {
        *expected
    }


def test_charts_never_fail_and_never_mix_versions(
    superset: Superset, bank: Home, folders: Folders, database: int
) -> None:
    """Two readers ask without pause while 20 versions are published."""
    dataset = superset.create(
        "dataset", database=database, schema="main", table_name="numbers", sql=NUMBERS
    )
    columns = ["first", "last", "lowest", "highest"]
    published, answers, failures = threading.Event(), [], []

    def ask() -> None:
        try:
            while not published.is_set():
                [row] = superset.chart(dataset, columns, [])
                answers.append([float(row[name]) for name in columns])
        except AssertionError as error:
            failures.append(error)

    readers = [threading.Thread(target=ask) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, PUBLISHES + 1):
        before = len(answers)
        publish_numbered(bank, folders, number)
        while len(answers) < before + 2 and not failures:  # at least an answer of each
            time.sleep(0.05)
    published.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert [row for row in answers if len(set(row)) != 1] == []
    assert len({row[0] for row in answers}) > PUBLISHES / 2
    [row] = superset.chart(dataset, columns, [])
    assert float(row["first"]) == PUBLISHES
    print(f"{len(answers)} charts during {PUBLISHES} publications, each of one version")


def test_superset_may_not_write(superset: Superset, database: int) -> None:
    with pytest.raises(AssertionError, match=r"DML|read-only|not permitted|CTAS|allow"):
        superset.call(
            "POST", "sqllab/execute/",
            {"database_id": database, "sql": "delete from channel_performance", "runAsync": False},
        )  # fmt: skip

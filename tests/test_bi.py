"""How BI tools read what is published: by SQLAlchemy and from Parquet, while it is published."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, Home
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from versions import NUMBERS, publish_numbered

from attribution.publish import MARTS
from attribution.settings import Folders

PUBLISHES = 20
READERS = {
    # as docs/bi.md says
    "sqlalchemy": """
        from sqlalchemy import create_engine, text
        from sqlalchemy.pool import NullPool
        engine = create_engine(
            "duckdb:///" + current + "/attribution.duckdb",
            connect_args={"read_only": True}, poolclass=NullPool,
        )
        def read():
            with engine.connect() as con:
                return con.execute(text(NUMBERS)).one()
    """,
    "parquet": """
        import os
        import pandas as pd
        def read():
            version = os.path.realpath(current)
            def numbers(table, column):
                return pd.read_parquet(f"{version}/parquet/{table}.parquet")[column]
            run = numbers("run_manifest", "run_id")
            cost = numbers("channel_performance", "cost")
            return run.min(), run.max(), cost.min(), numbers("channel_credit_daily", "cost").max()
    """,
}
LOOP = """
import json, sys, threading
current, NUMBERS = sys.argv[1:]
{reader}
stop, answers = threading.Event(), []
threading.Thread(target=lambda: (sys.stdin.read(), stop.set())).start()
answers.append(read())
print("ready", flush=True)
while not stop.is_set():
    answers.append(read())
answers.append(read())
print(json.dumps([[float(value) for value in answer] for answer in answers]))
"""


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders.from_environment({"ATTRIBUTION_HOME": str(tmp_path)})
    folders.publish.mkdir(parents=True)
    return folders


@pytest.fixture
def url(bank: Home) -> str:
    return f"duckdb:///{bank.current}/attribution.duckdb"


@contextmanager
def reading(kind: str, current: Path) -> Iterator[subprocess.Popen[str]]:
    code = LOOP.format(reader=textwrap.dedent(READERS[kind]))
    with subprocess.Popen(
        [sys.executable, "-c", code, str(current), NUMBERS],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield process


@pytest.mark.parametrize("kind", READERS)
def test_readers_never_fail_and_never_mix_versions(bank: Home, folders: Folders, kind: str) -> None:
    """It reads without pause while 20 versions are published, and each answer is of one of them."""
    publish_numbered(bank, folders, 0)
    with reading(kind, folders.publish / "current") as reader:
        assert None not in (reader.stdin, reader.stdout, reader.stderr)
        assert reader.stdout.readline() == "ready\n", reader.stderr.read()
        for number in range(1, PUBLISHES + 1):
            publish_numbered(bank, folders, number)
        answers, errors = reader.communicate()
    assert (reader.returncode, errors) == (0, "")
    rows = json.loads(answers)
    assert [row for row in rows if len(set(row)) != 1] == []
    numbers = [row[0] for row in rows]
    assert numbers == sorted(numbers)
    assert (numbers[0], numbers[-1]) == (0, PUBLISHES)
    assert len(set(numbers)) > PUBLISHES / 2  # it did see versions come


def test_a_connection_that_stays_open_keeps_its_version(bank: Home, folders: Folders) -> None:
    """As docs/bi.md says of pools: they must be without one, or be emptied."""
    publish_numbered(bank, folders, 1)
    url = f"duckdb:///{folders.publish}/current/attribution.duckdb"
    pooled = create_engine(url, connect_args={"read_only": True})
    fresh = create_engine(url, connect_args={"read_only": True}, poolclass=NullPool)

    def number(engine) -> str:
        with engine.connect() as con:
            return con.execute(text("select max(run_id) from run_manifest")).scalar_one()

    assert (number(pooled), number(fresh)) == ("1", "1")
    for later in range(2, 11):  # the version that it holds is long gone from the disk
        publish_numbered(bank, folders, later)
    assert len(list((folders.publish / "versions").iterdir())) == 7
    assert (number(pooled), number(fresh)) == ("1", "10")
    pooled.dispose()
    assert number(pooled) == "10"


def test_sqlalchemy_sees_tables_and_types_and_may_not_write(url: str) -> None:
    engine = create_engine(url, connect_args={"read_only": True}, poolclass=NullPool)
    assert set(inspect(engine).get_table_names()) == {*MARTS, "run_manifest"}
    types = {c["name"]: str(c["type"]) for c in inspect(engine).get_columns("channel_performance")}
    assert types["channel"] == "VARCHAR"
    assert types["conversions"].startswith(("NUMERIC", "DECIMAL"))
    frame = pd.read_sql("select * from channel_performance", engine)
    assert frame["cost_per_conversion"].dtype == "float64"
    with engine.connect() as con, pytest.raises(DBAPIError, match="read-only"):
        con.execute(text("delete from channel_performance"))


def test_parquet_says_what_the_database_says(bank: Home) -> None:
    tables = [*MARTS, "run_manifest"]
    for table in tables:
        frame = pd.read_parquet(bank.current / "parquet" / f"{table}.parquet")
        [(count,)] = bank.published(f"select count(*) from {table}")
        assert len(frame) == count
        names = [row[0] for row in bank.published(f"describe {table}")]
        assert list(frame.columns) == names


def test_the_document_names_every_tool_and_only_what_is_there() -> None:
    text = (ROOT / "docs" / "bi.md").read_text()
    for tool in ("Superset", "Metabase", "Tableau", "Power BI", "Excel", "Evidence", "Parquet"):
        assert f"## {tool}" in text

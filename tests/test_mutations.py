"""Files cut short and files with a flipped bit: what a sum can show is never loaded in silence."""

import gzip
import hashlib
import io
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from faults import say, times

from attribution.archive import rows_file
from attribution.contract import read_contract
from attribution.convert import Job, convert
from attribution.errors import Unreadable
from attribution.landing import Landed, check_sidecar
from attribution.pseudonyms import People
from attribution.settings import Folders, load_settings
from attribution.warehouse import open_reader

SETTINGS = load_settings(ROOT / "dbt_project")
EXPORT = read_contract(ROOT / "dbt_project/models/staging/_exports.yml")["touchpoints"]
EXPORT = replace(EXPORT, max_gigabytes=0.01)  # a flipped length must not fill this machine
ROWS = 200
TABLE = pa.table(
    {
        "touchpoint_id": [f"t{n}" for n in range(ROWS)],
        "customer_id": [f"k{n % 17}" for n in range(ROWS)],
        "occurred_at": [f"2026-01-{n % 28 + 1:02d} 10:00:00" for n in range(ROWS)],
        "channel": [("search", "branch", "e-mail")[n % 3] for n in range(ROWS)],
        "cost": [f"{n / 7:.2f}" for n in range(ROWS)],
    }
)


def csv_bytes() -> bytes:
    rows = [",".join(TABLE.column_names)]
    rows += [",".join(row.values()) for row in TABLE.to_pylist()]
    return ("\n".join(rows) + "\n").encode()


def json_bytes() -> bytes:
    import json

    return "".join(json.dumps(row) + "\n" for row in TABLE.to_pylist()).encode()


def parquet_bytes(**options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(TABLE, sink, **options)
    return sink.getvalue()


FORMATS: dict[str, Callable[[], bytes]] = {
    "a.csv": csv_bytes,
    "a.csv.gz": lambda: gzip.compress(csv_bytes(), mtime=0),
    "a.jsonl": json_bytes,
    "a.jsonl.gz": lambda: gzip.compress(json_bytes(), mtime=0),
    "a.parquet": parquet_bytes,
    "a.zstd.parquet": lambda: parquet_bytes(compression="zstd"),
    "a.summed.parquet": lambda: parquet_bytes(write_page_checksum=True),
}
SHOWN_BY_A_SUM = {"a.csv.gz", "a.jsonl.gz", "a.summed.parquet"}


def mutations(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """By turns a file cut short and a file with one flipped bit."""
    draw = random.Random(seed)  # noqa: S311
    for number in range(count):
        at = draw.randrange(len(content))
        if number % 2:
            yield content[:at]
        else:
            flipped = content[at] ^ (1 << draw.randrange(8))
            yield content[:at] + bytes([flipped]) + content[at + 1 :]


class Reader:
    """Reads bytes as the load does; the rows are text, or None where the file is refused."""

    def __init__(self, folders: Folders, con: duckdb.DuckDBPyConnection) -> None:
        self.folders, self.con = folders, con

    def read(self, name: str, content: bytes, sidecar: bytes | None = None) -> set | None:
        path = self.folders.landing / name
        path.write_bytes(content)
        landed = Landed(EXPORT, path, hashlib.sha256(content).hexdigest())
        try:
            if sidecar is not None:
                path.with_name(name + ".sha256").write_bytes(sidecar)
                check_sidecar(landed)
            outcome = convert(
                self.con, EXPORT, Job("touchpoints", path, landed.sha256), self.folders, People()
            )
        except Unreadable:
            return None
        if outcome.state == "quarantined":
            return None
        assert outcome.rows_read == outcome.rows_loaded + outcome.rows_rejected
        rows = self.con.execute(
            "select columns(* exclude (_row, _clock_change))::varchar from read_parquet(?)",
            [str(rows_file(self.folders, "touchpoints", landed.sha256))],
        ).fetchall()
        self.was_silent = outcome.rows_rejected == 0 and outcome.extra_columns is None
        return set(rows)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    folders = Folders.from_environment({"ATTRIBUTION_HOME": str(tmp_path)})
    for folder in (folders.landing, folders.scratch):
        folder.mkdir(parents=True)
    with open_reader(folders, SETTINGS) as con:
        yield Reader(folders, con)
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("name", FORMATS)
def test_damage_that_a_sum_shows_is_never_silent(reader: Reader, name: str) -> None:
    content = FORMATS[name]()
    whole = reader.read(name, content)
    assert whole is not None
    assert len(whole) == ROWS
    refused = silent = same = 0
    count = times(60, 600)
    for damaged in mutations(content, count, seed=11):
        rows = reader.read(name, damaged)
        if rows is None:
            refused += 1
        elif rows == whole:
            same += 1
        elif reader.was_silent:
            silent += 1
    if name in SHOWN_BY_A_SUM:
        assert silent == 0
    assert refused
    say(
        f"{name}: of {count} mutations {refused} refused, {same} read as before, "
        f"{silent} silently wrong, {count - refused - same - silent} with rejected rows or columns"
    )


@pytest.mark.parametrize("name", FORMATS)
def test_with_a_sidecar_no_damage_is_loaded(reader: Reader, name: str) -> None:
    content = FORMATS[name]()
    sidecar = f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode()
    assert reader.read(name, content, sidecar) is not None
    for damaged in mutations(content, times(60, 600), seed=12):
        assert damaged == content or reader.read(name, damaged, sidecar) is None

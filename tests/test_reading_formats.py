"""Exports as they really come: every reading key of the contract, and nothing by guess."""

import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, Home
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_exports import GOOD, HEAD, SETTINGS, Loader

from attribution.conform import _trimmed
from attribution.convert import Job
from attribution.errors import SettingsError
from attribution.parsing import changes
from attribution.pseudonyms import People
from attribution.reading import ReadingProcess
from attribution.settings import Folders
from attribution.warehouse import open_warehouse


@pytest.fixture
def loader(tmp_path: Path) -> Iterator[Loader]:
    folders = Folders.from_environment({"ATTRIBUTION_HOME": str(tmp_path)})
    folders.landing.mkdir()
    folders.scratch.mkdir(parents=True)
    with open_warehouse(folders, SETTINGS) as con:
        yield Loader(folders, con)


def forget(loader: Loader) -> None:
    shutil.rmtree(loader.folders.archive, ignore_errors=True)
    loader.con.execute("delete from raw._files")
    loader.con.execute("drop table if exists raw.conversions")


def revenue_of(loader: Loader, text: str, **contract: object) -> Decimal | None:
    """What a revenue is read as; None where the row is rejected."""
    forget(loader)
    quoted = text.replace('"', '""')
    loader.land("r.csv", HEAD + f'c,k,2026-01-02,,"{quoted}"\n')
    loader.load(**contract)
    found = loader.conversions()
    return found[0][4] if found else None


@pytest.mark.parametrize(
    ("text", "contract", "value"),
    [
        ("1234.50", {}, "1234.5"),
        ("1.234,50", {}, None),
        ("1,234.50", {}, None),
        ("5,00-", {"decimal": ","}, None),
        ("5,00-", {"decimal": ",", "trailing_minus": True}, "-5"),
        ("-5,00", {"decimal": ",", "trailing_minus": True}, "-5"),
        ("-5,00-", {"decimal": ",", "trailing_minus": True}, None),
        ("1.234,50", {"decimal": ","}, None),
        ("1.234,50", {"decimal": ",", "thousands": "."}, "1234.5"),
        ("1.234.567", {"decimal": ",", "thousands": "."}, "1234567"),
        ("1.23,50", {"decimal": ",", "thousands": "."}, None),
        ("1.2345", {"decimal": ",", "thousands": "."}, None),
        ("1234,5", {"decimal": ",", "thousands": "."}, "1234.5"),
        ("1'234.50", {"thousands": "'"}, "1234.5"),
        ("1’234.50", {"thousands": "’"}, "1234.5"),
        ("1\u00a0234,50", {"decimal": ",", "thousands": "\u00a0"}, "1234.5"),
        ("1'234.50", {}, None),
        ("1e3", {}, "1000"),
        ("1_000", {}, None),
        ("+7", {}, "7"),
        (".5", {}, "0.5"),
        ("NaN", {}, None),
        ("inf", {}, None),
        ("99999999999999999999", {}, None),
        ("12.34567", {}, "12.3457"),
    ],
)
def test_numbers_only_as_declared(
    loader: Loader, text: str, contract: dict, value: str | None
) -> None:
    assert revenue_of(loader, text, **contract) == (None if value is None else Decimal(value))


def time_of(loader: Loader, text: str, **contract: object) -> datetime | None:
    forget(loader)
    loader.land("t.csv", HEAD + f"c,k,{text},,1\n")
    loader.load(**contract)
    found = loader.conversions()
    return found[0][2] if found else None


@pytest.mark.parametrize(
    ("text", "contract", "expected"),
    [
        ("02.01.2026 03:04", {"time_format": "%d.%m.%Y %H:%M"}, datetime(2026, 1, 2, 3, 4)),
        ("2026-01-02 03:04", {"time_format": "%d.%m.%Y %H:%M"}, None),
        ("02.01.2026 03:04", {}, None),
        (
            "20260102T030405+0100",
            {"time_format": "%Y%m%dT%H%M%S%z", "time_zone": "Europe/Berlin"},
            datetime(2026, 1, 2, 2, 4, 5),
        ),
        (
            "01/02/2026 03:04",
            {"time_format": "%m/%d/%Y %H:%M", "time_zone": "Europe/Berlin"},
            datetime(2026, 1, 2, 2, 4),
        ),
        ("1767323045", {"time_format": "epoch_seconds"}, datetime(2026, 1, 2, 3, 4, 5)),
        ("1767323045.25", {"time_format": "epoch_seconds"}, datetime(2026, 1, 2, 3, 4, 5, 250000)),
        ("1767323045000", {"time_format": "epoch_milliseconds"}, datetime(2026, 1, 2, 3, 4, 5)),
        ("1767323045000000", {"time_format": "epoch_microseconds"}, datetime(2026, 1, 2, 3, 4, 5)),
        ("1767323045000", {"time_format": "epoch_seconds"}, None),  # the year 57974
        # most times are written so: read by a shorter way, and no less strictly
        ("2026-07-02T03:04:05Z", {"time_zone": "Europe/Berlin"}, datetime(2026, 7, 2, 3, 4, 5)),
        ("2026-02-30T03:04:05Z", {}, None),
        ("2026-07-02T24:04:05Z", {}, None),
        ("2026-07-02T0a:04:05Z", {}, None),
        ("2026-07-02T03:04:+5Z", {}, None),
        ("2026-07-02T03:04:5.Z", {}, None),
        ("1899-07-02T03:04:05Z", {}, None),
    ],
)
def test_times_only_as_declared(
    loader: Loader, text: str, contract: dict, expected: datetime | None
) -> None:
    assert time_of(loader, text, **contract) == expected


@given(text=st.text("a\u00e4 \t\u00a0\u3000\u200b"))
def test_texts_are_trimmed_as_the_engine_trims_them(text: str) -> None:
    trimmed = _trimmed("$t::varchar")
    assert (
        duckdb.execute(f"select {trimmed}, trim($t::varchar)", {"t": text}).fetchone()
        == (text.strip(" \u00a0\u3000"),) * 2
    )


def test_dates_only_as_declared(loader: Loader) -> None:
    spend = CONTRACT_OF(loader, "spend", date_format="%d.%m.%Y")
    loader.contract = {"spend": spend}
    loader.land("s.csv", "date,channel,cost\n03.02.2026,tv,1\n2026-02-03,tv,1\n", "spend")
    counts = loader.load()
    assert (counts["rows_loaded"], counts["rows_rejected"]) == (1, 1)
    assert loader.rows("select date from raw.spend") == [(date(2026, 2, 3),)]


def CONTRACT_OF(loader: Loader, export: str, **changes: object):
    from dataclasses import replace

    from test_exports import CONTRACT

    return replace(CONTRACT[export], **changes)


ZONES = ("Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata")
around_a_change = st.sampled_from(ZONES).flatmap(
    lambda zone: st.tuples(
        st.just(zone),
        st.one_of(
            st.sampled_from(
                [day for day in changes(zone) if 2000 < day.year < 2030] or [date(2026, 3, 29)]
            ).flatmap(
                lambda day: st.integers(0, 24 * 60 - 1).map(
                    lambda minute: (
                        datetime.combine(day, datetime.min.time()) + timedelta(minutes=minute)
                    )
                )
            ),
            st.datetimes(datetime(2001, 1, 1), datetime(2029, 1, 1)).map(
                lambda moment: moment.replace(microsecond=0)
            ),
        ),
    )
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    drawn=around_a_change,
    overlap=st.sampled_from(["earlier", "later", "reject"]),
    gap=st.sampled_from(["shift", "reject"]),
)
def test_clock_changes_as_pythons_zoneinfo_knows_them(
    loader: Loader, drawn: tuple[str, datetime], overlap: str, gap: str
) -> None:
    zone, wall = drawn
    place = ZoneInfo(zone)
    earlier, later = (wall.replace(tzinfo=place, fold=fold).astimezone(UTC) for fold in (0, 1))
    there = earlier.astimezone(place).replace(tzinfo=None) == wall
    is_gap, is_overlap = not there, there and earlier != later
    # in a gap the engine goes on with the clock as it was before
    expected = later if is_overlap and overlap == "later" else earlier
    rejected = (is_gap and gap == "reject") or (is_overlap and overlap == "reject")
    found = time_of(loader, wall.isoformat(), time_zone=zone, dst_overlap=overlap, dst_gap=gap)
    assert found == (None if rejected else expected.replace(tzinfo=None))
    [(overlaps, gaps)] = loader.rows(
        "select rows_dst_overlap, rows_dst_gap from raw._files order by loaded_at desc limit 1"
    )
    assert (overlaps, gaps) == (is_overlap and not rejected, is_gap and not rejected)


def test_an_offset_is_stronger_than_the_declared_zone(loader: Loader) -> None:
    text = "2026-10-25T02:30:00+02:00"
    assert time_of(loader, text, time_zone="Europe/Berlin") == datetime(2026, 10, 25, 0, 30)
    assert loader.rows("select max(rows_dst_overlap) from raw._files") == [(0,)]


@pytest.mark.parametrize(
    "id",
    ["null", "NULL", "None", "nan", "(not set)", "undefined", "0", "000", "0.0", "n/a", "#N/A",
     "-1", "\\N", "(none)", "\u200bNA", "null\ufeff\u2060", "\u00a0-", "0\u200b0",
     "00000000-0000-0000-0000-000000000000", "1.23457E+12"],
)  # fmt: skip
def test_placeholders_never_become_one_giant_customer(loader: Loader, id: str) -> None:
    loader.land("a.csv", HEAD + f"c1,{id},2026-01-02,,1\nc2,k2,2026-01-02,,1\n")
    counts = loader.load()
    assert (counts["rows_loaded"], counts["rows_rejected"]) == (1, 1)
    [reject] = loader.rejects()
    assert reject["reason"] == "customer_id is no id: a placeholder, or a number without its digits"


def test_blanks_that_do_not_show_make_no_second_customer(loader: Loader) -> None:
    same = ["k1", "\u200bk1", "k1\ufeff", "\t\u2060 k1\u00a0", "  k1  ", "\u3000k1\u3000"]
    ids = [*same, "k\u200b1", "\u200b\ufeff\u2060"]
    loader.land("a.csv", HEAD + "".join(f"c{n},{i},2026-01-02,,\n" for n, i in enumerate(ids)))
    loader.load()
    assert [row[1] for row in loader.conversions()] == ["k1"] * 6 + ["k\u200b1"]
    assert [reject["reason"] for reject in loader.rejects()] == ["customer_id is empty"]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.decimal128(28, 10)])
def test_ids_that_a_data_frame_made_fractions_of_are_those_of_other_exports(
    loader: Loader, kind: pa.DataType
) -> None:
    """Where one is missing, or a table has no whole numbers, 123 is written as 123.0."""
    ids = [Decimal(123), Decimal("0.5"), None, Decimal(8_388_607)]
    table = pa.table(
        {
            "conversion_id": ["c1", "c2", "c3", "c4"],
            "customer_id": pa.array(
                [None if i is None else i if pa.types.is_decimal(kind) else float(i) for i in ids],
                kind,
            ),
            "converted_at": ["2026-01-02"] * 4,
        }
    )
    pq.write_table(table, loader.land("a.parquet", b""))
    loader.load()
    loaded = {row[0]: row[1] for row in loader.conversions()}
    assert loaded["c1"] == "123"
    assert loaded["c4"] == "8388607"
    assert "c3" not in loaded
    assert loaded["c2"].rstrip("0") == "0.5"


def test_ids_beyond_what_a_float_holds_are_no_ids(loader: Loader) -> None:
    ids = [1e16, 2.0**53 - 1, float("nan"), float("inf")]
    table = pa.table(
        {"conversion_id": list("abcd"), "customer_id": ids, "converted_at": ["2026-01-02"] * 4}
    )
    pq.write_table(table, loader.land("a.parquet", b""))
    counts = loader.load()
    assert [row[1] for row in loader.conversions()] == [str(2**53 - 1)]
    assert counts["rows_rejected"] == 3


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_an_offset_that_is_not_understood_is_not_dropped(loader: Loader, zone: str) -> None:
    """The engine would take the time and leave the offset away."""
    known = {
        "2026-06-01T10:00:00+02:00:00": datetime(2026, 6, 1, 8),
        "2026-06-01 10:00:00 utc": datetime(2026, 6, 1, 10),
        "2026-06-01T10:00:00.5-0330": datetime(2026, 6, 1, 13, 30, 0, 500_000),
        "2026-06-01T10:00Z": datetime(2026, 6, 1, 10),
        "2026-06-01 10:00+01:00": datetime(2026, 6, 1, 9),
        "2026-06-01T10:00-0330": datetime(2026, 6, 1, 13, 30),
        "2026-06-01 10:00 UTC": datetime(2026, 6, 1, 10),
    }
    ends = ("+2", "-5", " CET", " GMT", " UTC+2", " Europe/Berlin", "+02:00:00 utc", " a", "−05:00",
            "+99:00", "-15:00")  # fmt: skip
    times = [*known, *(f"2026-06-01 10:00:00{end}" for end in ends), "epoch", "2026-06-01+02"]
    rows = [f"c{n:02d},k,{time},,\n" for n, time in enumerate(times)]
    loader.land("a.csv", HEAD + "".join(rows))
    loader.load(time_zone=zone)
    assert [row[2] for row in loader.conversions()] == list(known.values())
    assert len(loader.rejects()) == len(times) - len(known)


@pytest.mark.parametrize("bad", [False, True], ids=["clean", "careful"])
@pytest.mark.parametrize("kind", [pa.string(), pa.binary()], ids=str)
def test_times_as_text_in_parquet_are_read_like_those_of_csv(
    loader: Loader, kind: pa.DataType, bad: bool
) -> None:
    times = ["2026-01-02 10:00", "2026-01-02T12:00:00+02:00", "2026-01-02 23:00:00"]
    if bad:
        times.insert(1, "2026-01-02 10:00 America/New_York")
    table = pa.table(
        {
            "conversion_id": [f"c{n}" for n in range(len(times))],
            "customer_id": ["k"] * len(times),
            "converted_at": pa.array([time.encode() for time in times], pa.binary()).cast(kind),
        }
    )
    pq.write_table(table, loader.land("a.parquet", b""))
    assert loader.load()["rows_rejected"] == bad
    assert [row[2].hour for row in loader.conversions()] == [10, 10, 23]


def test_a_named_zone_is_rejected_and_moves_no_other_row(loader: Loader) -> None:
    times = ["10:00", "10:00:00 America/New_York", "12:00", "23:00:00", "23:00:00+02", "13:00:00Z"]
    rows = [f"c{n},k{n},2026-01-02 {time},,1\n" for n, time in enumerate(times)]
    loader.land("named.csv", HEAD + "".join(rows))
    loader.land("clean.csv", HEAD + "".join(rows[:1] + rows[2:]).replace("c", "d"))
    loader.land("j.jsonl", "".join(
        f'{{"conversion_id": "e{n}", "customer_id": "k", "converted_at": "2026-01-02 {t}"}}\n'
        for n, t in enumerate(times)
    ))  # fmt: skip
    counts = loader.load()
    assert (counts["rows_loaded"], counts["rows_rejected"]) == (15, 2)
    assert {row[0]: row[2].hour for row in loader.conversions()} == {
        f"{kind}{n}": hour
        for kind in "cde"
        for n, hour in ((0, 10), (2, 12), (3, 23), (4, 21), (5, 13))
    }


def test_a_name_that_is_a_pattern_is_that_file_and_no_other(loader: Loader) -> None:
    names = ["a1.csv", "a[1].csv", "b2.csv", "b*.csv", "c3.parquet", "c?.parquet", "d[4].csv.gz",
             "e[5].json"]  # fmt: skip
    for name in names:
        row = {"conversion_id": name, "customer_id": "k", "converted_at": "2026-01-02"}
        if name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist([row]), loader.land(name, b""))
        elif name.endswith(".json"):
            loader.land(name, json.dumps([row]))
        else:
            text = f"conversion_id,customer_id,converted_at\n{name},k,2026-01-02\n".encode()
            loader.land(name, gzip.compress(text) if name.endswith(".gz") else text)
    assert loader.load()["rows_loaded"] == len(names)
    assert [row[0] for row in loader.conversions()] == sorted(names)


def test_folders_above_are_no_columns_and_no_patterns(tmp_path: Path) -> None:
    folders = Folders.from_environment({"ATTRIBUTION_HOME": str(tmp_path / "goal=x" / "day=2026")})
    folders.landing.mkdir(parents=True)
    folders.scratch.mkdir(parents=True)
    with open_warehouse(folders, SETTINGS) as con:
        loader = Loader(folders, con)
        loader.land("a.csv", HEAD + "c1,k1,2026-01-02,g,1\n")
        row = {"conversion_id": "c2", "customer_id": "k", "converted_at": "2026-01-02", "goal": "g"}
        pq.write_table(pa.Table.from_pylist([row]), loader.land("b.parquet", b""))
        loader.load()
        assert [row[3] for row in loader.conversions()] == ["g", "g"]
    with pytest.raises(SettingsError, match=r"ATTRIBUTION_LANDING: .* makes it a pattern"):
        Folders.from_environment({"ATTRIBUTION_HOME": str(tmp_path / "a[1]")})


def test_a_file_without_a_header_tells_no_id(loader: Loader) -> None:
    loader.land("i.csv", "CANARY,CANARY,2026-01-05\nv2,k2,2026-01-05\n", "identities")
    loader.land("j.csv", "CANARY,k,2026-01-05\nv2,k2,2026-01-05\n", "identities")
    assert loader.load()["files_quarantined"] == 2
    said = loader.rows("select reason from raw._files order by file")
    assert said[0] == ("columns 1 and 2 of the header have one name",)
    assert "CANARY" not in str(loader.rows("from raw._files"))


def test_a_file_without_a_header_tells_no_id_where_nothing_is_required(loader: Loader) -> None:
    from dataclasses import replace

    base = CONTRACT_OF(loader, "identities")
    columns = tuple(replace(column, required=False) for column in base.columns)
    loader.contract = {"identities": replace(base, columns=columns)}
    loader.land("a.csv", "CANARY,,2026-01-05\nv2,k2,2026-01-05\n", "identities")
    loader.land("b.csv", "CANARY,_row,2026-01-05\nv2,k2,2026-01-05,?\n", "identities")
    loader.land("c.jsonl", '{"CANARY": 1}\n', "identities")
    loader.land("d.csv", "customer_id\nk1\nk2,?\n", "identities")
    loader.load()
    assert loader.states() == [
        *((name, "quarantined", "has no column of the contract") for name in
          ("a.csv", "b.csv", "c.jsonl")),
        ("d.csv", "loaded", None),
    ]  # fmt: skip
    assert loader.rows("select customer_id from raw.identities") == [("k1",)]


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_extra_columns_are_named_where_they_look_like_names(loader: Loader, ending: str) -> None:
    names = ["revenue (net)", "K4711000", "a@b.ch", "Straße", "x" * 41]
    row = {"conversion_id": "c", "customer_id": "k", "converted_at": "2026-01-02"}
    row |= dict.fromkeys(names, "1")
    text = ",".join(row) + ",\n" + ",".join(row.values()) + ",\n"
    loader.land("a" + ending, text if ending == ".csv" else json.dumps(row))
    loader.load()
    unnamed = "column 9, " if ending == ".csv" else ""
    assert loader.rows("select extra_columns from raw._files") == [
        (f"Straße, {unnamed}revenue (net), 3 not named here",)
    ]
    loader.land("b" + ending, (text if ending == ".csv" else json.dumps(row)) + " ")
    loader.load(extra_columns="quarantine")
    assert "4711" not in loader.states()[1][2]


def test_json_keys_of_few_records_are_counted_only(loader: Loader) -> None:
    """A source that makes a key of what should be a value would have it published."""
    rows = [
        {"conversion_id": f"c{n}", "customer_id": "k", "converted_at": "2026-01-02", "campaign": n}
        for n in range(4)
    ]
    rows[0]["Anna Schmidt"] = 1
    rows[1]["half"] = rows[2]["half"] = 1
    loader.land("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    loader.land("b.json", json.dumps(rows))
    loader.load()
    said = loader.rows("select extra_columns from raw._files")
    assert said == [("campaign, half, 1 not named here",)] * 2


def test_a_column_that_went_missing_is_said(loader: Loader) -> None:
    loader.land("v_2026-01-01.csv", HEAD + "c1,k1,2026-01-01,g,1\n")
    loader.land("other.csv", "conversion_id,customer_id,converted_at\nd1,k1,2026-01-01\n")
    loader.load()
    assert loader.warnings == []
    for day in (2, 3):
        text = f"conversion_id,customer_id,converted_at,goal\nc{day},k1,2026-01-02,g\n"
        loader.land(f"v_2026-01-0{day}.csv", text)
        loader.load()
        assert loader.warnings == [
            f"landing/conversions/v_2026-01-0{day}.csv has no column revenue; files of its name "
            "had before"
        ]


def test_names_that_are_no_text_or_long_are_told_and_the_others_loaded(loader: Loader) -> None:
    folder = loader.land("a.csv", GOOD).parent
    Path(os.fsdecode(bytes(folder) + b"/M\xe4rz.csv")).write_text(GOOD)
    Path(os.fsdecode(bytes(folder.parent) + b"/\xfc")).write_text("")
    long = "ü" * 118 + ".csv"
    loader.land(long, HEAD + "c8,k8,2026-01-02,,\nc9,,2026-01-02,,\n")
    assert loader.load()["files_loaded"] == 2
    assert r"landing/conversions/M\xe4rz.csv: its name is not UTF-8: rename it" in loader.warnings
    assert any(said.startswith(r"landing/\xfc lies in no") for said in loader.warnings)
    assert [reject["reason"] for reject in loader.rejects()] == ["customer_id is empty"]


def test_a_file_in_no_folder_is_said(loader: Loader) -> None:
    (loader.folders.landing / "touchpoints_2026-01-08.csv").write_text("x")
    loader.load()
    assert loader.warnings == [
        "landing/touchpoints_2026-01-08.csv lies in no export's folder: move it there"
    ]


def test_a_parquet_of_many_groups_takes_no_more_memory_than_one(tmp_path: Path) -> None:
    """Arrow held on to something of each: a file of 2 GB took four to check."""
    path = tmp_path / "many.parquet"
    duckdb.execute(
        "copy (select md5(i::varchar) as id, i as number from range(1_000_000) as r(i)) "
        f"to '{path}' (format parquet, row_group_size 10_000)"
    )
    code = (
        "import pathlib, sys, types, pyarrow\n"
        "from attribution.unpacking import _check_pages\n"
        "export = types.SimpleNamespace(max_gigabytes=1)\n"
        "_check_pages(export, pathlib.Path(sys.argv[1]), 2**30)\n"
        "print(pyarrow.default_memory_pool().max_memory())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=True)
    assert int(done.stdout) < path.stat().st_size / 5


def test_a_parquet_of_one_long_text_meets_the_cap(loader: Loader) -> None:
    long = pa.array(["x" * 10_000] * 20_000).dictionary_encode()
    table = pa.table({"conversion_id": long, "customer_id": long, "converted_at": long})
    path = loader.land("long.parquet", b"")
    pq.write_table(table, path)
    assert path.stat().st_size < 10_000
    loader.load(max_gigabytes=0.1)
    [(_, state, reason)] = loader.states()
    assert state == "quarantined"
    assert reason.startswith("larger than max_gigabytes")


def test_null_values_are_nothing_by_contract(loader: Loader) -> None:
    text = HEAD + "c1,k1,2026-01-02,(not set),1\nc2,k2,2026-01-02,\\N,1\nc3,k3,2026-01-02,null,1\n"
    loader.land("a.csv", text)
    loader.load(null_values=("(not set)", "\\N"))
    assert [row[3] for row in loader.conversions()] == [None, None, "null"]


def test_headers_are_mapped_to_columns(loader: Loader) -> None:
    from dataclasses import replace

    from test_exports import CONTRACT

    names = {"conversion_id": "Vertrags-Nr.", "customer_id": "Kunde", "converted_at": "Datum"}
    base = CONTRACT["conversions"]
    columns = tuple(replace(c, header=names.get(c.name, c.name)) for c in base.columns)
    loader.contract = {"conversions": replace(base, columns=columns)}
    loader.land("a.csv", "Kunde,Vertrags-Nr.,Datum\nk1,c1,2026-01-02\n")
    loader.land("b.jsonl", json.dumps({"Kunde": "k2", "Vertrags-Nr.": "c2", "Datum": "2026-01-02"}))
    loader.land("c.csv", "customer_id,conversion_id,converted_at\nk1,c1,2026-01-02\n")
    loader.load()
    assert [row[:2] for row in loader.conversions()] == [("c1", "k1"), ("c2", "k2")]
    assert ("c.csv", "quarantined", "required column Vertrags-Nr., Kunde, Datum is missing") in (
        loader.states()
    )


def test_a_separator_line_is_read_and_must_not_contradict(loader: Loader) -> None:
    good = GOOD.replace(",", ";")
    loader.land("a.csv", "sep=;\n" + good)
    loader.land("b.csv", ("\ufeffSEP=;\r\n" + good).encode())
    loader.land("c.csv", "sep=,\n" + good)
    counts = loader.load(delimiter=";")
    assert counts["rows_loaded"] == 4
    assert loader.states()[2] == (
        "c.csv",
        "quarantined",
        "line 1 says sep=,, _exports.yml says ;",
    )


def test_a_separator_line_keeps_the_line_numbers_of_rejects(loader: Loader) -> None:
    loader.land("a.csv", "sep=,\n" + HEAD + "c1,,2026-01-02,,1\n")
    loader.load()
    assert [reject["line"] for reject in loader.rejects()] == [3]


@pytest.mark.parametrize(
    ("name", "row"),
    [("a.csv", "c2,k\0,2026-01-02,,1"), ("a.jsonl", '{"conversion_id": "c\\u0000"}')],
)
def test_nul_bytes_are_rejected(loader: Loader, name: str, row: str) -> None:
    good = (
        HEAD
        if name == "a.csv"
        else '{"conversion_id":"c","customer_id":"k","converted_at":"2026-01-01"}\n'
    )
    loader.land(name, good + row + "\n")
    loader.load()
    [reject] = loader.rejects()
    assert reject["reason"] == "holds a NUL byte"
    assert "\0" not in reject["raw"]


def test_json_as_an_object_of_arrays(loader: Loader) -> None:
    row = '{"conversion_id": 7.10, "customer_id": "k", "converted_at": "2026-01-01", "goal": NaN}'
    loader.land("a.json", '{"2026-01-01": [], "2026-01-02": [' + row + "]}")
    loader.land("b.json", "{\n}")
    loader.land("c.json", '{"a": 1}')
    counts = loader.load(json_layout="lists")
    assert counts["rows_loaded"] == 1
    assert loader.conversions()[0][:4] == ("7.10", "k", datetime(2026, 1, 1), None)
    assert loader.states()[2][1:] == (
        "quarantined",
        "json_layout is `lists`, and this is no object of arrays",
    )


def test_a_json_line_that_is_text_does_not_become_a_reason(loader: Loader) -> None:
    good = '{"conversion_id": "c", "customer_id": "k", "converted_at": "2026-01-01"}'
    loader.land("a.jsonl", f'{good}\n"secret"\n')
    loader.load()
    assert [reject["reason"] for reject in loader.rejects()] == ["not a JSON object"]


@pytest.mark.parametrize("layout", ["lines", "array"])
def test_half_a_character_is_one_rejected_row(loader: Loader, layout: str) -> None:
    """As languages cut text that count in halves: no UTF-8 can hold it."""
    rows = [
        {"conversion_id": f"c{n}", "customer_id": "k", "converted_at": "2026-01-02", "goal": goal}
        for n, goal in enumerate(["loan", "half \ud83d", "whole \U0001f600"])
    ]
    rows.append(rows[0] | {"conversion_id": "c3", "\ude00": "a name"})
    rows.append(rows[0] | {"conversion_id": "c4", "goal": {"in it": "\ud83d"}})
    text = json.dumps(rows) if layout == "array" else "".join(json.dumps(r) + "\n" for r in rows)
    loader.land("a.json" if layout == "array" else "a.jsonl", text)
    counts = loader.load()
    assert (counts["rows_loaded"], counts["rows_rejected"]) == (2, 3)
    assert [row[0] for row in loader.conversions()] == ["c0", "c2"]
    assert {reject["reason"] for reject in loader.rejects()} == {"holds half a character"}
    assert "\\ud83d" in loader.rejects()[0]["raw"]


@pytest.mark.parametrize("stamp", ["-9223372036854775807", "9223372036854775807", "1e30"])
def test_a_moment_out_of_all_time_is_one_rejected_row(loader: Loader, stamp: str) -> None:
    loader.land("a.csv", HEAD + f"c1,k1,{stamp},,\nc2,k2,1767312000000000,,\n")
    counts = loader.load(time_format="epoch_microseconds")
    assert (counts["rows_loaded"], counts["rows_rejected"]) == (1, 1)


def test_rows_without_consent_are_not_kept_anywhere(loader: Loader) -> None:
    from dataclasses import replace

    from test_exports import CONTRACT

    base = CONTRACT["conversions"]
    consent = replace(base.columns[3], name="consent", header="consent", type="boolean")
    loader.contract = {
        "conversions": replace(base, columns=(*base.columns, consent), consent="required")
    }
    head = "conversion_id,customer_id,converted_at,consent,revenue\n"

    def rows(kind: str) -> str:
        said = ((1, "k1", "true"), (2, "canary", "false"), (3, "canary", ""))
        return "".join(f"{kind}{n},{who},2026-01-02,{word},1\n" for n, who, word in said)

    loader.land("clean.csv", head + rows("c"))
    # a row that says no, or nothing, is not even held against the contract
    said_no = "d4,canary,never,no,1\nd5,canary,never,,1\n"
    faults = "d6,canary,never,yes,1\nd7,canary,2026-01-02,ja,1\nd8,canary,2026-01-02,true,1,?\n"
    loader.land("careful.csv", head + rows("d") + said_no + faults)
    loader.land("renamed.csv", head.replace("consent", "agreed") + rows("e"))
    counts = loader.load()
    assert (counts["rows_loaded"], counts["rows_rejected"], counts["rows_suppressed"]) == (2, 3, 6)
    assert ("renamed.csv", "quarantined", "required column consent is missing") in loader.states()
    assert {(reject["line"], reject["raw"]) for reject in loader.rejects()} == {
        (line, None) for line in (7, 8, 9)
    }
    loader.con.execute("checkpoint")
    kept = [path for path in loader.folders.state.rglob("*") if path.is_file()]
    assert not [path for path in kept if b"canary" in path.read_bytes()]


@pytest.mark.parametrize(
    ("values", "kept", "rejected"),
    [
        (pa.array([1, 0, 2, None]), 1, 1),  # 2 is a code and no consent
        (pa.array([1.0, 0.0, 0.5, None]), 1, 1),
        (pa.array([True, False, None, None]), 1, 0),
        (pa.array(["YES", "f", "on", " "]), 1, 1),
    ],
    ids=["numbers", "fractions", "booleans", "texts"],
)
def test_consent_is_a_word_for_it_and_no_number(
    loader: Loader, values: pa.Array, kept: int, rejected: int
) -> None:
    from dataclasses import replace

    base = CONTRACT_OF(loader, "conversions")
    consent = replace(base.columns[3], name="consent", header="consent", type="boolean")
    loader.contract = {
        "conversions": replace(base, columns=(*base.columns, consent), consent="required")
    }
    table = pa.table(
        {
            "conversion_id": ["c1", "c2", "c3", "c4"],
            "customer_id": ["k"] * 4,
            "converted_at": [date(2026, 1, 2)] * 4,
            "consent": values,
        }
    )
    pq.write_table(table, loader.land("a.parquet", b""))
    counts = loader.load()
    assert (counts["rows_loaded"], counts["rows_rejected"]) == (kept, rejected)
    assert counts["rows_suppressed"] == 4 - kept - rejected


def test_sidecars_are_checked_where_they_are(loader: Loader) -> None:
    import hashlib

    for name, sidecar in {
        "right.csv": hashlib.sha256(GOOD.encode()).hexdigest().upper() + "  right.csv\n",
        "wrong.csv": "0" * 64,
        "no.csv": "not a sum",
    }.items():
        loader.land(name, GOOD.replace("c1", name))
        loader.land(name + ".sha256", sidecar)
    loader.land("right.csv", GOOD)
    loader.land("rows.csv", GOOD.replace("c1", "c3"))
    loader.land("rows.csv.rows", "2\n")
    loader.land("short.csv", GOOD.replace("c1", "c4"))
    loader.land("short.csv.rows", "3\n")
    loader.land("odd.csv", GOOD.replace("c1", "c5"))
    loader.land("odd.csv.rows", "many\n")
    loader.load()
    assert loader.states() == [
        ("no.csv", "quarantined", "its .sha256 holds no SHA-256"),
        ("odd.csv", "quarantined", "its .rows holds no number"),
        ("right.csv", "loaded", None),
        ("rows.csv", "loaded", None),
        ("short.csv", "quarantined", "2 rows, its sidecar says 3"),
        ("wrong.csv", "quarantined", "is not the file that its .sha256 speaks of"),
    ]


@pytest.mark.parametrize(
    ("sidecar", "text"), [(".sha256", "0" * 64), (".sha256", "none"), (".rows", "3")]
)
def test_a_sidecar_that_comes_later_is_told(loader: Loader, sidecar: str, text: str) -> None:
    """It may be wrong, or of a correction that is still on its way: what was loaded stands."""
    loader.land("a.csv", GOOD)
    loader.load()
    loader.land("a.csv.rows", "2")
    loader.load()
    assert loader.warnings == []
    loader.land("a.csv" + sidecar, text)
    loader.land("copy.csv", GOOD)
    loader.land("copy.csv" + sidecar, text)
    loader.load()
    [warning] = loader.warnings
    assert warning.startswith("landing/conversions/a.csv: ")
    assert warning.endswith("; what was loaded of it stands")
    assert len(loader.conversions()) == 2


def test_a_file_waits_for_its_sidecar_and_until_nobody_writes(loader: Loader) -> None:
    import hashlib

    path = loader.land("a.csv", GOOD)
    assert loader.load(sidecar="required")["files_waiting"] == 1
    assert "landing/conversions/a.csv has no sidecar yet; left for the next run" in loader.warnings
    loader.land("a.csv.sha256", hashlib.sha256(GOOD.encode()).hexdigest())
    assert loader.load(sidecar="required", settle_seconds=3600)["files_waiting"] == 1
    os.utime(path, (time.time() - 3700,) * 2)
    assert loader.load(sidecar="required", settle_seconds=3600)["files_loaded"] == 1
    # a clock that is a little ahead, and one that is years ahead, which a file would wait for
    ahead = loader.land("c.csv", GOOD.replace("c1", "d1"))
    os.utime(ahead, (time.time() + 20,) * 2)
    assert loader.load(settle_seconds=3600)["files_waiting"] == 1
    ahead.unlink()
    os.utime(loader.land("b.csv", GOOD.replace("c1", "b1")), (time.time() + 10**8,) * 2)
    assert loader.load(settle_seconds=3600)["files_loaded"] == 1


def test_a_file_that_changes_while_it_is_read_waits(
    loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attribution import exports

    path = loader.land("a.csv", GOOD)
    hashed = exports.identity

    def slow(landed: Path) -> str:
        found = hashed(landed)
        with landed.open("a") as more:
            more.write("c9,k9,2026-01-02,,1\n")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(exports, "identity", slow)
        assert loader.load()["files_waiting"] == 1
    assert loader.states() == []
    assert loader.load()["rows_loaded"] == 3
    assert path.exists()


def test_what_unpacks_to_more_than_allowed_is_refused(loader: Loader) -> None:
    row = b"c1,k1,2026-01-02 03:04:05,account,1\n"
    loader.land("bomb.csv.gz", gzip.compress(HEAD.encode() + row * 200_000))
    loader.land("large.csv", HEAD.encode() + row * 40_000)
    table = pa.table({"conversion_id": ["c"] * 2_000_000})
    sink = io.BytesIO()
    pq.write_table(table, sink, use_dictionary=False, compression="zstd")
    loader.land("bomb.parquet", sink.getvalue())
    assert sink.tell() < 2**20
    loader.load(max_gigabytes=0.001)
    reason = "larger than max_gigabytes, 0.001, in _exports.yml"
    assert [row[1:] for row in loader.states()] == [("quarantined", reason)] * 3


def test_a_line_of_megabytes_is_one_rejected_row(loader: Loader) -> None:
    loader.land("a.csv", GOOD + f"c9,{'k' * 3_000_000},2026-01-01,,\nc8,k8,2026-01-01,,\n")
    counts = loader.load()
    assert (counts["rows_loaded"], counts["rows_rejected"]) == (3, 1)
    [reject] = loader.rejects()
    assert len(reject["raw"]) == 100_000


def process_of(loader: Loader) -> ReadingProcess:
    return ReadingProcess(loader.folders, SETTINGS, People())


def large_file(loader: Loader) -> Job:
    path = loader.land("large.csv", HEAD + "c1,k1,2026-01-02 03:04:05,account,bad\n" * 900_000)
    return Job("conversions", path, "0" * 64)


@pytest.mark.parametrize("kills", [1, 2])
def test_a_reading_process_that_dies_twice_quarantines_the_file(loader: Loader, kills: int) -> None:
    """Killed as by a crash in the engine: once is bad luck, twice is the file."""
    job = large_file(loader)
    done: list[int] = []

    def kill(read: ReadingProcess) -> None:
        while len(done) < kills:
            process = read.process
            if process is not None and process.pid not in done:
                time.sleep(1.2)  # it has begun to read
                process.send_signal(signal.SIGSEGV)
                done.append(process.pid)
            time.sleep(0.01)

    with process_of(loader) as read:
        killer = threading.Thread(target=kill, args=[read])
        killer.start()
        outcome = read(job)
        killer.join()
        small = loader.land("small.csv", GOOD)
        assert read(Job("conversions", small, "1" * 64)).rows_loaded == 2
    if kills == 1:
        assert (outcome.state, outcome.rows_rejected) == ("loaded", 900_000)
    else:
        assert outcome.state == "quarantined"
        assert outcome.reason == "brings the reading process down (SIGSEGV)"


def test_a_file_of_one_endless_line_takes_no_more_memory_than_allowed(loader: Loader) -> None:
    endless = loader.land("endless.jsonl", b"")
    with endless.open("r+b") as content:
        content.truncate(3 * 2**27)
    with process_of(loader) as read:
        read.setup["memory"] = 2**29
        outcome = read(Job("conversions", endless, "0" * 64))
        assert outcome.state == "quarantined"
        assert outcome.reason == "takes more memory to read than memory_limit allows"
        small = loader.land("small.csv", GOOD)
        assert read(Job("conversions", small, "1" * 64)).rows_loaded == 2


def test_the_reading_process_ends_with_its_context(loader: Loader) -> None:
    with process_of(loader) as read:
        read(Job("conversions", loader.land("a.csv", GOOD), "1" * 64))
        assert read.process is not None
        process = read.process
    assert process.poll() == 0


def test_the_process_reads_what_the_function_reads(home: Home) -> None:
    """Whole verbs, with pseudonyms: the archive and the journal are what `rebuild` needs."""
    home.land("conversions", "a.csv", GOOD)
    home.must("load")
    [(there,)] = home.warehouse("select count(*) from raw.conversions")
    assert there == 2
    [archived] = (home.path / "state" / "archive" / "conversions").glob("*.parquet")
    rows = duckdb.sql(f"from '{archived}'").fetchall()
    assert {row[1] for row in rows}.isdisjoint({"k1", "k2"})


def test_every_key_of_the_contract_is_explained_in_it() -> None:
    from attribution.contract import META

    text = (ROOT / "dbt_project" / "models" / "staging" / "_exports.yml").read_text()
    assert [key for key in META if f"{key}:" not in text] == []


@pytest.mark.parametrize("short_rows", ["reject", "pad"])
@pytest.mark.parametrize("torn", [False, True])
def test_two_lost_quotes_take_in_no_rows(loader: Loader, short_rows: str, torn: bool) -> None:
    """The first opens a field that the second closes: between them lie a thousand customers."""
    lines = [f"c{n},k{n},2026-01-02,account,{n}" for n in range(2_000)]
    lines[300] = 'c300,k300,"2026-01-02' if torn else 'c300,k300,2026-01-02,"account,300'
    lines[1500] = 'c1500,k1500,2026-01-02,account",1500'
    if short_rows == "pad":
        lines[400:1500] = ["c400,k400,2026-01-02"] * 1_100
    loader.land("a.csv", HEAD + "\n".join(lines) + "\n")
    counts = loader.load(short_rows=short_rows)
    assert (counts["rows_read"], counts["rows_loaded"], counts["rows_rejected"]) == (
        2000,
        799,
        1201,
    )
    first, *others = loader.rejects()
    assert (first["line"], first["raw"]) == (302, lines[300])
    assert first["reason"] == "a quote opens here and takes in whole rows"
    assert {r["reason"] for r in others} == {"stands behind a quote that opens in line 302"}
    assert [reject["line"] for reject in others] == list(range(303, 1503))
    assert loader.rows("select distinct goal from raw.conversions") == [("account",)]


@pytest.mark.parametrize(
    ("before", "behind", "loaded"),
    [
        ("", "y" * 2**20 + '",2\n', None),  # longer than any text is
        ("y" * 2**20, '",2\n', None),
        ("", "", 1),  # cut off
        ("", 'end" ,2\nc3,k3,2026-01-02,account,3\n', 2),  # badly quoted
    ],
    ids=["long behind", "long before", "cut off", "badly quoted"],
)
def test_what_stood_behind_a_quote_is_no_row(
    loader: Loader, before: str, behind: str, loaded: int | None
) -> None:
    evil = f'c2,k2,2026-01-02,"x{before}\nEVIL,k9,2026-01-02,account,9\n{behind}'
    loader.land("a.csv", HEAD + "c1,k1,2026-01-02,account,1\n" + evil)
    counts = loader.load()
    assert counts["files_quarantined"] == (loaded is None)
    ids = {id for (id,) in loader.rows("select conversion_id from raw.conversions")}
    assert ids == set() if loaded is None else ids == {"c1", "c3"} or ids == {"c1"}
    assert "EVIL" not in ids
    assert len(ids) == (loaded or 0)


@pytest.mark.parametrize("short_rows", ["reject", "pad"])
def test_a_text_writes_no_rows(loader: Loader, short_rows: str) -> None:
    """Whoever may name a campaign may write a row into a name."""
    text = '"spring\nEVIL,k9,2026-01-02,account,9\nend"'
    last = f"currency\nc3,k3,2026-01-02,account,3,{text}"  # where it could be a lost quote
    for name, head, row in (("a", "", f"c2,k2,2026-01-02,{text},2"), ("b", ",currency", last)):
        first = HEAD.rstrip("\n") + head + f"\n{name},k1,2026-01-02,account,1" + ",EUR" * bool(head)
        loader.land(f"{name}.csv", first + "\n" + row.removeprefix("currency\n") + "\n")
    loader.load(short_rows=short_rows)
    ids = {id for (id,) in loader.rows("select conversion_id from raw.conversions")}
    assert {"a", "b"} <= ids <= {"a", "b", "c2", "c3"}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_breaks_that_are_meant_stay_in_their_field(loader: Loader, end: str) -> None:
    rows = [
        f'"c1{end}b",k1,2026-01-02,account,1',
        f'c2,k2,2026-01-02,"summer{end}{end}sale, and, more",2',
        f'c3,k3,2026-01-02,"a{end}c9,k9,2026-01-02",3',  # not as many as a row has
    ]
    loader.land("a.csv", end.join([HEAD.strip(), *rows]) + end * 3)
    counts = loader.load()
    assert (counts["rows_read"], counts["rows_rejected"]) == (3, 0)
    assert loader.rows("select goal from raw.conversions order by revenue") == [
        ("account",), (f"summer{end}{end}sale, and, more",), (f"a{end}c9,k9,2026-01-02",)
    ]  # fmt: skip


def test_blank_lines_need_no_careful_reading(
    loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attribution import readers

    monkeypatch.setattr(readers, "careful", lambda *_: pytest.fail("it is clean"))
    for name, end, blank in (("a.csv", "\n", 1), ("b.csv", "\r\n", 9), ("c.csv", "\n", -1)):
        text = GOOD.replace("c1", name).replace("\n", end)
        loader.land(name, text + end * blank if blank > 0 else text.rstrip())
        assert loader.load()["rows_loaded"] == 2

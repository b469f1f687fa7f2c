"""doctor --export: how a file would be read, and a contract for one that nobody knows."""

import gzip
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import ROOT, Home, real_export
from test_exports import GOOD, HEAD

CONTRACT = ROOT / "dbt_project" / "models" / "staging" / "_exports.yml"


def proposal(home: Home, path: Path) -> str:
    done = home.must("doctor", "--export", str(path))
    assert done.stdout.startswith("# No export of the contract.")
    return done.stdout


def pasted(home: Home, text: str) -> tuple[Home, dict[str, Any]]:
    """A company's project with the proposal in its contract."""
    import shutil

    project = home.path / "dbt_project"
    shutil.copytree(home.dbt_project, project, ignore=shutil.ignore_patterns("target"))
    contract = project / "models" / "staging" / "_exports.yml"
    contract.write_text(CONTRACT.read_text() + text)
    [entry] = [
        table
        for table in yaml.safe_load(contract.read_text())["sources"][0]["tables"]
        if table["name"] == "unknown"
    ]
    return Home(home.path, project), entry


def kinds(entry: dict[str, Any]) -> dict[str, str]:
    return {column["name"]: column["data_type"] for column in entry["columns"]}


def load_as_proposed(home: Home, content: bytes, ending: str) -> tuple[Home, dict[str, Any]]:
    path = home.path / f"unknown{ending}"
    path.write_bytes(content)
    home, entry = pasted(home, proposal(home, path))
    home.land("unknown", path.name, path)
    home.must("load")
    return home, entry


def test_a_spreadsheet_of_a_bank_is_proposed_and_loads(home: Home) -> None:
    text = "sep=;\r\nKundennummer;Datum;Betrag;Filiale\r\n" + "".join(
        f"0{n};{n % 28 + 1:02d}.02.2026 10:00;{n * 1000:,}".replace(",", ".") + ",50-;Köln\r\n"
        for n in range(1, 40)
    )
    home, entry = load_as_proposed(home, text.encode("cp1252"), ".csv")
    meta = entry["config"]["meta"]
    assert meta == {
        "encoding": "cp1252",
        "delimiter": ";",
        "time_format": "%d.%m.%Y %H:%M",
        "decimal": ",",
        "thousands": ".",
        "trailing_minus": True,
        "required": [],
        "pseudonyms": ["kundennummer"],
    }
    assert kinds(entry) == {
        "kundennummer": "varchar",
        "datum": "timestamp",
        "betrag": "decimal(18,4)",
        "filiale": "varchar",
    }
    rows = home.warehouse(
        "select count(*), sum(betrag), min(datum)::varchar, max(filiale) from raw.unknown"
    )
    expected = -sum(n * 1000 + 0.5 for n in range(1, 40))
    assert rows == [(39, pytest.approx(expected), "2026-02-01 10:00:00", "Köln")]


def test_a_day_that_may_be_a_month_is_called_ambiguous(home: Home) -> None:
    path = home.path / "unknown.csv"
    path.write_text("booked,x\n03/04/2026,1\n05/06/2026,2\n")
    text = proposal(home, path)
    assert "AMBIGUOUS: %d/%m/%Y or %m/%d/%Y" in text
    path.write_text("booked,x\n03/04/2026,1\n05/26/2026,2\n")
    text = proposal(home, path)
    assert "AMBIGUOUS" not in text
    assert "date_format: '%m/%d/%Y'" in text


@pytest.mark.parametrize("ending", [".json", ".json.gz"])
def test_objects_of_arrays_are_known_by_their_look(home: Home, ending: str) -> None:
    text = (
        '{"2026-01-01": [], "2026-01-02": [{"client_id": 12.10, "ts": 1767323045000, "ok": true}]}'
    )
    content = gzip.compress(text.encode()) if ending.endswith("gz") else text.encode()
    home, entry = load_as_proposed(home, content, ending)
    assert entry["config"]["meta"]["json_layout"] == "lists"
    assert kinds(entry) == {"client_id": "varchar", "ts": "timestamp", "ok": "boolean"}
    assert home.warehouse("select ts::varchar, ok from raw.unknown") == [
        ("2026-01-02 03:04:05", True)
    ]


def test_utf_16_and_parquet(home: Home) -> None:
    path = home.path / "unknown.csv"
    path.write_text("Straße\tWert\nä\t1\n", encoding="utf-16")
    text = proposal(home, path)
    assert "encoding: utf-16" in text
    assert 'delimiter: "\\t"' in text
    assert "header: Straße" in text
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": [1], "at": pa.array([0], pa.timestamp("us"))}), sink)
    home, entry = load_as_proposed(home, sink.getvalue(), ".parquet")
    assert kinds(entry) == {"id": "bigint", "at": "timestamp"}


@pytest.mark.parametrize(
    "parts",
    [
        ("sber_autopodpiska", "ga_sessions_new_2022-01-02.json.gz"),
        ("sber_autopodpiska", "ga_hits_sample1000.csv"),
        ("prjctr_ads_exports", "marketing_google.csv"),
        ("olist_funnel", "olist_closed_deals_dataset.csv"),
        ("snowplow_fractribution", "snowplow_fractribution_events.csv"),
        ("attribution_data_62k", "attribution_data.csv.gz"),
    ],
)
def test_what_is_proposed_for_a_real_export_loads_every_row(
    home: Home, parts: tuple[str, str]
) -> None:
    source = real_export(*parts)
    home, _ = load_as_proposed(
        home,
        source.read_bytes(),
        "".join(source.suffixes[-2:] if source.suffix == ".gz" else [source.suffix]),
    )
    [(state, read, loaded)] = home.warehouse("select state, rows_read, rows_loaded from raw._files")
    assert (state, read) == ("loaded", loaded)
    assert read > 0


def test_a_landed_file_is_shown_as_it_would_be_read(home: Home) -> None:
    path = home.land("conversions", "a.csv", GOOD + "c3,canary,never,,1\nc4,,2026-01-01,,1\n")
    done = home.must("doctor", "--export", str(path))
    assert "4 rows read = 2 loaded + 2 rejected + 0 suppressed" in done.stdout
    assert "line 4: converted_at is empty or no timestamp" in done.stdout
    assert "line 5: customer_id is empty" in done.stdout
    assert "canary" not in done.stdout
    assert "k1" not in done.stdout
    assert "(a person's)" in done.stdout
    assert not (home.path / "state").exists()


def test_a_file_that_would_be_quarantined_says_why(home: Home) -> None:
    path = home.path / "b.csv"
    path.write_text(HEAD.replace("customer_id", "who"))
    done = home.main("doctor", "--export", str(path), "--as", "conversions")
    assert done.returncode == 1
    assert "would be quarantined: required column customer_id is missing" in done.stdout
    path.with_name("b.csv.sha256").write_text("0" * 64)
    done = home.main("doctor", "--export", str(path), "--as", "conversions")
    assert "is not the file that its .sha256 speaks of" in done.stdout


@pytest.mark.parametrize(
    ("content", "arguments", "said"),
    [
        (None, [], "there is no such file"),
        (b"", [], "no header"),
        (b"\x1f\x8bbroken", [], "broken gzip"),
        (b"a,b\n", ["--as", "sales"], "the exports are touchpoints"),
    ],
)
def test_nothing_to_show_is_one_line(
    home: Home, content: bytes | None, arguments: list[str], said: str
) -> None:
    path = home.path / ("x.csv.gz" if content and b"broken" in content else "x.csv")
    if content is not None:
        path.write_bytes(content)
    done = home.main("doctor", "--export", str(path), *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1

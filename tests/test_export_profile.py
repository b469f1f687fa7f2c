"""doctor --export: how a file would be read, and a contract for one that nobody knows."""

import gzip
import io
from decimal import Decimal
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


DECIMAL = "decimal(18,4)"


@pytest.mark.parametrize(
    ("content", "types", "rows"),
    [
        # one number format is looked for that fits all columns
        (
            "nr;betrag;menge\na;1.234,50;2,5\nb;12,50-;1\n",
            ["varchar", DECIMAL, DECIMAL],
            ["a 1234.5 2.5", "b -12.5 1"],
        ),
        # codes keep their zeros, six digits are no day
        (
            "plz,monat,rate\n01067,202601,0.0000012\n90402,202602,1.5\n",
            ["varchar", "bigint", "decimal(38,7)"],
            ["01067 202601 0.0000012", "90402 202602 1.5"],
        ),
        # what contradicts the other columns stays text
        (
            'a,b,c\n1.5,"2,5",1\n3.25,"7,75",2\n',
            [DECIMAL, "varchar", "bigint"],
            ["1.5 2,5 1", "3.25 7,75 2"],
        ),
        (
            "day,other,x\n31.01.2026,2026-01-31,1\n",
            ["date", "varchar", "bigint"],
            ["2026-01-31 2026-01-31 1"],
        ),
        # names that YAML or SQL would take for something else, twice, or with signs in them
        (
            'no,true,Betrag [EUR],"Umsatz, netto",a_2,a-b,a b,a,#\n1,2,3,4,5,6,7,8,9\n',
            ["varchar", *["bigint"] * 8],
            ["1 2 3 4 5 6 7 8 9"],
        ),
        # a comma within fields does not part them
        ("Konto;Umsatz, netto\nx;2,5\ny;3,25\n", ["varchar", DECIMAL], ["x 2.5", "y 3.25"]),
        # persons are texts, and leads are a number
        (
            "date,leads,useragent,lead_no\n2026-01-01,7,curl,11\n",
            ["date", "bigint", "varchar", "varchar"],
            ["2026-01-01 7 curl HIDDEN"],
        ),
    ],
)
def test_what_is_proposed_reads_what_stands_there(
    home: Home, content: str, types: list[str], rows: list[str]
) -> None:
    home, entry = load_as_proposed(home, content.encode(), ".csv")
    assert list(kinds(entry).values()) == types
    columns = ", ".join(f'"{name}"' for name in kinds(entry))
    hidden = [name in entry["config"]["meta"]["pseudonyms"] for name in kinds(entry)]
    found = home.warehouse(f"select {columns} from raw.unknown order by _row")
    read = [
        " ".join(
            "HIDDEN" if is_hidden else f"{v.normalize():f}" if isinstance(v, Decimal) else str(v)
            for v, is_hidden in zip(row, hidden, strict=True)
        )
        for row in found
    ]
    assert read == rows


@pytest.mark.parametrize("text", ['a,b\n1.5,"2,5"\n', "a,b\n31.01.2026,2026-01-31\n"])
def test_columns_that_contradict_each_other_are_no_ambiguity(home: Home, text: str) -> None:
    path = home.path / "unknown.csv"
    path.write_text(text)
    said = proposal(home, path)
    assert "AMBIGUOUS" not in said
    assert "written unlike other columns" in said


@pytest.mark.parametrize(
    ("text", "decimal"),
    [("id;betrag\n1;1.500\n2;22.750\n", ","), ("id,amount\na,1.500\nb,22.750\n", ".")],
)
def test_a_sign_that_may_part_thousands_or_decimals_is_called_ambiguous(
    home: Home, text: str, decimal: str
) -> None:
    path = home.path / "unknown.csv"
    path.write_text(text)
    said = proposal(home, path)
    assert ("decimal: ','" in said) == (decimal == ",")
    assert "AMBIGUOUS: the sign in 22.750 may part thousands or decimals" in said
    path.write_text(text.replace("22.750", "22.75"))
    assert "AMBIGUOUS" not in proposal(home, path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("2026-01-31 Besuche.csv", "- name: column_2026_01_31_besuche"),
        ("ünï.csv", "- name: n"),
        ("x y'z.csv", "- name: x_y_z"),
    ],
)
def test_any_file_has_a_name_that_the_contract_takes(home: Home, name: str, said: str) -> None:
    path = home.path / name
    path.write_text("a,b\n1,2\n")
    assert said in proposal(home, path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.tsv", "a\tb\n1\t2\n", "its ending is none of .csv"),
        ("x.json", '{"2026-01-01": []}', "holds no JSON records"),
        ("x.json", "[1, 2, 3]", "holds no JSON records"),
        ("x.jsonl", '{\n "a": 1\n}\n', "holds no JSON records"),
    ],
)
def test_what_no_contract_could_load_is_not_proposed(
    home: Home, name: str, content: str, said: str
) -> None:
    (home.path / name).write_text(content)
    done = home.main("doctor", "--export", str(home.path / name))
    assert done.returncode == 2
    assert said in done.stderr


def test_lines_of_json_that_begin_with_a_list_are_lines(home: Home) -> None:
    path = home.path / "unknown.jsonl"
    path.write_text('{"tags": ["a"], "visit_id": 1}\n{"tags": [], "visit_id": 2}\n')
    said = proposal(home, path)
    assert "json_layout" not in said
    assert "name: visit_id" in said


def test_ids_of_persons_in_parquet_are_texts_for_pseudonyms(home: Home) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"customer_id": [4711, 12], "visits": [1, 2]}), sink)
    home, entry = load_as_proposed(home, sink.getvalue(), ".parquet")
    assert kinds(entry) == {"customer_id": "varchar", "visits": "bigint"}
    assert entry["config"]["meta"]["pseudonyms"] == ["customer_id"]


def test_a_landed_file_is_known_by_whatever_way_leads_there(home: Home) -> None:
    home.land("conversions", "a.csv", GOOD)
    (home.path / "linked").symlink_to(home.path / "landing")
    for way in ("linked/conversions/a.csv", "landing/../landing/conversions/a.csv"):
        assert (
            "conversions: 2 rows read"
            in home.must("doctor", "--export", str(home.path / way)).stdout
        )


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
    assert 'header: "Straße"' in text
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
    assert {path.name for path in (home.path / "state").glob("*")} <= {"dbt"}


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

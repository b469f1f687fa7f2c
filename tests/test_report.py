"""What people open of a version: the page, the workbook, the CSV files."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import shutil
import string
from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import duckdb
import openpyxl
import pytest
import yaml
from conftest import Home
from hypothesis import given
from hypothesis import strategies as st
from report_versions import HOSTILE, documents, large, page_alone

from attribution.documents import write_documents
from attribution.publish import verify
from attribution.report_charts import bars, heat
from attribution.report_facts import Facts, read_facts
from attribution.report_journeys import collect_touches, ends, handovers, journeys_by, medians
from attribution.report_periods import compare_periods
from attribution.settings import FITTED, HEURISTICS
from attribution.warehouse import open_published
from attribution.wording import PAGES, Wording, breakable, visible
from attribution.workbook import SHEETS, _csv_field, _csv_text

TEXTS = yaml.safe_load((PAGES / "texts.yml").read_text(encoding="utf-8"))


class Page(HTMLParser):
    """Elements and attributes of a page, and the texts of its script and style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: dict[str, str] = {}
        self._open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style"):
            self.texts[self._open] = self.texts.get(self._open, "") + data


def land_hostile_world(home: Home) -> Home:
    """Forty customers who meet channels of hostile names towards goals of hostile names."""
    touches = ["touchpoint_id,customer_id,occurred_at,channel"]
    conversions = ["conversion_id,customer_id,converted_at,goal,revenue"]

    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    for number in range(40):
        for step in range(3):
            channel = HOSTILE[(number + step * step) % len(HOSTILE)]
            touches.append(
                f"t{number}_{step},k{number},2026-01-0{2 + step} 10:00:00,{quoted(channel)}"
            )
        if number % 4:
            goal = ("<b>Größe</b>", "=1+1")[number % 2]
            conversions.append(f"c{number},k{number},2026-01-07 10:00:00,{quoted(goal)},12.5")
    touches.append("t99,k99,2026-01-08 10:00:00,\u202egpj.exe")
    home.land("touchpoints", "t_2026-01-08.csv", "\n".join(touches) + "\n")
    home.land("conversions", "c_2026-01-08.csv", "\n".join(conversions) + "\n")
    return home


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The hostile world after a run; tests must not change it."""
    home = land_hostile_world(Home(tmp_path_factory.mktemp("hostile")))
    models = "[first_touch, last_touch, linear, markov, shapley]"
    home.must(
        "run",
        *("--set", f"models={models}", "--set", "segments=[entry_channel]"),
        *("--set", "small_cell=2", "--set", "few_conversions=1", "--set", "csv_decimal=comma"),
    )
    return home


def facts_of(home: Home) -> Facts:
    with open_published(home.current) as con:
        return read_facts(con, home.manifest()["settings"])


# texts


def test_every_text_stands_in_both_languages_with_the_same_places() -> None:
    for key, texts in TEXTS.items():
        assert set(texts) == {"en", "de"}, key
        places = [
            {name for _, name, _, _ in string.Formatter().parse(text) if name}
            for text in texts.values()
        ]
        assert places[0] == places[1], key
        assert all(text.strip() for text in texts.values()), key


def test_every_model_is_explained_in_two_sentences_and_by_what_it_cannot_say() -> None:
    for model in HEURISTICS + FITTED:
        assert f"model_{model}" in TEXTS
        for language in ("en", "de"):
            assert len(re.findall(r"\.(?= |$)", TEXTS[f"says_{model}"][language])) == 2, model
            assert TEXTS[f"cannot_{model}"][language].endswith(".")


def test_every_text_of_the_template_exists_and_none_is_left_over() -> None:
    template = (PAGES / "report.html.j2").read_text()
    code = "".join(path.read_text() for path in PAGES.parent.glob("*.py"))
    used = set(re.findall(r"\bt\('(\w+)'", template)) | set(re.findall(r'"(\w+)"', code))
    used |= set(re.findall(r"tile\('(\w+)'", template))
    families = ("model_", "says_", "cannot_", "reason_", "aside_", "rows_", "table_", "warning_")
    missing = {key for key in re.findall(r"\bt\('(\w+)'[,)]", template) if key not in TEXTS}
    assert not missing
    assert not {k for k in TEXTS if k not in used and not k.startswith(families)}


def test_numbers_are_those_of_the_language() -> None:
    english, german = Wording("en", "EUR"), Wording("de", "EUR")
    assert english.money(1234567.8) == "€1,234,568"
    assert german.money(1234567.8) == "1.234.568\u00a0€"
    assert english.percent(0.1234) == "12.3%"
    assert german.percent(0.1234) == "12,3\u00a0%"
    assert german.interval(0.1, 0.25) == "10,0–25,0"
    assert english.change(-0.25) == "\u221225%"
    assert english.change(0.001) == "0%"
    assert english.number(-0.0001) == "0"
    assert german.day(date(2026, 3, 1), "long") == "1. März 2026"
    assert Wording("de", "CHF").money(1.0) == "1\u00a0CHF"
    assert [english.price(v) for v in (0.514, -1.9, 99.994, 100.4)] == [
        "€0.51", "-€1.90", "€99.99", "€100",
    ]  # fmt: skip
    assert (german.each(0.5), german.price(None)) == ("0,50", "–")
    assert english.number(None) == german.percent(None) == english.money(None) == "–"


def test_unseen_marks_are_written_out_and_names_escaped() -> None:
    assert visible("a\u202eb\x00c\u2066") == "a⟨U+202E⟩b⟨U+0000⟩c⟨U+2066⟩"
    assert visible("Größe 中文 عربي") == "Größe 中文 عربي"
    assert breakable("<a_b>") == "&lt;a_<wbr>b&gt;"
    assert breakable("") == ""


@given(st.text(max_size=30))
def test_a_broken_name_is_the_same_name(text: str) -> None:
    assert breakable(text).replace("<wbr>", "").unescape() == visible(text)


# what the page says


def test_periods_are_whole_weeks_and_as_long_as_each_other() -> None:
    def facts(days: int) -> Facts:
        found = object.__new__(Facts)
        day = date(2026, 3, 31)
        series = [(day - timedelta(days=d), "g", 1.0, 10.0) for d in range(days)]
        object.__setattr__(found, "daily", series)
        # four weeks of spend, 0 on all days but the last: delivered, so known
        spend = [(day - timedelta(days=d), "c", 0.0 if d else 5.0) for d in range(min(days, 28))]
        object.__setattr__(found, "spend", spend)
        return found

    first, last = date(2026, 1, 1), date(2026, 3, 31)
    whole, now, before = compare_periods(facts(90), first, last)
    assert (whole.first, whole.last, whole.conversions) == (first, last, 90)
    assert (now.first, now.conversions, now.cost) == (date(2026, 3, 4), 28, 5)
    assert (before.first, before.last) == (date(2026, 2, 4), date(2026, 3, 3))
    assert before.conversions == 28
    assert before.cost is None
    assert whole.return_on_spend is None  # weeks of it have no spend
    assert now.return_on_spend == 56
    assert now.cost_per_conversion == pytest.approx(5 / 28)
    # 20 days of data: a week against the week before, whatever the window
    assert [p.conversions for p in compare_periods(facts(20), first, last)] == [20, 7, 7]
    assert len(compare_periods(facts(14), first, last)) == 3
    assert len(compare_periods(facts(13), first, last)) == 1


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30)), max_size=30),
    st.integers(1, 20),
)
def test_no_class_of_journeys_is_small_and_none_is_lost(
    counts: list[tuple[int, int]], small: int
) -> None:
    found = bars(counts, (0, 1, 2, 4, 8, 15), small)
    whole = sum(journeys for _, journeys in counts)
    if whole < small:
        assert found == []
        return
    assert sum(row["journeys"] for row in found) == whole
    assert all(row["journeys"] >= small for row in found)
    assert found[0]["from"] == 0
    assert found[-1]["to"] is None
    for row, following in pairwise(found):
        assert row["to"] + 1 == following["from"]
        inside = sum(n for value, n in counts if row["from"] <= value <= row["to"])
        assert row["journeys"] == inside


def test_credit_of_all_goals_adds_up_and_its_interval_is_that_of_the_goals(bank: Home) -> None:
    facts = facts_of(bank)
    assert len(facts.goals) > 1
    totals = {
        goal: sum(r.conversions for r in facts.credit[goal]["linear"]) for goal in facts.goals
    }
    for model, rows in facts.credit[None].items():
        assert sum(row.share for row in rows) == pytest.approx(1)
        assert sum(row.conversions for row in rows) == pytest.approx(sum(totals.values()))
        for row in rows:
            parts = [
                (totals[goal], part)
                for goal in facts.goals
                for part in facts.credit[goal].get(model, [])
                if part.channel == row.channel
            ]
            if row.low is None or row.high is None:
                assert any(part.low is None for _, part in parts)
                continue
            assert row.low <= row.share <= row.high
            low = sum(n * (part.low or 0) for n, part in parts) / sum(totals.values())
            assert row.low == pytest.approx(low)
    named = bank.published(
        "select channel, cost::double from channel_performance where model = ?", ["linear"]
    )
    assert {row.channel: row.cost for row in facts.credit[None]["linear"]} == dict(named)


def test_journeys_of_the_page_are_those_of_the_mart_of_paths(bank: Home) -> None:
    facts = facts_of(bank)
    [(journeys,)] = bank.published("select sum(journeys)::int from conversion_paths")
    assert sum(n for _, n in facts.lengths) == sum(n for _, n in facts.lags) == journeys
    # each journey hands over to the conversion once
    assert sum(n for _, following, n, _ in facts.handovers if following == "") == journeys
    touches = sum(length * n for length, n in facts.lengths)
    assert sum(n for *_, n, _ in facts.handovers) == touches


def test_journeys_are_counted_by_hand() -> None:
    """Two journeys, a > b > a > b of two conversions at one instant and b alone, of two goals."""
    with duckdb.connect() as con:
        con.execute(
            "create table touchpoint_credit (model varchar, goal varchar, conversion_id varchar, "
            "touchpoint_id varchar, channel varchar, position int, hours_to_conversion double)"
        )
        for conversion in ("c1", "c2"):
            for position, channel in enumerate("abab", start=1):
                con.execute(
                    "insert into touchpoint_credit values ('last_touch', 'g', ?, ?, ?, ?, ?)",
                    [conversion, f"t{position}", channel, position, 100.0 - 20 * position],
                )
        con.execute(
            "insert into touchpoint_credit values ('last_touch', 'h', 'c3', 't9', 'b', 1, 1.0), "
            "('linear', 'h', 'c3', 't9', 'b', 1, 1.0)"
        )
        collect_touches(con)
        assert journeys_by(con, "touches") == [(1, 1), (4, 1)]
        assert journeys_by(con, "days") == [(0, 1), (3, 1)]
        assert medians(con, 1) == {
            "g": (4, pytest.approx(80 / 24)),
            "h": (1, pytest.approx(1 / 24)),
        }
        assert medians(con, 2) == {}
        assert ends(con, 1) == [("a", "b", 1), ("b", "b", 1)]
        assert ends(con, 2) == []
        assert set(handovers(con)) == {("a", "b", 2, 1), ("b", "a", 1, 1), ("b", "", 2, 2)}


def test_small_cells_are_nowhere_on_the_page(bank: Home, tmp_path: Path) -> None:
    settings = bank.manifest()["settings"]
    for small in (2, 10, 40):
        with open_published(bank.current) as con:
            facts = read_facts(con, settings | {"small_cell": small})
        assert all(journeys >= small for *_, journeys in facts.ends)
        table = heat(facts, small)
        few = {(a, b) for a, b, _, journeys in facts.handovers if journeys < small}
        shown = {
            (name, following)
            for name, cells in table["rows"]
            for following, (count, _) in zip(table["columns"], cells, strict=True)
            if count
        }
        assert not few & shown
        assert few | shown == {(a, b) for a, b, *_ in facts.handovers}
    # paths below the setting of the run are in no version, and so on no page
    rare = bank.published("select min(journeys) from conversion_paths where path <> '(rare paths)'")
    assert rare[0][0] is None or rare[0][0] >= settings["small_cell"]


# the files


def test_documents_are_part_of_the_version(bank: Home) -> None:
    files = bank.manifest()["files"]
    expected = {"report.html", "attribution.xlsx", *(f"csv/{name}.csv" for name in SHEETS)}
    assert expected <= set(files)
    assert verify(bank.current) == []


def test_no_id_of_a_person_or_a_conversion_stands_in_a_document(bank: Home) -> None:
    ids = {
        name
        for column, table in (
            ("conversion_id", "conversion_credit"),
            ("touchpoint_id", "touchpoint_credit"),
        )
        for (name,) in bank.published(f"select distinct {column} from {table}")
    }
    ids |= {name for (name,) in bank.warehouse("select distinct customer_id from raw.touchpoints")}
    assert len(ids) > 1000
    texts = [path.read_text() for path in (bank.current / "csv").iterdir()]
    texts.append((bank.current / "report.html").read_text())
    book = openpyxl.load_workbook(bank.current / "attribution.xlsx", read_only=True)
    texts += [
        str(value)
        for sheet in book.worksheets
        for row in sheet.iter_rows(values_only=True)
        for value in row
        if isinstance(value, str)
    ]
    words = {word for text in texts for word in re.findall(r"[\w-]+", text)}
    assert not words & ids


def test_equal_marts_give_equal_bytes(bank: Home, tmp_path: Path) -> None:
    for name in ("a", "b"):
        documents(bank, tmp_path / name)
    names = ["report.html", "attribution.xlsx", *(f"csv/{table}.csv" for table in SHEETS)]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    # and the same as the run itself made, which had no version before it either
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (bank.current / name).read_bytes(), name


def test_nothing_is_left_beside_the_documents(bank: Home, tmp_path: Path) -> None:
    documents(bank, tmp_path / "v", memory_limit="60MB")
    assert sorted(path.name for path in (tmp_path / "v").iterdir()) == [
        "attribution.duckdb", "attribution.xlsx", "csv", "report.html",
    ]  # fmt: skip


def test_warnings_of_the_night_stand_on_the_page(bank: Home, tmp_path: Path) -> None:
    shutil.copy(bank.current / "attribution.duckdb", tmp_path)
    manifest = bank.manifest()
    manifest["steps"] = {"check exports": {"warnings": ["spend <stopped> on 2026-01-01"]}}
    write_documents(tmp_path, manifest, Path("/nowhere"))
    page = (tmp_path / "report.html").read_text()
    assert "One warning" in page
    assert "spend &lt;stopped&gt; on 2026-" in page.replace("<wbr>", "")
    assert "All checks passed" not in page


def test_the_page_needs_nothing_and_runs_nothing_but_its_own(hostile: Home) -> None:
    html = (hostile.current / "report.html").read_text()
    page = Page(html)
    assert page.tags["script"] == page.tags["style"] == 1
    assert not {"img", "link", "iframe", "object", "embed", "form", "b"} & set(page.tags)
    assert [value for tag, name, value in page.attributes if name == "href"] == ["#channels"]
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name == "style"]
    assert not [name for _, name, _ in page.attributes if name in ("src", "srcdoc", "action")]
    [policy] = [value for _, name, value in page.attributes if "default-src" in value]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.texts[tag].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "hacked" not in page.texts["script"]
    assert not [value for _, _, value in page.attributes if "<wbr>" in value]
    assert "\u202e" not in html
    assert "⟨U+202E⟩" in html
    assert "{{ 7 * 7 }}" in html.replace("<wbr>", "")


def test_workbook_has_types_filters_and_no_formula(bank: Home) -> None:
    book = openpyxl.load_workbook(bank.current / "attribution.xlsx")
    assert book.sheetnames[0] == "Contents"
    filled = [t for t in SHEETS if bank.published(f"select count(*) from {t}")[0][0]]
    assert book.sheetnames[1:] == filled
    for table in filled:
        sheet = book[table]
        assert sheet.freeze_panes == "A2"
        assert sheet.auto_filter.ref is not None
        types = dict(
            bank.published(
                "select column_name, data_type from information_schema.columns "
                "where table_name = ?",
                [table],
            )
        )
        header, *rows = sheet.iter_rows()
        assert [cell.value for cell in header] == list(types)
        assert len(rows) == bank.published(f"select count(*) from {table}")[0][0]
        for row in rows:
            for cell, kind in zip(row, types.values(), strict=True):
                if cell.value is None:
                    continue
                expected = {"VARCHAR": "s", "DATE": "d", "TIMESTAMP": "d", "BOOLEAN": "b"}
                assert cell.data_type == expected.get(kind, "n"), (table, cell.coordinate)


def test_workbook_adds_up_to_the_marts(bank: Home) -> None:
    book = openpyxl.load_workbook(bank.current / "attribution.xlsx", read_only=True)
    for table, measures in {
        "channel_performance": ("conversions", "revenue", "cost"),
        "campaign_performance": ("conversions", "gross_conversions", "revenue", "cost"),
        "channel_credit": ("conversions", "revenue", "share", "share_high"),
        "channel_credit_daily": ("conversions", "revenue", "cost"),
        "conversion_paths": ("journeys", "conversions", "revenue"),
        "load_files": ("rows_read", "rows_loaded"),
    }.items():
        header, *rows = book[table].iter_rows(values_only=True)
        for measure in measures:
            column = header.index(measure)
            total = sum(row[column] or 0 for row in rows)
            [(expected,)] = bank.published(f"select sum({measure})::double from {table}")
            assert total == pytest.approx(expected, rel=1e-9), (table, measure)


def test_hostile_names_are_texts_in_the_workbook(hostile: Home) -> None:
    book = openpyxl.load_workbook(hostile.current / "attribution.xlsx")
    found = {cell.value for cell in book["channel_credit"]["E"]}
    assert set(HOSTILE) <= found
    assert all(
        cell.data_type != "f" and cell.hyperlink is None
        for sheet in book.worksheets[1:]
        for row in sheet.iter_rows()
        for cell in row
    )


def read_csv(path: Path, delimiter: str, encoding: str) -> list[dict[str, str]]:
    with path.open(encoding=encoding, newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def test_csv_says_what_the_marts_say(bank: Home, tmp_path: Path) -> None:
    columns = "model, channel, conversions, revenue, cost, return_on_spend"
    expected = bank.published(f"select {columns} from channel_performance order by model, channel")
    documents(bank, tmp_path, csv_decimal="comma")
    assert (
        not (bank.current / "csv" / "channel_performance.csv")
        .read_bytes()
        .startswith(b"\xef\xbb\xbf")
    )
    assert (tmp_path / "csv" / "channel_performance.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    for folder, delimiter, encoding, sign in (
        (bank.current, ",", "utf-8", "."),
        (tmp_path, ";", "utf-8-sig", ","),
    ):
        rows = read_csv(folder / "csv" / "channel_performance.csv", delimiter, encoding)
        rows.sort(key=lambda row: (row["model"], row["channel"]))

        def number(text: str, sign: str = sign) -> Decimal | None:
            assert not text or ({".", ","} - {sign}).isdisjoint(text)
            return Decimal(text.replace(",", ".")) if text else None

        for row, known in zip(rows, expected, strict=True):
            assert (row["model"], row["channel"]) == known[:2]
            assert [number(row[name]) for name in ("conversions", "revenue", "cost")] == [
                *known[2:5]
            ]
            ratio = number(row["return_on_spend"])
            assert (None if ratio is None else float(ratio)) == known[5]


@pytest.mark.parametrize(
    ("value", "point", "comma"),
    [
        ("null::varchar", "", ""),
        ("'=1+1'::varchar", "'=1+1", "'=1+1"),
        ("'=1+1'::enum('=1+1', 'b')", "'=1+1", "'=1+1"),
        ("-7::bigint", "-7", "-7"),
        ("true", "true", "true"),
        ("-0.50::decimal(2, 2)", "-0.5", "-0,5"),
        ("100.00::decimal(18, 2)", "100", "100"),
        ("100::decimal(18, 0)", "100", "100"),
        ("-1234.5678::decimal(38, 12)", "-1234.5678", "-1234,5678"),
        ("1.5e-7::double", "1.5e-07", "1,5e-07"),
        ("null::double", "", ""),
        ("date '2026-03-01'", "2026-03-01", "2026-03-01"),
        ("timestamp '2026-03-01 07:08:09'", "2026-03-01 07:08:09", "2026-03-01 07:08:09"),
    ],
)
def test_csv_texts_of_every_type(value: str, point: str, comma: str) -> None:
    with duckdb.connect() as con:
        con.execute(f'create table t as select {value} as "a ""b"')
        ((name, kind, *_),) = con.execute("describe t").fetchall()
        for decimal, expected in (("point", point), ("comma", comma)):
            (found,) = con.execute(f"select {_csv_text(name, kind, decimal)} from t").fetchone()
            assert (found or "") == expected


@pytest.mark.parametrize("delimiter", [",", ";"])
@given(values=st.lists(st.text('ab ,;"\r\n\u00e4=-'), min_size=1))
def test_csv_fields_are_in_quotes_where_python_puts_them(delimiter: str, values: list[str]) -> None:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerow([None, *values])
    with duckdb.connect() as con:
        con.execute("create table t (place integer, v varchar)")
        con.executemany("insert into t values (?, ?)", [(0, None), *enumerate(values, start=1)])
        for decimal in ("point", "comma"):
            field = _csv_field("v", "VARCHAR", decimal, delimiter).replace(
                _csv_text("v", "VARCHAR", decimal), "v"
            )  # as they are: what hides formulas has a test of its own
            found = con.execute(f"select {field} from t order by place").fetchall()
            assert delimiter.join(text for (text,) in found) + "\r\n" == file.getvalue()


def test_no_text_of_a_csv_file_is_a_formula(hostile: Home) -> None:
    rows = read_csv(hostile.current / "csv" / "channel_credit.csv", ";", "utf-8-sig")
    channels = {row["channel"] for row in rows}
    dangerous = {name for name in HOSTILE if name[0] in "=+-@＝"}
    assert {"'" + name for name in dangerous if "," not in name} <= channels
    assert "'+1,'=1+1;'@2" in channels
    assert set(HOSTILE) - dangerous <= channels
    for path in (hostile.current / "csv").iterdir():
        raw = path.read_text(encoding="utf-8-sig")
        # whatever delimiter a program guesses, no field begins like a formula
        for field in re.split(r'[;,\t]"?|\n"?', raw):
            assert not re.match(r"[=+@＝]", field), (path.name, field[:40])


def test_page_of_thirty_channels_ten_models_and_four_goals_is_small(
    bank: Home, tmp_path: Path
) -> None:
    html = page_alone(tmp_path, large(bank, tmp_path)).read_text()
    assert 500_000 < len(html.encode()) < 1_500_000
    # and all of it is there: a view for each of all goals and four, and ten models
    views = {
        tuple(re.findall(r'data-[gm]="(\d+)"', tag)) for tag in re.findall(r"<tbody[^>]*>", html)
    }
    assert len({view for view in views if len(view) == 2}) == 5 * 10
    assert Page(html).tags["tr"] > 5 * 10 * 30


def test_documents_leave_the_marts_alone(bank: Home, tmp_path: Path) -> None:
    before = (bank.current / "attribution.duckdb").read_bytes()
    documents(bank, tmp_path, bank.current, report_language="de")
    assert (tmp_path / "attribution.duckdb").read_bytes() == before
    page = (tmp_path / "report.html").read_text()
    assert '<html lang="de">' in page
    assert "Nichts: für die Tage" in page  # the version before says the same

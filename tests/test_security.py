"""What the engines may reach, what names may do, and where secrets may stand."""

import shutil

import duckdb
import pytest
from conftest import KEY, Home
from faults import folders, published_is_whole, say, texts_below, times

from attribution.errors import BuildError
from attribution.settings import load_settings
from attribution.transform import dbt
from attribution.warehouse import literal, open_reader, open_warehouse, quote

HOSTILE = (
    "O'Brien", 'say "x"', "a;drop table raw.touchpoints;--", "two\nlines", "tab\there",
    "=cmd|'/c calc'!A0", "@SUM(1)", "</script><script>alert(1)</script>", "../../etc/passwd",
    "[1]", "{{ var('x') }}", "%s %(x)s {0}", "\u202egnp.exe", "\\", "NULL", "'", '"', "$1", "?",
    "ünïcödé 🏦", "x" * 300,
)  # fmt: skip


@pytest.fixture
def confined(home: Home) -> Home:
    where = folders(home)
    (where.scratch / "spill").mkdir(parents=True)
    where.publish.mkdir()
    (home.path / "secret.csv").write_text("a,b\n1,2\n")
    return home


OUTSIDE = (
    "from read_csv('{home}/secret.csv')",
    "from read_text('{home}/secret.csv')",
    "from '{home}/state/../secret.csv'",
    "copy (select 1) to '{home}/out.csv'",
    "attach '{home}/other.duckdb'",
    "export database '{home}/out'",
    "install httpfs",
    "load httpfs",
    "from read_csv('https://127.0.0.1:1/x.csv')",
    "set enable_external_access = true",
    "set allowed_directories = ['/']",
)


@pytest.mark.parametrize("engine", ["warehouse", "reader"])
@pytest.mark.parametrize("statement", OUTSIDE)
def test_no_engine_leaves_its_folders(confined: Home, engine: str, statement: str) -> None:
    where, settings = folders(confined), load_settings(confined.dbt_project)
    opened = open_warehouse if engine == "warehouse" else open_reader
    with opened(where, settings) as con:
        with pytest.raises(duckdb.Error):
            con.execute(statement.format(home=confined.path))
        with pytest.raises(duckdb.Error, match="configuration has been locked"):
            con.execute("set memory_limit = '100GB'")
    assert not (confined.path / "out.csv").exists()


def test_a_link_inside_leads_nowhere(confined: Home) -> None:
    where, settings = folders(confined), load_settings(confined.dbt_project)
    where.archive.mkdir()
    (where.archive / "link.parquet").symlink_to(confined.path / "secret.csv")
    with open_warehouse(where, settings) as con, pytest.raises(duckdb.Error):
        con.execute(f"from read_csv('{where.archive}/../../secret.csv')")


@pytest.mark.parametrize("statement", OUTSIDE[:5])
def test_no_model_of_dbt_leaves_them(confined: Home, statement: str) -> None:
    """A model that reads the neighbour's file, as a hostile package might."""
    project = confined.path / "project"
    shutil.copytree(confined.dbt_project, project, ignore=shutil.ignore_patterns("target"))
    sql = statement.format(home=confined.path)
    hook = f'{{{{ config(pre_hook="{sql}") }}}}'
    (project / "models" / "staging" / "hostile.sql").write_text(hook + "\nselect 1 as x")
    home = Home(confined.path, project)
    where, settings = folders(home), load_settings(project)
    with open_warehouse(where, settings):
        pass
    with pytest.raises(BuildError, match=r"Permission Error|disabled by configuration"):
        dbt(where, settings, {}, ["run", "--select", "hostile"])


def test_quoting_is_undone_by_the_engine() -> None:
    with duckdb.connect() as con:
        for name in HOSTILE:
            table = f"create or replace table {quote(name)} as select {literal(name)} as x"
            con.execute(table)
            assert con.execute(f"select x from {quote(name)}").fetchall() == [(name,)]
            con.execute(f"drop table {quote(name)}")


def test_hostile_names_pass_every_command_as_data(after_run: Home) -> None:
    """As channel, campaign, goal, customer and file name; nothing is run, nothing is lost."""
    import csv
    import io

    home = after_run
    touches, conversions = io.StringIO(newline=""), io.StringIO(newline="")
    out = csv.writer(touches)
    out.writerow(["touchpoint_id", "customer_id", "occurred_at", "channel", "campaign"])
    for n, name in enumerate(HOSTILE):
        out.writerow([f"h{n}", f"h-{n}-{name}", "2026-01-03 10:00:00", name, name])
    out = csv.writer(conversions)
    out.writerow(["conversion_id", "customer_id", "converted_at", "goal", "revenue"])
    for n, name in enumerate(HOSTILE):
        out.writerow([f"{n}-{name}", f"h-{n}-{name}", "2026-01-04 10:00:00", name, 1])
    home.land("touchpoints", "a;'\"$(touch pwned)_2026-01-05.csv", touches.getvalue())
    home.land("conversions", "=cmd_2026-01-05.csv", conversions.getvalue())
    home.must("run")
    published_is_whole(home)
    goals = {row[0] for row in home.published("select distinct goal from channel_credit")}
    channels = {row[0] for row in home.published("select distinct channel from channel_credit")}
    trimmed = {name.strip() for name in HOSTILE}
    assert trimmed <= goals
    assert trimmed <= channels
    for name in HOSTILE[:5]:
        n = HOSTILE.index(name)
        assert home.must("explain", "--format", "json", f"{n}-{name}").stdout
    home.must("status")
    home.must("quarantine", "list")
    home.must("erase", *(f"h-{n}-{name}" for n, name in enumerate(HOSTILE)))
    left = {row[0] for row in home.published("select distinct goal from channel_credit")}
    assert left.isdisjoint(trimmed)
    assert list(home.path.rglob("pwned")) == []


def test_ids_and_the_key_stand_in_no_file_and_on_no_screen(after_run: Home) -> None:
    """A canary customer through run, refusal, explain, doctor: no byte below state/ or publish/."""
    canary, home = "CANARY-0815", after_run
    home.land(
        "conversions",
        "canary_2026-01-05.csv",
        "conversion_id,customer_id,converted_at,goal,revenue\n"
        f"cc,{canary},2026-01-04 10:00:00,account,1\n",
    )
    said = [
        home.attribution(*verb) for verb in (["run"], ["explain", "cc"], ["status"], ["doctor"])
    ]
    refused = home.attribution("run", "--set", "goals=[mortgage]")
    assert refused.returncode == 1
    for done in [*said, refused]:
        for secret in (canary, KEY):
            assert secret not in done.stdout + done.stderr
    needles = [canary.encode(), KEY.encode(), KEY.encode().hex().encode()]
    assert texts_below([home.path / "state", home.path / "publish"], needles) == []
    # and who reads what is published cannot tell who did what, not even by pseudonyms
    pseudonyms = [
        id.encode() for (id,) in home.warehouse("select distinct customer_id from raw.touchpoints")
    ]
    assert len(pseudonyms) == 3
    assert texts_below([home.path / "publish"], pseudonyms) == []
    assert texts_below([home.path / "state"], pseudonyms)


def test_small_cells_are_not_published(small_world: Home) -> None:
    """A path that fewer customers than small_cell took names no one."""
    assert small_world.published("select distinct path from conversion_paths") == [
        ("(rare paths)",)
    ]


@pytest.mark.skipif(times(0, 1) == 0, reason="5 million touchpoints: `make torture`")
def test_one_customer_of_millions_in_one_gigabyte(after_run: Home) -> None:
    home = after_run
    folder = home.path / "landing" / "touchpoints"
    with duckdb.connect() as con:
        con.execute(
            "copy (select 'b' || n as touchpoint_id, 'bot' as customer_id, "
            "timestamp '2025-12-01' + to_seconds(cast(n // 3 as integer)) as occurred_at, "
            "case n % 3 when 0 then 'search' when 1 then 'display' else 'e-mail' end as channel "
            "from range(5000000) as r(n)) "
            f"to '{folder / 'bot_2026-01-05.parquet'}' (format parquet)"
        )
    done = home.attribution("run", "--set", "memory_limit=1GB")
    assert done.returncode == 0, done.stderr
    assert home.published("select set_aside_rows from load_set_aside") == [(4_990_000,)]
    published_is_whole(home)
    done = home.attribution(
        "run", "--set", "memory_limit=1GB", "--set", "max_touchpoints_per_customer=10000000"
    )
    say(f"5 million touches of one customer, capped: published; uncapped: {done.stderr[-200:]}")
    assert done.returncode in (0, 1)
    published_is_whole(home)

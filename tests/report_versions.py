"""Versions to make documents of: a copy of a published one, and one as large as they come."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
from conftest import Home

from attribution.documents import write_documents
from attribution.report import render
from attribution.report_facts import read_facts
from attribution.settings import FITTED, HEURISTICS
from attribution.warehouse import open_published
from attribution.wording import Wording

TEN = [*HEURISTICS, "markov", "shapley", "shao_li", "ladder"]
assert set(TEN) <= set(HEURISTICS + FITTED)


HOSTILE = (
    "</script><script>hacked=1</script>",
    '"><img src=x onerror=hacked=1>',
    "' onmouseover='hacked=1",
    "=cmd|' /C calc'!A0",
    "+1,=1+1;@2",
    "-2+3",
    "@SUM(1+1)",
    "＝1+1",
    "\u202egpj.exe",
    "{{ 7 * 7 }}{% if 1 %}",
    "Größe & Ärger; \"ß\", 'é'",
    "عربي",
)


def documents(
    home: Home, folder: Path, previous: Path = Path("/nowhere"), **settings: Any
) -> dict[str, Any]:
    """Documents of a published version, made again in `folder` with other settings; manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(home.current / "attribution.duckdb", folder)
    manifest = home.manifest()
    manifest["settings"] |= settings
    write_documents(folder, manifest, previous)
    return manifest


def page_alone(folder: Path, manifest: dict[str, Any]) -> Path:
    """The page of a version, without workbook and CSV."""
    wording = Wording(manifest["settings"]["report_language"], "EUR")
    with open_published(folder) as con:
        facts = read_facts(con, manifest["settings"])
    path = folder / "report.html"
    path.write_text(render(facts, manifest, None, wording), encoding="utf-8")
    return path


def renamed(home: Home, folder: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """A published version whose channels, and the first goal, bear other names."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(home.current / "attribution.duckdb", folder)
    with duckdb.connect(folder / "attribution.duckdb") as con:
        old = con.execute(
            "select distinct channel from channel_credit where channel not like '(%' order by 1"
        ).fetchall()
        [(goal,)] = con.execute("select min(goal) from channel_credit").fetchall()
        channels = [(before, after) for (before,), after in zip(old, names, strict=True)]
        for table, column in con.execute(
            "select table_name, column_name from duckdb_columns() "
            "where column_name in ('channel', 'goal') order by all"
        ).fetchall():
            for before, after in channels if column == "channel" else [(goal, names[0])]:
                con.execute(f"update {table} set {column} = ? where {column} = ?", [after, before])
        for before, after in channels:
            con.execute("update conversion_paths set path = replace(path, ?, ?)", [before, after])
    return home.manifest()


def large(home: Home, folder: Path, channels: int = 30, goals: int = 4) -> dict[str, Any]:
    """A version of 30 channels, 10 models, 4 goals and two segments, in the tables of `home`."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = home.manifest()
    manifest["settings"] |= {"models": TEN, "window_days": 90}
    with duckdb.connect(folder / "attribution.duckdb") as con:
        con.execute(f"attach '{home.current / 'attribution.duckdb'}' as small (read_only)")
        for (table,) in con.execute(
            "select table_name from duckdb_tables() where database_name = 'small'"
        ).fetchall():
            rows = "" if table in ("load_files", "run_manifest", "load_set_aside") else "limit 0"
            con.execute(f"create table {table} as from small.{table} {rows}")
        con.execute("detach small")
        con.execute(
            "create table models as select unnest($models) as model, "
            "unnest(range(len($models))) as m",
            {"models": TEN},
        )
        con.execute(
            "create table channels as select 'campaign_channel_' || c as channel, c from range(?) "
            "as t(c) union all select '(unattributed)', ?",
            [channels, channels],
        )
        con.execute(
            "create table goals as select 'goal_' || g as goal, g from range(?) as t(g)", [goals]
        )
        for statement in LARGE:
            con.execute(statement, {"day": manifest["run_date"]} if "$day" in statement else None)
        con.execute("drop table models; drop table channels; drop table goals")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return manifest


LARGE = (
    "create table credit as select model, goal, channel, m, g, c, "
    "(1 + (c * 7 + m * 3 + g * 5) % 41)::double as weight "
    "from models cross join goals cross join channels",
    "create table shares as select *, "
    "weight / sum(weight) over (partition by model, goal) as share from credit",
    "insert into channel_credit by name select model, goal, 'all' as segment, "
    "'all' as segment_value, channel, share * (4000 - g * 500) as conversions, "
    "share * (4000 - g * 500) * 321.5 as revenue, share, share * 0.9 as share_low, "
    "share * 1.1 as share_high, false as few_conversions, 100 as influenced_conversions "
    "from shares",
    "insert into channel_credit by name select model, goal, segment, segment || '_value_' || v as "
    "segment_value, channel, share * 300 as conversions, share * 9e4 as revenue, share "
    "from shares cross join (values ('customer_status'), ('entry_channel')) as s(segment) "
    "cross join range(8) as v(v)",
    "insert into channel_performance by name select model, channel, "
    "sum(conversions) as conversions, sum(revenue) as revenue, 54321.5 as cost, "
    "54321.5 / sum(conversions) as cost_per_conversion, sum(revenue) / 54321.5 as return_on_spend, "
    "0.25 as change_vs_last_touch from channel_credit where segment = 'all' group by all",
    "insert into channel_credit_daily by name select $day::date - d::int as date, model, goal, "
    "channel, share * 44 as conversions, share * 14146 as revenue "
    "from shares cross join range(90) as days(d)",
    "insert into channel_credit_daily by name select $day::date - d::int as date, model, "
    "'(all goals)' as goal, channel, 0 as conversions, 0 as revenue, 603.5 as cost "
    "from models cross join channels cross join range(90) as days(d)",
    "insert into touchpoint_credit by name select 'last_touch' as model, "
    "'c' || j as conversion_id, 't' || j || '_' || p as touchpoint_id, 'goal_' || (j % 4) as goal, "
    "'campaign_channel_' || ((j * 13 + p * 7 + p * j) % 30) as channel, (p + 1)::int as position, "
    "((1 + j % 12 - p) * 50)::double as hours_to_conversion, 0 as credit, 0 as revenue_credit "
    "from range(12000) as journeys(j) cross join range(12) as touches(p) where p <= j % 12",
    "insert into conversion_paths by name select goal, "
    "'campaign_channel_' || p || ' > campaign_channel_' || (p + 1) % 30 as path, "
    "100 - p as journeys, 100 - p as conversions, 1e5 as revenue, "
    "3.25 as median_days_to_conversion "
    "from goals cross join range(40) as paths(p)",
    "insert into conversion_paths by name select goal, '(rare paths)' as path, 900 as journeys, "
    "900 as conversions, 1e6 as revenue, 9.5 as median_days_to_conversion from goals",
    "drop table credit",
    "drop table shares",
)

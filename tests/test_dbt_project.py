"""The dbt project: unit tests, data tests, what it says about itself, and whose SQL it speaks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from attribution.contract import read_contract
from attribution.errors import BuildError
from attribution.exports import load_exports
from attribution.pseudonyms import People
from attribution.publish import MARTS
from attribution.settings import FITTED, HEURISTICS, ROOT, Folders, Settings, load_settings
from attribution.transform import dbt
from attribution.warehouse import columns_of, open_warehouse, quote

PROJECT = ROOT / "dbt_project"
SQL = [*PROJECT.glob("models/**/*.sql"), *PROJECT.glob("tests/**/*.sql")]
# What DuckDB understands and other engines do not, or not so.
ENGINE_SPECIFIC = re.compile(
    r"::|\blist\(|\blist_|\bepoch|\bexclude\s*\(|\breplace\s*\(|\bqualify\b|\bstring_agg\b|\bunnest\b"
    r"|\bstrftime\b|\bstrptime\b|\barg_m(ax|in)\b|\bmedian\(|\bquantile|\bto_days\b|\bhash\(|\basof\b"
    r"|\b(group|order) by all\b|\bhugeint\b|\bregexp_matches\b|\bdate_trunc\b|\bpositional\b|<<|->",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Warehouse:
    """A warehouse whose raw tables are there and empty, with every model built on them."""

    folders: Folders
    settings: Settings

    def dbt(self, *arguments: str) -> dict[str, str]:
        """Run one dbt command as the line does; returns the status of each node."""
        results = self.folders.state / "dbt" / "run_results.json"
        results.unlink(missing_ok=True)
        overrides = {
            "goals": ["loan"],  # so that there are undeclared ones
            "models": [*HEURISTICS, *FITTED],  # so that no model of dbt is left out
        }
        try:
            dbt(self.folders, self.settings, overrides, arguments)
        except BuildError:
            if not results.exists():
                raise
        found = json.loads(results.read_text())["results"]
        return {result["unique_id"]: result["status"] for result in found}

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.folders.state / "dbt" / "manifest.json").read_text())

    def nodes(self, kind: str) -> dict[str, dict[str, Any]]:
        nodes = self.manifest["nodes"]
        return {name: node for name, node in nodes.items() if node["resource_type"] == kind}


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    home = tmp_path_factory.mktemp("dbt")
    folders = Folders(home / "landing", home / "state", home / "publish", PROJECT)
    folders.landing.mkdir()
    (folders.scratch / "spill").mkdir(parents=True)
    settings = load_settings(PROJECT)
    with open_warehouse(folders, settings) as con:
        contract = read_contract(folders.contract)
        load_exports(
            con, contract, folders, People(), "a load of nothing", pytest.fail, lambda *_: None, 1
        )
    warehouse = Warehouse(folders, settings)
    statuses = warehouse.dbt("build", "--exclude-resource-type", "unit_test", "exposure")
    assert set(statuses.values()) == {"success", "pass"}
    return warehouse


def test_every_unit_test_runs_and_passes(warehouse: Warehouse) -> None:
    declared = [
        test["name"]
        for path in PROJECT.glob("models/**/*.yml")
        for test in yaml.safe_load(path.read_text()).get("unit_tests", [])
    ]
    statuses = warehouse.dbt("test", "--select", "test_type:unit")
    assert len(statuses) == len(declared) == len(set(declared))
    assert {name: status for name, status in statuses.items() if status != "pass"} == {}


def test_every_data_test_can_fail(warehouse: Warehouse) -> None:
    """Garbage twice in every table, and a row of NULLs where it may be; no test may still pass."""
    with open_warehouse(warehouse.folders, warehouse.settings) as con:
        tables = con.execute(
            "select table_schema, table_name, list((column_name, data_type, is_nullable)) "
            "from information_schema.tables join information_schema.columns "
            "using (table_schema, table_name) "
            "where table_type = 'BASE TABLE' and table_name <> '_files' group by all order by all"
        ).fetchall()
        for number, (schema, table, columns) in enumerate(tables, start=900):
            target = f"{quote(schema)}.{quote(table)}"
            demanded = [column for column in columns if column[2] == "NO"]
            values = ", ".join(
                f"{_garbage(column, kind, number)} as {quote(column)}"
                for column, kind, _ in demanded or columns
            )
            con.execute(f"insert into {target} by name select {values} from range(2)")
            if not demanded:
                con.execute(f"insert into {target} default values")
    statuses = warehouse.dbt("test", "--select", "test_type:data")
    assert len(statuses) == len(warehouse.nodes("test"))
    assert {name: status for name, status in statuses.items() if status != "fail"} == {}


def _garbage(column: str, kind: str, number: int) -> str:
    """A value of its type that means nothing; numbers differ from table to table."""
    if kind == "VARCHAR":
        reserved = {"segment": "all", "goal": "(all goals)"}
        return f"'{reserved.get(column, '(unattributed)')}'"
    if kind in ("DATE", "TIMESTAMP"):
        return f"{kind} '2026-01-01'"
    return "true" if kind == "BOOLEAN" else str(number)


def test_every_model_and_column_is_described_and_there(warehouse: Warehouse) -> None:
    with open_warehouse(warehouse.folders, warehouse.settings) as con:
        for node in (warehouse.nodes("model") | warehouse.nodes("seed")).values():
            assert node["description"].strip(), node["name"]
            described = {name: column["description"] for name, column in node["columns"].items()}
            emitted = columns_of(con, node["schema"], node["name"])
            assert set(described) == set(emitted), node["name"]
            assert all(text.strip() for text in described.values()), node["name"]


def test_every_source_and_its_columns_are_described(warehouse: Warehouse) -> None:
    for source in warehouse.manifest["sources"].values():
        assert source["description"].strip(), source["name"]
        for name, column in source["columns"].items():
            assert column["description"].strip(), (source["name"], name)


def test_every_mart_is_somebodys_to_read(warehouse: Warehouse) -> None:
    exposures = {node["name"]: node for node in warehouse.manifest["exposures"].values()}
    assert set(exposures) == {"report", "workbook", "bi_tools"}
    for node in exposures.values():
        assert node["description"].strip(), node["name"]
    read = {name.split(".")[-1] for name in exposures["bi_tools"]["depends_on"]["nodes"]}
    assert read == set(MARTS)


def test_every_unit_test_says_what_it_holds(warehouse: Warehouse) -> None:
    for test in warehouse.manifest["unit_tests"].values():
        assert test["description"].strip(), test["name"]


def test_every_mart_has_an_enforced_contract_and_its_key(warehouse: Warehouse) -> None:
    marts = {n["name"]: n for n in warehouse.nodes("model").values() if n["schema"] == "marts"}
    assert set(marts) == set(MARTS)
    for name, node in marts.items():
        assert node["config"]["contract"]["enforced"], name
        assert all(column["data_type"] for column in node["columns"].values()), name
    keys = {
        node["attached_node"].split(".")[-1]: tuple(node["test_metadata"]["kwargs"]["columns"])
        for node in warehouse.nodes("test").values()
        if node.get("test_metadata", {}) and node["test_metadata"]["name"] == "unique_combination"
    }
    assert {name: keys.get(name) for name in MARTS} == MARTS


def test_engines_differ_in_macros_only() -> None:
    aside = re.compile(r"\{#.*?#\}|\{\{.*?\}\}|--[^\n]*", re.DOTALL)  # comments, calls of macros
    found = {
        path.name: match.group()
        for path in SQL
        if (match := ENGINE_SPECIFIC.search(aside.sub("", path.read_text())))
    }
    assert found == {}


def test_no_setting_has_a_default_in_sql() -> None:
    default = re.compile(r"\bvar\(\s*['\"]\w+['\"]\s*,")
    paths = [*SQL, *PROJECT.glob("macros/*.sql")]
    assert [path.name for path in paths if default.search(path.read_text())] == []

"""The rules of the house: who may import whom, and where names meet SQL."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

MODULES = sorted((ROOT / "attribution").rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Our own modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("attribution"):
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.startswith("attribution")}
    return found


def third_party(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
    return found - set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_nothing_imports_the_command_line(path: Path) -> None:
    if path.name != "__main__.py":
        assert "attribution.cli" not in imports(path)


@pytest.mark.parametrize("path", sorted((ROOT / "attribution/models").glob("*.py")))
def test_models_know_only_mathematics(path: Path) -> None:
    allowed = {
        f"attribution.{room}"
        for room in (
            *("errors", "paths", "statistics", "transitions", "coalitions", "customer_days"),
            "intervals",
        )
    }
    ours = {name for name in imports(path) if name.count(".") == 1}
    assert ours <= allowed
    assert third_party(path) <= {"attribution", "numpy", "scipy", "sklearn", "numba"}


def test_the_dag_imports_the_line_inside_its_tasks_only() -> None:
    path = ROOT / "dags" / "attribution_nightly.py"
    top = [
        n for n in ast.parse(path.read_text()).body if isinstance(n, ast.Import | ast.ImportFrom)
    ]
    assert not any("attribution" in ast.dump(node) for node in top)
    modules = {name for name in imports(path) if name.count(".") == 1}
    assert modules == {"attribution.errors", "attribution.pipeline"}


def test_only_the_warehouse_opens_the_engine() -> None:
    for path in MODULES:
        if "duckdb.connect(" in path.read_text():
            assert path.name == "warehouse.py"


def test_data_never_becomes_sql() -> None:
    """What an f-string puts into SQL is a name through quote(), a literal(), or SQL of our own."""
    ours = {
        "values", "rows", "columns", "reasons", "kept", "texts", "inner", "joins", "order", "table",
        "ids", "text", "local", "with_offset", "from_local", "fields", "problem", "kind", "value",
        "relation.row", "relation.sql", "column.type", "quoted", "refused", "listed", "changed",
        "names", "where", "is_theirs", "replaced", "line", "compiled",
        "newest", "PARQUET", "PARQUET_NUMBERED", "WRITTEN", "archive.WRITTEN",
    }  # fmt: skip
    words = ("select ", "insert ", "delete ", "update ", "create ", "alter ", "attach ", "copy ")
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.JoinedStr):
                continue
            constant = "".join(
                part.value.lower() for part in node.values if isinstance(part, ast.Constant)
            )
            if not constant.lstrip().startswith(words):
                continue
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    code = ast.unparse(part.value)
                    safe = code in ours or code.startswith(("quote(", "literal("))
                    assert safe, f"{path.name}: {code} stands in SQL"


def test_starting_the_command_line_imports_nothing_heavy() -> None:
    code = (
        "import sys; from attribution.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'great_expectations', 'dbt', 'airflow', 'pandas', 'duckdb', 'scipy', "
        "'sklearn', 'pyarrow', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_run_imports_what_its_steps_need_when_they_need_it() -> None:
    code = (
        "import sys, attribution.pipeline; "
        "print(sorted({'great_expectations', 'dbt', 'airflow', 'pandas', 'scipy', 'sklearn', "
        "'numba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_modules_stay_short() -> None:
    for path in MODULES:
        assert len(path.read_text().splitlines()) <= 350, path


def test_repository_names_no_machine_and_no_registry() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    needles = (str(ROOT), str(Path.home()) + "/", "pypi" + ".org", "pythonhosted" + ".org")
    for name in tracked:
        path = ROOT / name
        if path.is_file() and path.suffix not in (".png", ".gif"):
            text = path.read_text(encoding="utf-8")
            for needle in needles:
                assert needle not in text, f"{name}: {needle}"

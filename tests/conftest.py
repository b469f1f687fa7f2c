"""Places, real exports and whole runs that several test files share."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
import yaml
from hypothesis import settings
from processes import Run

from attribution import cli

gc.set_threshold(100_000, 50, 50)  # dbt makes millions of objects: a tenth of all time went here

settings.register_profile("same every time", derandomize=True, deadline=None)
settings.load_profile("same every time")

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ATTRIBUTION_SHARED", ROOT.parent / "shared"))
PROJECTS = Path(__file__).parent / "projects"
KEY = "a key for tests only"


# Tests that ask for these run the line, most of them more than once.
LONG_FIXTURES = {"home", "after_run", "small_world", "bank", "company", "airflow"}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that run the line come first, so that short ones are left to even out the end.

    One worker takes a whole file, but all that read the bank go to one, so that it is made once.
    """
    long = {item.path for item in items if LONG_FIXTURES & set(item.fixturenames)}
    items.sort(key=lambda item: item.path not in long)
    for item in items:
        group = "bank" if "bank" in item.fixturenames else item.path.name
        item.add_marker(pytest.mark.xdist_group(group))


def real_export(*parts: str) -> Path:
    """A file of the shared real exports; the test is skipped, with the reason, where it is not."""
    path = SHARED.joinpath("data", *parts)
    if not path.exists():
        pytest.skip(f"real export {path} is not here: set ATTRIBUTION_SHARED")
    return path


@dataclass(frozen=True)
class Home:
    """A home folder of its own, and the command line run in it.

    `attribution` runs a process of its own; `main` runs the same command in this one, which spares
    the long imports where a process is not what is tested.
    """

    path: Path
    dbt_project: Path = ROOT / "dbt_project"

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("ATTRIBUTION_")}
        return kept | {
            "ATTRIBUTION_HOME": str(self.path),
            "ATTRIBUTION_DBT_PROJECT": str(self.dbt_project),
            "ATTRIBUTION_HMAC_KEY": KEY,
        }

    def attribution(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        process = Run(self.environment | dict(environment or {}), arguments)
        out, err = process.communicate()
        assert process.returncode is not None
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def main(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (self.environment | dict(environment or {})).items():
                patch.setenv(name, value)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    code = cli.main(arguments)
                except SystemExit as stop:  # argparse
                    code = int(str(stop.code))
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def must(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = self.main(*arguments)
        assert done.returncode == 0, done.stderr
        return done

    def land(self, export: str, name: str, content: str | bytes | Path) -> Path:
        target = self.path / "landing" / export / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, target)
        else:
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        return target

    @property
    def current(self) -> Path:
        return self.path / "publish" / "current"

    def manifest(self) -> dict:
        return json.loads((self.current / "manifest.json").read_text())

    def hashes(self) -> dict[str, str]:
        tables = self.manifest()["tables"]
        return {name: table["sha256"] for name, table in tables.items() if "sha256" in table}

    def published(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple]:
        with duckdb.connect(self.current / "attribution.duckdb", read_only=True) as con:
            return con.execute(sql, list(parameters)).fetchall()

    def warehouse(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple]:
        path = self.path / "state" / "warehouse.duckdb"
        with duckdb.connect(path, read_only=True) as con:
            return con.execute(sql, list(parameters)).fetchall()


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture
def home(place: Path) -> Iterator[Home]:
    """An empty home, where those before it were: to dbt another place is another profile, and it
    would parse its project anew. What it parsed is left to the next.
    """
    home, parsed = Home(place / "home"), place / "dbt"
    (home.path / "landing").mkdir(parents=True)
    if parsed.exists():
        shutil.copytree(parsed, home.path / "state" / "dbt")
    yield home
    if (home.path / "state" / "dbt" / "partial_parse.msgpack").exists():
        shutil.rmtree(parsed, ignore_errors=True)
        shutil.copytree(home.path / "state" / "dbt", parsed)
    shutil.rmtree(home.path)


@pytest.fixture(scope="session")
def company(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Home]:
    """A company's own copy of the dbt project, made as the README says."""

    def make(name: str) -> Home:
        path = tmp_path_factory.mktemp(name)
        project = path / "dbt_project"
        shutil.copytree(ROOT / "dbt_project", project, ignore=shutil.ignore_patterns("target"))
        contract = project / "models" / "staging" / "_exports.yml"
        # what the company does not have is optional, what it has is appended
        text = contract.read_text().replace("optional: false", "optional: true", 1)
        contract.write_text(text + (PROJECTS / name / "exports.yml").read_text())
        for model in (PROJECTS / name / "models").iterdir():
            shutil.copy(model, project / "models" / "staging")
        declaration = project / "dbt_project.yml"
        declared = yaml.safe_load(declaration.read_text())
        own = yaml.safe_load((PROJECTS / name / "settings.yml").read_text())
        declared["vars"]["attribution"] |= own
        declaration.write_text(yaml.safe_dump(declared, sort_keys=False))
        (path / "home" / "landing").mkdir(parents=True)
        return Home(path / "home", project)

    return make


def land_small_world(home: Home) -> Home:
    """Four customers, written by hand."""
    home.land(
        "touchpoints",
        "t_2026-01-05.csv",
        "touchpoint_id,customer_id,occurred_at,channel,source,medium\n"
        "t1,k1,2026-01-01 10:00:00,search,,\n"
        "t2,k1,2026-01-02 10:00:00,,google,cpc\n"
        "t3,k2,2026-01-03 10:00:00,branch,,\n"
        "t4,v3,2026-01-03 11:00:00,search,,\n",
    )
    home.land(
        "conversions",
        "c_2026-01-05.csv",
        "conversion_id,customer_id,converted_at,goal,revenue,status\n"
        "c1,k1,2026-01-04 10:00:00,account,100,\n"
        "c2,k3,2026-01-04 10:00:00,account,50.5,booked\n"
        "c3,k4,2026-01-05 10:00:00,,7,\n"
        "c4,k2,2026-01-05 10:00:00,account,70,\n"
        "c4,k2,2026-01-05 12:00:00,account,70,cancelled\n",
    )
    home.land("identities", "i.csv", "anonymous_id,customer_id,linked_at\nv3,k3,2026-01-04\n")
    return home


def keep(home: Home, name: str = "kept") -> Home:
    """A copy of a home beside it; tests must not change it."""
    kept = Home(home.path.with_name(name), home.dbt_project)
    shutil.copytree(home.path, kept.path, symlinks=True)
    return kept


def put_back(kept: Home) -> Home:
    """The home as it was when it was kept, to do harm to.

    It lies where it ran: to dbt another place is another profile, and it would parse all anew.
    """
    home = Home(kept.path.with_name("home"), kept.dbt_project)
    shutil.rmtree(home.path)
    shutil.copytree(kept.path, home.path, symlinks=True)
    return home


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The small world after a run; tests must not change it."""
    home = land_small_world(Home(tmp_path_factory.mktemp("small_world") / "home"))
    assert "published" in home.must("run").stdout
    return keep(home)


@pytest.fixture
def after_run(small_world: Home) -> Home:
    """The small world after a run, to do harm to."""
    return put_back(small_world)


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A simulated bank, run once from simulation to publication; tests must not change it."""
    home = Home(tmp_path_factory.mktemp("bank") / "home")
    home.must("simulate", "--customers", "3000", "--days", "60")
    home.must("run")
    return keep(home)

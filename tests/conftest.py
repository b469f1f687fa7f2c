"""Places, real exports and whole runs that several test files share."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
import yaml
from hypothesis import settings

from attribution import cli

settings.register_profile("same every time", derandomize=True, deadline=None)
settings.load_profile("same every time")

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ATTRIBUTION_SHARED", ROOT.parent / "shared"))
PROJECTS = Path(__file__).parent / "projects"
KEY = "a key for tests only"


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
        return subprocess.run(
            [sys.executable, "-m", "attribution", *arguments],
            env=self.environment | dict(environment or {}),
            capture_output=True,
            text=True,
            check=False,
        )

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


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "landing").mkdir()
    return Home(tmp_path)


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


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A simulated bank, run once from simulation to publication; tests must not change it."""
    path = tmp_path_factory.mktemp("bank")
    home = Home(path)
    home.must("simulate", "--customers", "3000", "--days", "60")
    home.must("run")
    return home

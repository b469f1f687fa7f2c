"""The page of lineage and descriptions: whole, without rows of data, without a server."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Home

from attribution.publish import MARTS
from attribution.workbook import SHEETS


@pytest.fixture(scope="module")
def page(bank: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    publish = tmp_path_factory.mktemp("docs") / "publish"
    before = (bank.path / "state" / "warehouse.duckdb").stat()
    done = bank.main("docs", environment={"ATTRIBUTION_PUBLISH": str(publish)})
    assert (done.returncode, done.stdout) == (0, f"{publish / 'docs.html'}\n"), done.stderr
    assert (bank.path / "state" / "warehouse.duckdb").stat().st_mtime_ns == before.st_mtime_ns
    return publish / "docs.html"


def test_page_describes_every_mart_and_who_reads_it(page: Path) -> None:
    text = page.read_text()
    for name in (*(f"model.attribution.{mart}" for mart in MARTS), "exposure.attribution.report"):
        assert f'"{name}"' in text
    assert page.stat().st_mode & 0o777 == 0o444
    assert [path.name for path in page.parent.iterdir()] == ["docs.html"]


def test_exposures_name_what_page_and_workbook_read() -> None:
    text = (ROOT / "dbt_project" / "models" / "_exposures.yml").read_text()
    declared = {
        node["name"]: {re.findall(r"'(\w+)'", ref)[0] for ref in node["depends_on"]}
        for node in yaml.safe_load(text)["exposures"]
    }
    modules = [*(ROOT / "attribution").glob("report*.py"), ROOT / "attribution" / "restated.py"]
    said = set(re.findall(r"\w+", " ".join(module.read_text() for module in modules)))
    assert declared["report"] == said & set(MARTS)
    assert declared["workbook"] == set(SHEETS) & set(MARTS)


def test_page_holds_no_row_and_no_path_of_the_machine(page: Path, bank: Home) -> None:
    text = page.read_text()
    rows = bank.warehouse("select touchpoint_id, customer_id from raw.touchpoints limit 100")
    rows += bank.warehouse("select conversion_id, customer_id from raw.conversions limit 100")
    assert [value for row in rows for value in row if f'"{value}"' in text] == []
    for folder in (ROOT, bank.path, Path.home(), Path("/tmp/attribution")):  # noqa: S108
        assert f"{folder}/" not in text
    assert "attribution-docs-" not in text


def test_page_reaches_nothing_outside(page: Path) -> None:
    text = page.read_text()
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?https?:", text)


def test_page_opens_in_a_browser_from_the_disk(page: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine: install Debian's")
    done = subprocess.run(
        [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu"),
            *("--disable-background-networking", "--virtual-time-budget=20000", "--dump-dom"),
            f"{page.as_uri()}#!/model/model.attribution.campaign_performance",
        ],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    dom = re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL)
    assert "gross_return_on_spend" in dom, done.stderr[-2000:]
    assert "Credit beside cost by channel" in dom

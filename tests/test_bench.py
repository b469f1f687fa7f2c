"""What the benchmark generates, fits and draws; its figures are printed by `make bench`."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import bench  # noqa: E402
from bench_data import FORMS, Workload  # noqa: E402
from bench_docs import OTHERS, SQL_STEPS, drawn, rendered  # noqa: E402


def figures(cpu: float) -> bench.Figures:
    steps = ("decode scan", *SQL_STEPS, *OTHERS)
    return {step: {"cpu": cpu, "wall": cpu, "memory": 1, "written": 1} for step in steps}


def run(touchpoints: int, **other: Any) -> dict[str, Any]:
    usual = {"channels": 20, "touches": 5, "landing": "parquet", "memory_limit": "1GB"}
    made = {"machine": "m", "duckdb": "1", "on": "2026-01-01", "steps": figures(touchpoints / 1e5)}
    return {"touchpoints": touchpoints} | usual | made | other


def test_every_landing_holds_the_same(tmp_path: Path) -> None:
    found = []
    for form in FORMS:
        home, workload = tmp_path / form, Workload(2_000, 20, 5, form)
        workload.generate(home)
        workload.land_night(home, 0, 0.09)
        assert workload.customers == 400
        read = "read_parquet" if form == "parquet" else "read_csv"
        columns = "touchpoint_id, customer_id, occurred_at::timestamp, channel, campaign, mode"
        query = f"select {columns} from {read}(?) order by all"
        files = str(home / "landing" / "touchpoints" / f"*.{form}")
        found.append(duckdb.execute("set TimeZone = 'UTC'").execute(query, [files]).fetchall())
    assert len(found[0]) == 2_000 + 36
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("sizes", "exponent", "said"),
    [
        ((10**5, 10**6, 10**7), 1.2, "1.20"),
        ((10**5, 10**6, 10**7), 1.0, "1.00"),
        ((10**6, 5 * 10**6, 10**7), 1.2, ""),  # what is fixed would not fall out
    ],
)
def test_the_exponent_is_that_of_growth_or_not_said(
    sizes: tuple[int, ...], exponent: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever every run costs beside: 50 s here."""
    bench.show_exponent({size: figures(50 + 1e-6 * size**exponent) for size in sizes})
    assert capsys.readouterr().out.strip().rpartition(" ")[2] == said


def test_other_workloads_and_machines_have_rows_and_are_not_drawn_with_the_usual_one() -> None:
    usual, other, large = run(10**5), run(10**6, machine="n"), run(10**6)
    gzip = run(10**7, landing="csv.gz")
    assert rendered([usual, other, large, gzip]).count("\n| 1") == 4
    assert drawn([usual, other, large, gzip], large).count("<circle") == 2 * 3
    assert drawn([gzip], gzip).count("<circle") == 3  # alone, where there is no usual one


def test_says_what_it_takes() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPTS / "bench.py", "--help"], capture_output=True, text=True, check=True
    )
    assert "--memory-limit" in done.stdout

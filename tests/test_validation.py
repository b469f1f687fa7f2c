"""Gates: each expectation refuses the fault it is there for, and nothing passes vacuously."""

import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, Home, land_small_world

from attribution.errors import GateRefused
from attribution.validation import Finding, read_suite, refuse, validate

EXPECTATIONS = ROOT / "expectations"
PARAMETERS = {"max_bad_row_share": 0.01}

GOOD = {
    "exports": pd.DataFrame(
        {
            "subject": ["touchpoints/a.csv", "conversions/b.csv"],
            "state": ["loaded", "loaded"],
            "rows_read": [100, 7],
            "rejected_share": [0.01, 0.0],
            "extra_columns": [None, None],
            "reason": ["", ""],
            "size_ratio": [1.0, 1.2],
            "days_overdue": [0, 0],
        }
    ),
    "statistics": pd.DataFrame(
        {
            "subject": ["account: search", "account: branch"],
            "entered": [10.0, 4.0],
            "left_again": [10.0, 4.0],
            "channels": [12, 12],
            "share_unmapped": [0.0, 0.0],
            "rows_conflicting": [0, 0],
        }
    ),
    "credits": pd.DataFrame(
        {
            "subject": ["markov, account, search", "markov, account, branch"],
            "share": [0.25, 0.75],
            "share_lies_in_interval": [True, True],
            "conversions_gap": [0.0, 1e-12],
            "revenue_gap": [0.0, 1e-12],
            "worst_conversion_gap": [0.0, 1e-12],
        }
    ),
}

# boundary, column, planted value in the second row, and the severity of what must be found
FAULTS = [
    ("exports", "state", "quarantined", "critical"),
    ("exports", "state", "absent", "critical"),
    ("exports", "rejected_share", 0.02, "critical"),
    ("exports", "rows_read", 0, "warning"),
    ("exports", "extra_columns", "utm_id", "warning"),
    ("exports", "size_ratio", 0.2, "warning"),
    ("exports", "size_ratio", 5.0, "warning"),
    ("exports", "days_overdue", 1, "warning"),
    ("statistics", "entered", 5.0, "critical"),
    ("statistics", "left_again", -4.0, "critical"),
    ("statistics", "subject", None, "critical"),
    ("statistics", "channels", 241, "critical"),
    ("statistics", "share_unmapped", 0.06, "warning"),
    ("statistics", "rows_conflicting", 1, "warning"),
    ("credits", "share", None, "critical"),
    ("credits", "share", 1.01, "critical"),
    ("credits", "share", -0.01, "critical"),
    ("credits", "share_lies_in_interval", False, "critical"),
    ("credits", "conversions_gap", 1e-8, "critical"),
    ("credits", "conversions_gap", None, "critical"),
    ("credits", "revenue_gap", 1e-8, "critical"),
    ("credits", "revenue_gap", None, "critical"),
    ("credits", "worst_conversion_gap", 1e-8, "critical"),
]


def planted(boundary: str, column: str, value: object) -> pd.DataFrame:
    frame = GOOD[boundary].copy()
    frame[column] = [frame[column].iloc[0], value]
    return frame


@pytest.mark.parametrize("boundary", GOOD)
def test_good_frame_passes(boundary: str) -> None:
    assert validate(read_suite(EXPECTATIONS, boundary), GOOD[boundary], PARAMETERS) == []


@pytest.mark.parametrize(("boundary", "column", "value", "severity"), FAULTS)
def test_planted_fault_is_found_and_named(
    boundary: str, column: str, value: object, severity: str
) -> None:
    findings = validate(
        read_suite(EXPECTATIONS, boundary), planted(boundary, column, value), PARAMETERS
    )
    assert any(column in finding.message for finding in findings)
    assert findings[0].severity == severity
    if value is not None:
        assert any(f"1 of 2 rows: {GOOD[boundary]['subject'][1]}" in f.message for f in findings)


@pytest.mark.parametrize("boundary", GOOD)
def test_every_expectation_has_its_fault(boundary: str) -> None:
    """Taken alone, each expectation finds one of the planted faults."""
    suite = read_suite(EXPECTATIONS, boundary)
    for expectation in suite["expectations"]:
        alone = suite | {"expectations": [expectation]}
        assert any(
            validate(alone, planted(name, column, value), PARAMETERS)
            for name, column, value, _ in FAULTS
            if name == boundary
        ), expectation


def test_empty_frame_and_empty_suite_are_findings() -> None:
    suite = read_suite(EXPECTATIONS, "credits")
    [finding] = validate(suite, GOOD["credits"].head(0), PARAMETERS)
    assert finding == Finding("critical", "credits: there is nothing to check, 0 rows")
    [finding] = validate(suite | {"expectations": []}, GOOD["credits"], PARAMETERS)
    assert finding == Finding("critical", "credits: the suite is empty")


def test_column_of_nulls_checks_nothing() -> None:
    suite = read_suite(EXPECTATIONS, "statistics")
    frame = GOOD["statistics"].assign(share_unmapped=[None, None])
    findings = validate(suite, frame, PARAMETERS)
    assert [finding.severity for finding in findings] == ["critical"]
    assert "share_unmapped is NULL throughout" in findings[0].message


def test_missing_column_is_critical_even_where_it_would_warn() -> None:
    suite = read_suite(EXPECTATIONS, "statistics")
    findings = validate(suite, GOOD["statistics"].drop(columns="share_unmapped"), PARAMETERS)
    assert findings[0].severity == "critical"
    assert "could not be evaluated" in findings[0].message


def test_refusal_names_every_critical_and_no_warning() -> None:
    findings = [Finding("critical", "one"), Finding("critical", "two"), Finding("warning", "three")]
    with pytest.raises(GateRefused, match="check credits refused: one; two; nothing") as refused:
        refuse("check credits", findings)
    assert "three" not in str(refused.value)
    assert refused.value.exit_code == 3
    refuse("check credits", findings[2:])


@pytest.mark.parametrize("path", sorted(EXPECTATIONS.glob("*.json")), ids=lambda path: path.stem)
def test_suites_say_why_and_how_bad(path: Path) -> None:
    suite = json.loads(path.read_text())
    assert suite["name"] == path.stem
    assert path.with_suffix(".sql").exists()
    for expectation in suite["expectations"]:
        assert expectation["severity"] in ("critical", "warning")
        assert len(expectation["meta"]["why"]) > 20


def test_an_export_that_stopped_and_one_that_shrank_are_told(home: Home) -> None:
    """Ten days of both; then one goes on with a tenth of its rows and the other stops.

    That the other's last file has five rows instead of one is nothing to tell: it may be chance.
    """
    for day in range(1, 14):
        rows = 2 if day == 13 else 20
        home.land(
            "touchpoints",
            f"t_2026-01-{day:02d}.csv",
            "touchpoint_id,customer_id,occurred_at,channel\n"
            + "".join(f"t{day}_{n},k{n},2026-01-{day:02d},search\n" for n in range(rows)),
        )
        if day in (1, 2, 3, 4, 5, 6, 8, 9, 10):  # it paused for two days once
            home.land(
                "conversions",
                f"c_2026-01-{day:02d}.csv",
                "conversion_id,customer_id,converted_at\n"
                + "".join(
                    f"c{day}_{n},k{day},2026-01-{day:02d} 10:00:00\n"
                    for n in range(5 if day == 10 else 1)
                ),
            )
    home.must("load")
    told = home.must("check", "exports").stderr
    assert "size_ratio): 1 of 22 rows: touchpoints/t_2026-01-13.csv (0.1)" in told
    assert "days_overdue): 1 of 22 rows: conversions/c_2026-01-10.csv (1)" in told
    home.must("load", "--set", "critical_checks=[days_overdue]")
    refused = home.main("check", "exports", "--set", "critical_checks=[days_overdue]")
    assert refused.returncode == 3
    assert "days_overdue" in refused.stderr


def test_a_lookback_for_a_goal_that_never_occurs_is_told(home: Home) -> None:
    land_small_world(home)
    misspelt = ("--set", "lookback_days_by_goal={mortage: 60}")
    home.must("load", *misspelt)
    home.must("check", "exports", *misspelt)
    told = home.must("build", *misspelt).stderr
    assert "lookback_days_by_goal: no conversion is of the goal 'mortage'" in told

"""The verbs of whoever looks into the numbers: credit, explain, simulate, evaluate."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attribution.errors import UsageError
from attribution.logs import LOGGER

SET: dict[str, Any] = {
    "action": "append", "default": [], "metavar": "KEY=VALUE", "dest": "overrides",
    "help": "a setting above dbt_project.yml, e.g. --set lookback_days=60",
}  # fmt: skip


def add_verbs(verbs: Any) -> None:
    """Add the verbs to the command line's."""
    credit = verbs.add_parser("credit", help="credit from an aggregated path file")
    credit.add_argument(
        "paths", type=Path, metavar="PATHS.csv",
        help="columns path (`a > b > c`), conversions, and if known revenue and nulls",
    )  # fmt: skip
    credit.add_argument(
        "--model", required=True, metavar="NAME", help="as in docs/models.md: markov, shapley, ..."
    )
    credit.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the model"
    )
    credit.add_argument("--format", choices=("table", "csv", "json"), default="table")
    credit.add_argument("--separator", default=" > ", help="between the steps of a path")
    credit.add_argument("--delimiter", default=",", help="between the columns of the file")
    credit.add_argument(
        "--columns", default="", metavar="OURS=THEIRS,...",
        help="e.g. conversions=total_conversions,nulls=total_null",
    )  # fmt: skip
    credit.add_argument(
        "--transform", action="append", default=[], metavar="NAME[=VALUE]",
        help="shorten paths first: collapse_consecutive, first_occurrence_only, frequency, "
        "keep_last=N, drop=CHANNEL, drop_trailing=CHANNEL",
    )  # fmt: skip
    credit.set_defaults(command=_credit)
    explain = verbs.add_parser(
        "explain", help="a conversion's touchpoints and each model's credit for them"
    )
    explain.add_argument(
        "conversion_id", metavar="CONVERSION_ID", help="as the export `conversions` has it"
    )
    explain.add_argument("--format", choices=("table", "json"), default="table")
    explain.set_defaults(command=_explain)

    simulate = verbs.add_parser("simulate", help="write bank and insurance exports to landing/")
    simulate.add_argument("--customers", type=int, default=20_000, help="default: 20000")
    simulate.add_argument("--days", type=int, default=90, help="default: 90, from 2026-01-01")
    simulate.add_argument("--seed", type=int, default=7, help="the same seed, the same bytes")
    simulate.set_defaults(command=_simulate)

    evaluate = verbs.add_parser(
        "evaluate", help="how far every model is from the truth, on simulated worlds that know it"
    )
    evaluate.add_argument(
        "--variant", action="append", metavar="NAME", help="default: 70 %% recorded"
    )
    evaluate.add_argument("--confounding", type=float, action="append", metavar="0..1")
    evaluate.add_argument("--model", action="append", metavar="NAME", help="default: all")
    evaluate.add_argument("--seeds", type=int, default=1, help="worlds drawn of each kind")
    evaluate.add_argument("--customers", type=int, default=20_000)
    evaluate.add_argument("--set", **SET)
    evaluate.add_argument("--format", choices=("table", "json"), default="table")
    evaluate.set_defaults(command=_evaluate)


def overrides(chosen: argparse.Namespace) -> dict[str, Any]:
    """Settings of `--set`."""
    import yaml

    try:
        return {
            key: yaml.safe_load(value) for key, value in pairs("--set", chosen.overrides).items()
        }
    except yaml.YAMLError:
        raise UsageError("--set: a value is no YAML, such as 60, true or [a, b]") from None


def pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """The key=value texts of an option, by key."""
    pairs = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"{option} {text!r}: write it as key=value")
        pairs[key.strip()] = value
    return pairs


def warn(figures: Any) -> None:
    """Say the warnings of some steps."""
    for step in figures:
        for warning in step.get("warnings", []):
            LOGGER.warning(warning)


def _credit(chosen: argparse.Namespace) -> int:
    import warnings

    from attribution.path_credit import credit_from_paths
    from attribution.path_transforms import transform
    from attribution.paths import read_paths

    columns = pairs("--columns", [text for text in chosen.columns.split(",") if text])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        paths = read_paths(
            chosen.paths, separator=chosen.separator, delimiter=chosen.delimiter, columns=columns
        )
        if chosen.transform:
            paths = transform(paths, chosen.transform)
        options = pairs("--option", chosen.option)
        credit = credit_from_paths(paths, chosen.model, options).as_json()
    warn([{"warnings": sorted({str(warning.message) for warning in said})}])
    if chosen.format == "json":
        print(json.dumps(credit, indent=1, ensure_ascii=False))
    elif chosen.format == "csv":
        text = io.StringIO(newline="")
        names = list(dict.fromkeys(name for row in credit["channels"] for name in row))
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(credit["channels"])
        print(text.getvalue(), end="")
    else:
        _print_credit(credit)
    return 0


def _print_credit(credit: dict[str, Any]) -> None:
    from attribution.terminal import number, print_rows

    has_effects = any("removal_effect" in row for row in credit["channels"])
    rows = [
        [
            row["channel"],
            number(row["conversions"], ",.2f"),
            number(row["revenue"], ",.2f"),
            number(row["share"], ".2%"),
            _interval(row),
            *([number(row.get("removal_effect"), ".4f")] if has_effects else []),
        ]
        for row in sorted(credit["channels"], key=lambda row: -row["conversions"])
    ]
    header = ["channel", "conversions", "revenue", "share", "95 % interval"]
    print_rows(credit["model"], header + ["removal effect"] * has_effects, rows)


def _interval(row: dict[str, Any]) -> str:
    if row["share_low"] is None:
        return ""
    return f"{row['share_low']:.2%} to {row['share_high']:.2%}"


def _explain(chosen: argparse.Namespace) -> int:
    from attribution.explain import explain, print_explained
    from attribution.settings import Folders

    explained = explain(Folders.from_environment(), chosen.conversion_id)
    if chosen.format == "json":
        print(json.dumps(explained, indent=1, ensure_ascii=False))
    else:
        print_explained(explained)
    return 0


def _simulate(chosen: argparse.Namespace) -> int:
    from attribution.settings import Folders
    from attribution.simulate import simulate
    from attribution.terminal import progress

    folders = Folders.from_environment()
    with progress() as report:
        rows = simulate(
            folders.landing,
            customers=chosen.customers,
            days=chosen.days,
            seed=chosen.seed,
            progress=lambda done, total: report("simulate", done, total, "days"),
        )
    print(f"{folders.landing}: " + ", ".join(f"{n:,} {export}" for export, n in rows.items()))
    return 0


def _evaluate(chosen: argparse.Namespace) -> int:
    from attribution.evaluate import CONFOUNDING, evaluate
    from attribution.settings import FITTED, HEURISTICS
    from attribution.terminal import number, print_rows, progress

    with progress() as report:
        rows = list(
            evaluate(
                chosen.variant or ["70 % recorded"],
                chosen.confounding or CONFOUNDING,
                range(1, chosen.seeds + 1),
                chosen.customers,
                chosen.model or (*HEURISTICS, *FITTED),
                lambda done, total, what: report("evaluate", done, total, what),
                overrides(chosen),
            )
        )
    if chosen.format == "json":
        print(json.dumps(rows, indent=1))
        return 0
    figures = ("error", "null_share", "organic", "true_organic", "coverage")
    shown = [
        [
            f"{row['variant']}, {row['confounding']:g}, {row['seed']}: {row['model']}",
            *(number(row[name], ".2%") for name in figures),
            number(row["rank_correlation"], ".2f"),
        ]
        for row in rows
    ]
    header = ["variant, confounding, seed: model", "error", "without effect", "organic", "true"]
    print_rows("shares against the truth", [*header, "coverage", "rank corr."], shown)
    return 0

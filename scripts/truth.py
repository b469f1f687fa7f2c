"""Every model against worlds whose truth is known: docs/truth.json, and docs/truth.md from it.

Worlds are drawn seed by seed, so that a run may be stopped after any seed of a variant: what is
done stands in the JSON file, and a later run goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections import defaultdict
from datetime import date
from pathlib import Path
from statistics import mean, median

from attribution.evaluate import CONFOUNDING, evaluate
from attribution.known_world import NULL_CHANNEL, VARIANTS
from attribution.settings import FITTED, HEURISTICS

LADDER = 5  # raised where the ladder finds other figures: rows bear it
ANEW = 3  # since then intervals are today's, and shares where touches are asked
DOCS = Path(__file__).resolve().parents[1] / "docs"
RECORDING = tuple(VARIANTS)[:4]
# too slow, or too hungry on long paths, for every world: in the first variant only
SLOW = {"additive_hazard", "path_counterfactual"}
# what the ladder is built for, each with the most that its mean error may be
GOALS = {
    "all steps recorded": 0.005,
    "70 % recorded": 0.005,
    "40 % recorded": 0.005,
    "effects up to 3 days late": 0.008,
    "3 % a day drop out": 0.01,
    "retargeting after a rung": 0.01,
    "uneven customers": 0.01,
    "sparse contacts": 0.01,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--only-render", action="store_true", help="write truth.md again")
    parser.add_argument("--again", metavar="MODEL", help="measure a model anew in worlds done")
    parser.add_argument("--model", action="append", help="these only, in worlds not yet done")
    parser.add_argument("--variant", action="append", choices=VARIANTS, help="these only")
    chosen = parser.parse_args()
    path = DOCS / "truth.json"
    found = json.loads(path.read_text()) if path.exists() else {"machine": machine(), "worlds": []}
    if not chosen.only_render:
        for seed in range(1, chosen.seeds + 1):
            for variant in chosen.variant or VARIANTS:
                measure(found, variant, seed, chosen.customers, path, chosen.again, chosen.model)
    (DOCS / "truth.md").write_text(rendered(found), encoding="utf-8")
    (DOCS / "truth.svg").write_text(drawn(found), encoding="utf-8")


def measure(
    found: dict,
    variant: str,
    seed: int,
    customers: int,
    path: Path,
    again: str | None,
    some: list[str] | None,
) -> None:
    """Add every model's rows of a variant, or those of some; or put those of one model into the
    place of its former ones, of an earlier ladder.
    """
    today = date.today().isoformat()
    todo: dict[tuple[str, ...], list[float]] = defaultdict(list)  # confounding by models to measure
    for confounding in CONFOUNDING if variant in RECORDING else (0.0, 1.0):
        rows = _of_world(found, (variant, confounding, seed))
        known = {row["model"] for row in rows}
        mine = [row for row in rows if row["model"] == again]
        # last_touch is measured with all models; some of those may have been refused there
        is_done = set(some) <= known if some else "last_touch" in known
        if (is_done and not mine) or any(row.get("ladder") == LADDER for row in mine):
            continue
        wanted = some or _models(variant, seed)
        models = [again] if mine else [model for model in wanted if model not in known]
        todo[tuple(models)].append(confounding)
    for models, confoundings in todo.items():
        print(f"seed {seed}: {variant}, {', '.join(models)}", file=sys.stderr, flush=True)
        rows = list(evaluate([variant], confoundings, [seed], customers, models))
        for confounding in confoundings if again else ():
            for row in _of_world(found, (variant, confounding, seed)):
                if row["model"] == again:
                    found["worlds"].remove(row)
        found["worlds"] += [row | {"on": today, "ladder": LADDER} for row in rows]
        found["customers"] = customers
        save(found, path)


def _of_world(found: dict, world: tuple[str, float, int]) -> list[dict]:
    return [
        row for row in found["worlds"] if (row["variant"], row["confounding"], row["seed"]) == world
    ]


def save(found: dict, path: Path) -> None:
    """A row a line, figures to six places."""
    rows = [
        json.dumps({n: round(v, 6) if isinstance(v, float) else v for n, v in row.items()})
        for row in found["worlds"]
    ]
    head = json.dumps({name: value for name, value in found.items() if name != "worlds"})
    path.write_text(f'{head[:-1]}, "worlds": [\n' + ",\n".join(rows) + "\n]}\n", encoding="utf-8")


def _models(variant: str, seed: int) -> list[str]:
    return [
        model
        for model in (*HEURISTICS, *FITTED)
        if model not in SLOW or (variant == RECORDING[0] and seed == 1)
    ]


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def rendered(found: dict) -> str:
    rows = found["worlds"]
    seeds = sorted({row["seed"] for row in rows})
    others = max(row["seed"] for row in rows if row["model"] != "ladder")
    by: dict[tuple[str, float, str], list[dict]] = defaultdict(list)
    for row in rows:
        by[row["variant"], row["confounding"], row["model"]].append(row)
    lines = [
        "# Every model against a known truth",
        "",
        "Written by `make truth`; do not edit. Simulated customers whose channels have known "
        "effects (`attribution/known_world.py`), their exports taken through the nightly line, "
        "and every model's shares compared with the Shapley values of the causal game: conversions "
        "if only some channels acted. Errors are mean absolute differences of the six channels' "
        "shares, in percentage points.",
        "",
        f"{found['customers']:,} customers, 60 days, seeds {seeds[0]} to {seeds[-1]}; rates and "
        f"effects are drawn anew with each seed. {found['machine']}. Where the truth has to be "
        "simulated it is that of 200,000 customers, itself uncertain by about 0.1 points.",
        "",
        "![Error of the ladder and of all other models, by variant](truth.svg)",
        "",
        "## The ladder, and the best of all other models",
        "",
        f"The other models were measured with seeds up to {others} alone. "
        "`gone wrong` is the worst world. The best other model is chosen anew for every row, by "
        "hindsight, which nobody has in life. `anew`: so many of the worlds were measured by the "
        "ladder as it is, the others when it had one class of activity for all customers, or when "
        "intervals took effects that are held at 0 for known. `coverage` is that of the former, "
        "where there are any.",
        "",
        "| variant | confounding | worlds | anew | ladder | gone wrong | goal "
        f"| best other | ratio | ladder: {NULL_CHANNEL} | organic | true | coverage |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for variant in VARIANTS:
        for confounding in CONFOUNDING:
            mine = by.get((variant, confounding, "ladder"))
            if mine:
                lines.append(_row(variant, confounding, mine, by))
    lines += [
        "",
        f"Social is met as often as the others and has no effect at all: `ladder: {NULL_CHANNEL}` "
        "is the mean share in percent that the ladder pays to it. `organic` is the ladder's share "
        "of conversions that no channel caused, beside the true one. `coverage` counts channels "
        "whose true share lies in the 95 % interval.",
        "",
        "## All models",
        "",
        "Mean error in points over all worlds of a kind: recording (every step, 70 %, 40 %, 10 %), "
        "the other variants, and what the channel without effect receives, in percent.",
        "",
        "| model | recording | other variants | without effect | rank correlation | coverage |",
        "|---|---|---|---|---|---|",
    ]
    models = sorted(
        {row["model"] for row in rows},
        key=lambda model: mean(row["error"] for row in rows if row["model"] == model),
    )
    for model in models:
        of = [row for row in rows if row["model"] == model]
        lines.append(
            f"| {model} | {_points([r['error'] for r in of if r['variant'] in RECORDING])} "
            f"| {_points([r['error'] for r in of if r['variant'] not in RECORDING])} "
            f"| {_points([r['null_share'] for r in of])} "
            f"| {median(r['rank_correlation'] for r in of):.2f} "
            f"| {_coverage(of)} |"
        )
    lines += [
        "",
        "additive_hazard and path_counterfactual were fitted to some of these worlds only: they "
        "take as long as all others together.",
        "",
    ]
    return "\n".join(lines)


def _row(variant: str, confounding: float, mine: list[dict], by: dict) -> str:
    others = {
        model: mean(row["error"] for row in rows)
        for (name, intent, model), rows in by.items()
        if (name, intent) == (variant, confounding) and model != "ladder"
    }
    best = min(others, key=others.__getitem__)
    errors = [row["error"] for row in mine]
    anew = _anew(mine)
    goal = f"{100 * GOALS[variant]:.1f}" if variant in GOALS else ""
    return (
        f"| {variant} | {confounding:g} | {len(mine)} | {len(anew)} "
        f"| {_points(errors)} | {100 * max(errors):.2f} "
        f"| {goal} | {100 * others[best]:.1f} ({best}) | {others[best] / mean(errors):.0f}x "
        f"| {_points([row['null_share'] for row in mine])} "
        f"| {100 * mean(row['organic'] for row in mine):.1f} "
        f"| {100 * mean(row['true_organic'] for row in mine):.1f} | {_coverage(anew or mine)} |"
    )


def _anew(rows: list[dict]) -> list[dict]:
    return [row for row in rows if row.get("ladder", 0) >= ANEW]


def drawn(found: dict) -> str:
    """A dot for every model and variant, the ladder's filled: error in points, as SVG."""
    left, top, line, width, most = 250, 40, 24, 560, 16.0

    def x(points: float) -> float:
        return left + width * min(points, most) / most

    names = [v for v in VARIANTS if any(row["variant"] == v for row in found["worlds"])]
    bottom = top + line * len(names)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 40}" '
        f'height="{bottom + 50}" font-family="sans-serif" font-size="13" fill="#333">',
        f'<rect width="100%" height="{bottom + 50}" fill="#fff"/>',
        f'<text x="{left}" y="20">mean error of a channel\'s share, percentage points: '
        '<tspan fill="#c2410c" font-weight="bold">ladder</tspan>, '
        '<tspan fill="#64748b">every other model</tspan></text>',
    ]
    for points in range(0, int(most) + 1, 2):
        parts += [
            f'<line x1="{x(points)}" x2="{x(points)}" y1="{top - 8}" y2="{bottom}" '
            'stroke="#e2e8f0"/>',
            f'<text x="{x(points)}" y="{bottom + 20}" text-anchor="middle">{points}</text>',
        ]
    for place, variant in enumerate(names):
        y = top + line * place + line / 2
        parts.append(f'<text x="{left - 12}" y="{y + 4}" text-anchor="end">{variant}</text>')
        errors: dict[str, list[float]] = defaultdict(list)
        for row in found["worlds"]:
            if row["variant"] == variant:
                errors[row["model"]].append(100 * row["error"])
        for model in sorted(errors, key=lambda model: model == "ladder"):
            mine = model == "ladder"
            style = 'fill="#c2410c" r="6"' if mine else 'fill="none" stroke="#64748b" r="4"'
            parts.append(f'<circle cx="{x(mean(errors[model])):.1f}" cy="{y}" {style}/>')
    return "\n".join([*parts, "</svg>", ""])


def _points(shares: list[float]) -> str:
    return f"{100 * mean(shares):.2f}" if shares else ""


def _coverage(rows: list[dict]) -> str:
    known = [row["coverage"] for row in rows if row["coverage"] is not None]
    return f"{100 * mean(known):.0f} %" if known else ""


if __name__ == "__main__":
    sys.exit(main())

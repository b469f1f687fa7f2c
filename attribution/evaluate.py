"""How far every model is from the truth, on exports of worlds whose truth is known.

The exports take the way of every night: landed, loaded, built by dbt, and fitted by the same code.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import stats

from attribution import pipeline
from attribution.errors import UsageError
from attribution.known_world import (
    CHANNELS,
    DAYS,
    NULL_CHANNEL,
    STEPS,
    VARIANTS,
    Lives,
    World,
    draw_world,
    true_values,
    watch,
)
from attribution.models.shapley_sets import shapley_values
from attribution.paths import Floats
from attribution.settings import FITTED, HEURISTICS, Folders, load_settings
from attribution.warehouse import open_warehouse

FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
CONFOUNDING = (0.0, 0.5, 1.0)
TRUTH_CUSTOMERS = 200_000  # where the truth has to be simulated
LINE = ("load", "check exports", "build", "check statistics", "attribute")
SETTINGS: Mapping[str, Any] = {
    "steps": list(STEPS),
    "lookback_days": DAYS,
    "window_days": 90,
    "pseudonymise": False,
    "reporting_timezone": "UTC",
}
GOAL, OTHER = "conversion", "another product"
CREDIT = """
select model, channel, share, share_low, share_high
from raw._credit_channels
where segment = 'all' and goal = ?
order by model, channel
"""


class Truth(NamedTuple):
    """share : (K,) of what channels cause, sums to 1; organic : share of all that none does."""

    share: Floats
    organic: float


def evaluate(
    variants: Sequence[str] = tuple(VARIANTS),
    confounding: Sequence[float] = CONFOUNDING,
    seeds: Sequence[int] = (1,),
    customers: int = 20_000,
    models: Sequence[str] = (*HEURISTICS, *FITTED),
    progress: Callable[[int, int, str], None] = lambda *_: None,
    overrides: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[dict[str, Any]]:
    """Errors of every model in worlds drawn by variant, confounding and seed, with settings that
    `overrides` may change.

    Yields
    ------
    dict
        variant, confounding, seed, model; `error`, the mean absolute difference of the channels'
        shares among themselves; `rank_correlation` (Spearman); `null_share`, what the channel
        without effect gets; `organic` and `true_organic`; `coverage` of the 95 % intervals, None
        where the model gives none.
    """
    worlds = list(product(variants, confounding, seeds))
    if not worlds or customers < 1 or not all(0 <= share <= 1 for share in confounding):
        raise UsageError("evaluate: give a seed and a customer at least, and confounding of 0 to 1")
    unknown = sorted(set(models) - set(HEURISTICS) - set(FITTED))
    if unknown:
        raise UsageError(f"evaluate: no model {unknown[0]!r}")
    if "models" in overrides:
        raise UsageError("evaluate: models are chosen by --model, not by --set")
    # last_touch is the yardstick that settings ask for
    chosen = {**SETTINGS, "models": list(dict.fromkeys([*models, "last_touch"])), **overrides}
    with tempfile.TemporaryDirectory(prefix="attribution-evaluate-") as home:
        folders = Folders.from_environment({"ATTRIBUTION_HOME": home})
        settings = load_settings(folders.dbt_project, chosen)
        for number, (variant, intent, seed) in enumerate(worlds):
            progress(number, len(worlds), f"{variant}, confounding {intent:g}")
            world = draw_world(variant, intent, seed)
            truth = truth_of(world, seed)
            here = {"variant": variant, "confounding": intent, "seed": seed}
            _empty(folders)
            write_exports(folders.landing, watch(world, customers, seed), world, seed)
            for row in _fitted(pipeline.Line(folders, settings, chosen), models):
                yield here | _judged(row, truth)
    progress(len(worlds), len(worlds), "")


def truth_of(world: World, seed: int) -> Truth:
    """Shapley values of the causal game."""
    values = true_values(world, TRUTH_CUSTOMERS, seed + 1_000_003)
    gains = shapley_values(values)
    return Truth(gains / gains.sum(), float(values[0] / values[-1]))


def _empty(folders: Folders) -> None:
    """Nothing of the world before is left but dbt's parsed project, which takes seconds."""
    for folder in (folders.landing, folders.archive, folders.state, folders.publish):
        for path in folder.glob("*"):
            if path.is_dir() and path != folders.state / "dbt":
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()


def _fitted(line: pipeline.Line, models: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Shares by model, as a night would leave them in the warehouse."""
    for step in LINE:
        pipeline.run_step(line, step)
    with open_warehouse(line.folders, line.settings, read_only=True) as con:
        rows = con.execute(CREDIT, [GOAL]).fetchall()
    for model in sorted({model for model, *_ in rows} & set(models)):
        mine = {channel: figures for name, channel, *figures in rows if name == model}
        yield {"model": model, "channels": mine}


def _judged(row: Mapping[str, Any], truth: Truth) -> dict[str, Any]:
    figures = np.array(
        [row["channels"].get(channel, (0.0, None, None)) for channel in CHANNELS], dtype=np.float64
    )
    share, low, high = figures.T
    organic = row["channels"].get("(organic)") or row["channels"].get("(baseline)")
    among = share / share.sum()
    true = truth.share * (1 - truth.organic) if organic else truth.share * share.sum()
    known = np.isfinite(low)
    return {
        "model": row["model"],
        "error": float(np.abs(among - truth.share).mean()),
        "rank_correlation": float(stats.spearmanr(among, truth.share).statistic),
        "null_share": float(among[CHANNELS.index(NULL_CHANNEL)]),
        # who has no touch is organic too
        "organic": float(1 - share.sum()) if organic else None,
        "true_organic": truth.organic,
        "coverage": float(((low <= true) & (true <= high)).mean()) if known.all() else None,
    }


def write_exports(landing: Path, lives: Lives, world: World, seed: int) -> None:
    """What a bank's systems would have recorded of these lives: touchpoints, steps, conversions."""
    random = np.random.default_rng(seed)
    who, day, channel = np.nonzero(lives.touched)
    second = random.integers(5 * 3600, 9 * 3600, who.size)
    # visitors whom nobody ever links to the customer that they are
    split = random.random(len(lives.converted)) < world.split
    other = split[who] & (random.random(who.size) < 0.5)
    # visitors of whom a contract alone tells which customer, met by e-mail, they are
    unknown = np.random.default_rng([seed, 1]).random(len(lives.converted)) < world.unknown
    unknown &= lives.converted < 0
    other |= unknown[who] & (channel != CHANNELS.index("email"))
    ids = np.array([f"k{i:06d}" for i in range(len(lives.converted))])
    visitors = np.char.add(ids, "-visitor")
    names = np.where(other, visitors[who], ids[who])
    _write(
        landing / "touchpoints" / "touchpoints_2026-03-01.parquet",
        touchpoint_id=_numbered("t", who.size),
        customer_id=names,
        occurred_at=_times(day, second),
        channel=np.array(CHANNELS)[channel],
    )
    # a step of another product that says nothing of who wants it
    (browsing,) = np.nonzero(random.random(len(ids)) < world.browsing)
    who, place = np.nonzero(lives.rung)
    step = np.append(np.array(STEPS)[lives.rung[who, place] - 1], [STEPS[0]] * browsing.size)
    is_other = np.append(lives.wants_other[who], [True] * browsing.size)
    place = np.append(place, random.integers(1, DAYS, browsing.size))
    _write(
        landing / "steps" / "steps_2026-03-01.parquet",
        step_id=_numbered("s", place.size),
        customer_id=np.where(unknown, visitors, ids)[np.append(who, browsing)],
        occurred_at=_times(place - 1, np.full(place.size, 12 * 3600)),
        step=step,
        goal=np.where(is_other, OTHER, GOAL),
    )
    (who,) = np.nonzero(lives.converted >= 0)
    one = int(browsing.size > 0)  # signs it at least: what nobody ever does is no goal
    day = np.append(lives.converted[who], [0] * one)
    _write(
        landing / "conversions" / "conversions_2026-03-01.parquet",
        conversion_id=_numbered("c", day.size),
        customer_id=np.append(ids[who], ["k-other"] * one),
        converted_at=_times(day, np.full(day.size, 13 * 3600)),
        goal=np.where(np.append(lives.wants_other[who], [True] * one), OTHER, GOAL),
        revenue=np.full(day.size, 100.0),
    )


def _numbered(letter: str, size: int) -> list[str]:
    return [f"{letter}{number:08d}" for number in range(size)]


def _times(day: Any, second: Any) -> pa.Array:
    moments = [
        FIRST_DAY + timedelta(days=int(d), seconds=int(s)) for d, s in zip(day, second, strict=True)
    ]
    return pa.array(moments, pa.timestamp("us", tz="UTC"))


def _write(path: Path, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), path)

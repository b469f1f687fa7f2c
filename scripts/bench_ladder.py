"""Time and memory of one ladder: 50,000 customers, 90 days, 12 channels, 5 rungs, late effects."""

from __future__ import annotations

import os
import platform
import resource
import time

import numpy as np

from attribution.customer_days import CustomerDays
from attribution.models.ladder import ladder
from attribution.models.ladder_chances import Ladder

CUSTOMERS, DAYS, CHANNELS, STEPS, LAGS = 50_000, 90, 12, 5, 4


def drawn_ladder(random: np.random.Generator) -> Ladder:
    stages = STEPS + 1
    one_up = np.eye(stages, stages + 1, 1)
    start = np.zeros((stages, stages))
    start[0, 0] = 1.0
    kernel = 0.4 ** np.arange(LAGS)
    contact = random.uniform(0.002, 0.03, (stages, CHANNELS))
    return Ladder(
        start=start,
        entry=contact,
        contact=contact,
        organic=0.02 * one_up,
        effect=one_up[:, :, None] * random.uniform(0.0, 0.3, CHANNELS),
        kernel=kernel / kernel.sum(),
        recorded=np.append(np.full(stages, 0.7), 1.0),
        gone=0.003,
    )


def lived(truth: Ladder, random: np.random.Generator) -> CustomerDays:
    """Customers as the parameters have it, one rung a day, each from its first touch on."""
    stages = STEPS + 1
    stage = np.zeros(CUSTOMERS, dtype=np.int64)
    alive = np.ones(CUSTOMERS, dtype=np.bool_)
    touched = np.zeros((CUSTOMERS, DAYS, CHANNELS), dtype=np.bool_)
    rung = np.zeros((CUSTOMERS, DAYS), dtype=np.int64)
    converted = np.full(CUSTOMERS, -1)
    for day in range(DAYS):
        alive &= random.random(CUSTOMERS) >= truth.gone
        here = np.minimum(stage, STEPS)
        acts = alive & (converted < 0)
        touched[:, day] = (random.random((CUSTOMERS, CHANNELS)) < truth.contact[here]) & acts[
            :, None
        ]
        exposure = sum(
            truth.kernel[lag] * touched[:, day - lag] for lag in range(min(LAGS, day + 1))
        )
        places = np.arange(CUSTOMERS)
        hazard = truth.organic[here, here + 1] + np.einsum(
            "nc,nc->n", truth.effect[here, here + 1], exposure
        )
        moved = acts & (random.random(CUSTOMERS) < -np.expm1(-hazard))
        stage += moved
        converted[moved & (stage == stages)] = day
        seen = moved & (stage < stages) & (random.random(CUSTOMERS) < 0.7)
        rung[places[seen], day] = stage[seen]
    first = np.where(touched.any(axis=(1, 2)), touched.any(axis=2).argmax(axis=1), DAYS)
    keep = np.flatnonzero((first < DAYS) & ((converted < 0) | (converted >= first)))
    first, end = first[keep], np.where(converted[keep] < 0, DAYS - 1, converted[keep])
    who, day, channel = np.nonzero(touched[keep])
    inside = day <= end[who]
    who, day, channel = who[inside], day[inside], channel[inside]
    marked, when = np.nonzero(rung[keep])
    early = when < first[marked]
    first_stage = np.zeros(keep.size, dtype=np.int64)
    np.maximum.at(first_stage, marked[early], rung[keep][marked[early], when[early]])
    marked, when = marked[~early], when[~early]
    return CustomerDays(
        channels=tuple(f"channel {c:02d}" for c in range(CHANNELS)),
        steps=tuple(f"step {s}" for s in range(1, STEPS + 1)),
        weight=np.ones(keep.size),
        group=np.arange(keep.size) % 100,
        first_stage=first_stage,
        last_day=end - first,
        first_weekday=first % 7,
        horizon=DAYS - 1 - first,
        converted=converted[keep] >= 0,
        touch_start=np.concatenate([[0], np.cumsum(np.bincount(who, minlength=keep.size))]),
        touch_day=day - first[who],
        touch_channel=channel,
        record_start=np.concatenate([[0], np.cumsum(np.bincount(marked, minlength=keep.size))]),
        record_day=when - first[marked],
        record_rungs=1 << (rung[keep][marked, when] - 1),
    )


def main() -> None:
    random = np.random.default_rng(7)
    days = lived(drawn_ladder(random), random)
    few = np.arange(days.customers) < 500
    ladder(days.part(few), 1.0, 0.0, 100, shape="geometric")  # compiles
    for shape in ("geometric", None):
        before = time.process_time(), time.perf_counter()
        found = ladder(days, days.conversions, 0.0, 100, shape=shape)
        cpu, wall = time.process_time() - before[0], time.perf_counter() - before[1]
        print(
            f"{days.customers:,} customers, {days.touch_day.size:,} touches, "
            f"{days.conversions:,.0f} conversions, "
            f"kernel {shape or 'chosen: ' + found.fitted.shape}: "
            f"{found.fitted.iterations} passes, {wall:.1f} s, {cpu:.1f} s cpu, fit, kernel, value "
            "and intervals"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"peak {peak:.2f} GB with the simulation; {os.cpu_count()} cores, {platform.machine()}")


if __name__ == "__main__":
    main()

"""Worlds whose truth is known: what every channel causes is a parameter, not an estimate.

Customers climb from stage 0 over two micro-conversions to a contract, one rung a day at most. Every
organic step and every contact has its own random number whatever else happens, so the same
customers can be watched with any set of channels switched off: that is the causal game that credit
is judged by. The variants break what models assume, the ladder's assumptions included.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit

from attribution.errors import UsageError
from attribution.models.ladder_value import all_sets
from attribution.paths import Floats, Integers
from attribution.statistics import Booleans

CHANNELS = ("affiliate", "aggregator", "display", "email", "search", "social")
NULL_CHANNEL = "social"  # met a lot, without any effect
STEPS = ("calculator_used", "form_submitted")
DAYS = 60

# Daily contact rates, how they depend on the stage where intent plays its part, and what a contact
# does; by channel. The orders of size are those of a bank's digital journeys.
RATE = np.array([0.05, 0.06, 0.10, 0.04, 0.08, 0.05])
PULL = np.array(
    [
        [0.3, 0.8, 2.8],
        [0.5, 1.5, 1.2],
        [1.6, 0.8, 0.4],
        [1.2, 1.0, 0.7],
        [0.3, 1.0, 2.4],
        [1.0, 1.0, 1.0],
    ]
).T
EFFECT = np.array(
    [
        [0.000, 0.030, 0.075],
        [0.030, 0.090, 0.030],
        [0.075, 0.030, 0.000],
        [0.045, 0.045, 0.045],
        [0.015, 0.045, 0.090],
        [0.000, 0.000, 0.000],
    ]
).T
ORGANIC = np.array([0.010, 0.012, 0.015])
START = np.array([0.80, 0.15, 0.05])

# name: what it changes of a world
VARIANTS: dict[str, dict[str, float]] = {
    "all steps recorded": {"recorded": 1.0},
    "70 % recorded": {"recorded": 0.7},
    "40 % recorded": {"recorded": 0.4},
    "10 % recorded": {"recorded": 0.1},
    "effects up to 3 days late": {"recorded": 0.7, "delay": 3},
    "3 % a day drop out": {"recorded": 0.7, "leaving": 0.03},
    "retargeting after a rung": {"recorded": 0.7, "retargeting": 3.0},
    "uneven customers": {"recorded": 0.7, "uneven": 0.7},
    "sparse contacts": {"recorded": 1.0, "sparse": 0.25},
    "dwell-dependent moves": {"recorded": 0.7, "dwell": 1.0},
    "weekly bursts": {"recorded": 0.7, "bursts": 1.0},
    "calendar drift": {"recorded": 0.7, "drift": 1.0},
    "intent shocks": {"recorded": 0.7, "shock": 0.7},
    "strong shocks on two channels": {"recorded": 1.0, "shock": 1.2, "two": 1.0},
    "channels that work together only": {"recorded": 0.7, "synergy": 1.0},
    "false rungs": {"recorded": 0.7, "false": 0.005},
    "split identities": {"recorded": 0.7, "split": 0.15},
    "unknown until the contract": {"recorded": 0.7, "unknown": 0.4},
    "several products": {"recorded": 0.7, "others": 0.7},
    "steps of other products by chance": {"recorded": 0.7, "browsing": 0.5},
}


class World(NamedTuple):
    """rate, effect : (3, K); organic, start : (3,); the rest as in VARIANTS."""

    rate: Floats
    effect: Floats
    organic: Floats
    start: Floats
    recorded: float = 1.0
    delay: int = 0
    leaving: float = 0.0
    retargeting: float = 1.0
    uneven: float = 0.0
    dwell: float = 0.0
    bursts: float = 0.0
    drift: float = 0.0
    shock: float = 0.0
    two: float = 0.0
    synergy: float = 0.0
    false: float = 0.0
    split: float = 0.0
    unknown: float = 0.0
    others: float = 0.0
    browsing: float = 0.0


class Lives(NamedTuple):
    """What happened: of N customers in DAYS days.

    touched : (N, DAYS, K)
    rung : (N, DAYS + 1) recorded before the first day and on each day, 0 for none
    converted : (N,) day, or -1
    wants_other : (N,) whether all of that, the contract included, is of another product
    """

    touched: Booleans
    rung: Integers
    converted: Integers
    wants_other: Booleans


def draw_world(variant: str, confounding: float, seed: int) -> World:
    """A world of a variant, its rates and effects drawn around those above.

    confounding : 0..1, how far contacts seek out customers who are about to convert anyway.
    """
    if variant not in VARIANTS:
        raise UsageError(f"no variant {variant!r}: choose among {', '.join(VARIANTS)}")
    random = np.random.default_rng(seed)
    changes = dict(VARIANTS[variant])
    rate = RATE * np.exp(0.2 * random.standard_normal(RATE.size)) * changes.pop("sparse", 1.0)
    effect = EFFECT * np.exp(0.3 * random.standard_normal(EFFECT.shape))
    if "delay" in changes:
        changes["delay"] = int(changes["delay"])
    return World(
        rate=rate * ((1 - confounding) + confounding * PULL),
        effect=effect,
        organic=ORGANIC * np.exp(0.2 * random.standard_normal(3)),
        start=START,
        **changes,  # type: ignore[arg-type]
    )


@njit(cache=True, nogil=True)
def _uniform(seed, customer, day, channel, purpose):  # type: ignore[no-untyped-def]
    """The same number for the same event, whatever else happens (SplitMix64)."""
    state = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15)
    for part in (customer, day, channel, purpose):
        state = (state ^ np.uint64(part + 1)) * np.uint64(0xBF58476D1CE4E5B9)
        state ^= state >> np.uint64(29)
        state *= np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(32)
    return (state >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True, nogil=True)
def _normal(seed, customer, day, purpose):  # type: ignore[no-untyped-def]
    first = max(_uniform(seed, customer, day, 98, purpose), 1e-300)
    second = _uniform(seed, customer, day, 99, purpose)
    return math.sqrt(-2.0 * math.log(first)) * math.cos(2.0 * math.pi * second)


@njit(cache=True, nogil=True)
def _live(world, seed, i, days, acts, touched, rung):  # type: ignore[no-untyped-def]
    """Day of conversion of customer i, or -1; fills `touched` and `rung` where they have rows."""
    channels = world.rate.shape[1]
    watch = len(touched) > 0
    stage, place = 0, _uniform(seed, i, 0, 0, 0)
    while stage < 2 and place >= world.start[: stage + 1].sum():
        stage += 1
    if watch and stage and _uniform(seed, i, 0, 0, 1) < world.recorded:
        rung[0] = stage  # before the first day
    eager = active = shock = 1.0
    if world.uneven:
        eager = math.exp(world.uneven * _normal(seed, i, 0, 2) - world.uneven**2 / 2)
        active = math.exp(world.uneven * _normal(seed, i, 0, 3) - world.uneven**2 / 2)
    mood, since = _normal(seed, i, 0, 4) if world.shock else 0.0, 0
    pending = np.zeros((world.delay + 1, channels), dtype=np.bool_)
    last = np.full(channels, -99)
    for day in range(days):
        if world.leaving and _uniform(seed, i, day, 0, 5) < world.leaving:
            return -1
        if world.shock:
            mood = 0.8 * mood + 0.6 * _normal(seed, i, day, 6)
            shock = math.exp(world.shock * mood - world.shock**2 / 2)
        season = 1.0
        if world.bursts:
            season = 1.9 if day % 7 < 2 else 0.64
        drift = 1.0 + world.drift * (day / (days - 1.0) - 0.5)
        for c in range(channels):
            rate = world.rate[stage, c] * active * season * drift
            if not world.two or c == 0 or c == channels - 1:
                rate *= shock
            if since <= 5 and stage > 0 and c == 2:
                rate *= world.retargeting
            met = acts[c] and _uniform(seed, i, day, c, 7) < min(rate, 0.9)
            if met:
                last[c] = day
                late = 0
                if world.delay:
                    late = int(_uniform(seed, i, day, c, 8) * (world.delay + 1))
                pending[(day + late) % (world.delay + 1), c] = True
                if watch:
                    touched[day, c] = True
        moved = False
        for c in range(channels):
            if pending[day % (world.delay + 1), c]:
                pending[day % (world.delay + 1), c] = False
                chance = world.effect[stage, c]
                if world.synergy and day - last[(c + 1) % (channels - 1)] > 7:
                    chance = 0.0
                moved |= _uniform(seed, i, day, c, 9) < chance
        organic = world.organic[stage] * eager * season * shock
        organic *= 1.0 + world.dwell * (min(since, 20) / 10.0 - 1.0) * 0.9
        moved |= _uniform(seed, i, day, 0, 10) < organic
        since += 1
        if moved:
            stage, since = stage + 1, 0
            if stage == 3:
                return day
            if watch and _uniform(seed, i, day, 0, 11) < world.recorded:
                rung[day + 1] = stage
        if watch and world.false and _uniform(seed, i, day, 0, 12) < world.false:
            rung[day + 1] = max(rung[day + 1], min(stage + 1, 2))
    return -1


@njit(cache=True, nogil=True)
def _count(world, seed, first, last, days, acts):  # type: ignore[no-untyped-def]
    touched, rung = np.zeros((0, len(acts)), dtype=np.bool_), np.zeros(0, dtype=np.int64)
    converted = 0
    for i in range(first, last):
        converted += _live(world, seed, i, days, acts, touched, rung) >= 0
    return converted


@njit(cache=True, nogil=True)
def _watch(world, seed, days, touched, rung, converted, wants_other):  # type: ignore[no-untyped-def]
    acts = np.ones(touched.shape[2], dtype=np.bool_)
    for i in range(len(converted)):
        wants_other[i] = _uniform(seed, i, 0, 0, 13) < world.others
        converted[i] = _live(world, seed, i, days, acts, touched[i], rung[i])


def watch(world: World, customers: int, seed: int) -> Lives:
    """Customers with all channels, and what is recorded of them."""
    channels = world.rate.shape[1]
    lives = Lives(
        np.zeros((customers, DAYS, channels), dtype=np.bool_),
        np.zeros((customers, DAYS + 1), dtype=np.int64),
        np.zeros(customers, dtype=np.int64),
        np.zeros(customers, dtype=np.bool_),
    )
    _watch(world, seed, DAYS, *lives)
    return lives


def true_values(world: World, customers: int, seed: int) -> Floats:
    """Share of customers who convert with each set of channels, (2^K,).

    Exact where the world is a chain of stages; else of `customers` simulated ones, the same for all
    sets.
    """
    channels = world.rate.shape[1]
    sets = all_sets(channels)
    if _is_chain(world):
        return np.array([_chain(world, acts) for acts in sets])
    cuts = np.linspace(0, customers, 9).astype(np.int64)

    def converted(acts: Booleans) -> int:
        parts = (_count(world, seed, a, b, DAYS, acts) for a, b in pairwise(cuts))
        return int(sum(parts))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.array(list(pool.map(converted, sets))) / customers


def _is_chain(world: World) -> bool:
    """Whether all that differs from a chain of stages is what is seen of it."""
    return all(
        getattr(world, name) == default
        for name, default in World._field_defaults.items()
        if name not in ("recorded", "false", "split", "unknown", "others", "browsing")
    )


def _chain(world: World, acts: Booleans) -> float:
    moves = np.eye(4)
    for stage in range(3):
        none = np.prod(1 - world.rate[stage] * world.effect[stage] * acts)
        moves[stage, stage] = (1 - world.organic[stage]) * none
        moves[stage, stage + 1] = 1 - moves[stage, stage]
    return float((np.append(world.start, 0.0) @ np.linalg.matrix_power(moves, DAYS))[3])

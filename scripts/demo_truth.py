"""What the demo's ladder says, beside what the channels of its simulated bank truly cause.

The truth is the Shapley value of the causal game: conversions of other customers of the same bank
if only some channels met them. A touch has its effect there under whatever name the customer goes.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import duckdb
import numpy as np

from attribution.models.ladder_value import antithetic_orders, sets_of_orders, shapley_of_orders
from attribution.paths import Floats
from attribution.simulated_world import CHANNELS, DO, GOALS, lives
from attribution.terminal import print_rows

PUBLISHED = Path(__file__).resolve().parents[1] / "var" / "publish" / "current"
CUSTOMERS, DAYS, SEED = 100_000, 90, 99
ORDERS = 4  # of channels, each with its reverse
SHARES = """
select goal, case when channel in ('(organic)', '(unattributed)') then '(organic)' else channel end,
    sum(share)
from channel_credit
where model = 'ladder' and segment = 'all'
group by all
"""


def main() -> None:
    if not PUBLISHED.exists():
        sys.exit(f"demo-truth: nothing is published at {PUBLISHED}: `make demo` first")
    with duckdb.connect(PUBLISHED / "attribution.duckdb", read_only=True) as con:
        said = {(goal, channel): share for goal, channel, share in con.execute(SHARES).fetchall()}
    orders = antithetic_orders(len(CHANNELS), ORDERS, SEED)
    sets, place = np.unique(sets_of_orders(orders), axis=0, return_inverse=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = np.array(list(pool.map(conversions, sets)))
    values = found[place.ravel()]  # (sets, goals)
    for number, goal in enumerate(GOALS):
        none, whole = values[0, number], values[len(CHANNELS), number]
        true = np.append(none, shapley_of_orders(orders, values[:, number])) / whole
        told = np.array([said.get((goal, name), 0.0) for name in ("(organic)", *CHANNELS)])
        missed = np.abs(told - true)[1:].mean()
        rows = [
            [name, f"{100 * true[k]:.1f}", f"{100 * told[k]:.1f}"]
            for k, name in enumerate(("(organic)", *CHANNELS))
        ]
        title = f"{goal}: % of conversions; channels are missed by {100 * missed:.2f} points"
        print_rows(title, ["channel", "true", "ladder"], rows)


def conversions(acts: np.ndarray) -> Floats:
    """Of each goal, if only these channels act, (4,)."""
    names = [name for name, active in zip(CHANNELS, acts, strict=True) if active]
    count = np.zeros(len(GOALS))
    for day in lives(CUSTOMERS, DAYS, SEED, names):
        count += np.bincount(day.goal[day.moved & (day.state == DO)], minlength=len(GOALS))
    return count


if __name__ == "__main__":
    main()

"""Intervals hold the truth about as often as they say; `make bench-coverage` is the long form."""

import importlib.util
from pathlib import Path

import numpy as np

from attribution.paths import aggregate_paths

SCRIPT = Path(__file__).parents[1] / "scripts" / "bench_coverage.py"


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    spec = importlib.util.spec_from_file_location("coverage_of_intervals", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    random = np.random.default_rng(5)
    rows = [
        (list(random.choice(list("abcd"), random.integers(1, 5))), *random.integers(1, 40, 2), 0)
        for _ in range(60)
    ]
    found, converting = script.coverage(aggregate_paths(rows), draws=100, customers=2000)
    assert (converting >= script.FEW).all()
    for model in ("last_touch", "linear", "markov", "shapley"):
        # 400 draws of channel and customers, not independent: 0.95 within some four standard errors
        assert 0.90 <= found[model].mean() <= 0.99, model

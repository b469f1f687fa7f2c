"""What each customer's days say about the ladder's parameters: scores, and the information in them.

The score of a customer is the slope of its expected log-likelihood (Fisher's identity); the
information is the sum of the scores' outer products.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attribution.customer_days import CustomerDays
from attribution.models.ladder_chances import Ladder
from attribution.models.ladder_coordinates import (
    coordinates,
    information,
    slope,
)
from attribution.models.ladder_pass import customer_sums
from attribution.models.ladder_sums import Sums
from attribution.paths import Floats

ASKED = 1_500  # customers of each outcome whose scores show how the likelihood bends
UNSEEN = 0.1  # share of the complete information that a sample of scores may have missed


def curvature(days: CustomerDays, ladder: Ladder, sums: Sums, is_geometric: bool) -> Floats:
    """About how the likelihood bends at a ladder, (P, P), positive definite.

    From the scores of a sample of customers, and from what would be known if nothing were hidden.
    """
    sample = _sample(days)
    row = coordinates(ladder, is_geometric)
    # a hazard that is held at 0 has no score there: what holds it is the slope of its square
    held = -slope(row, ladder, sums, is_geometric) / np.maximum(row, 1e-6)
    complete = information(ladder, sums, is_geometric)
    known = np.diag(UNSEEN * complete + np.maximum(held, 0.0))
    for part, _, each in customer_sums(sample, ladder):
        scores = slope(row, ladder, each, is_geometric)
        known += (scores / sample.weight[part, None]).T @ scores
    return known


def _sample(days: CustomerDays) -> CustomerDays:
    """Every n-th of those who convert and of the others, with the weight of those between."""
    chosen = np.zeros(days.customers, dtype=np.bool_)
    factor = np.ones(days.customers)
    for outcome in (days.converted, ~days.converted):
        who = np.flatnonzero(outcome)
        step = max(1, -(-who.size // ASKED))
        chosen[who[::step]] = True
        factor[who] = step
    return replace(days.part(chosen), weight=days.weight[chosen] * factor[chosen])

"""How far the ladder's parameters move when a group of customers was not there.

A refit for each of a hundred groups would take a hundred fits. One Newton step from the optimum is
enough, by the scores of the group's customers.
"""

from __future__ import annotations

import numpy as np

from attribution.customer_days import CustomerDays
from attribution.models.ladder_chances import Ladder
from attribution.models.ladder_coordinates import (
    coordinates,
    held_information,
    moving,
    plain_slope,
    stepped,
)
from attribution.models.ladder_scores import customer_scores
from attribution.models.ladder_sums import Sums
from attribution.models.ladder_value import Entries, entries_without
from attribution.paths import Floats


def replicate_ladders(
    days: CustomerDays,
    ladder: Ladder,
    is_geometric: bool,
    sums: Sums,
    entry_stages: Floats,
    groups: int,
) -> tuple[list[Ladder], list[Entries]]:
    """Parameters and entries without each replicate group, G of each."""
    row = coordinates(ladder, is_geometric)
    free = moving(ladder, is_geometric)
    known = np.zeros((row.size, row.size))
    by_group = np.zeros((groups, row.size))
    for part, scores in customer_scores(days, ladder, is_geometric, plain_slope):
        known += (scores / days.weight[part, None]).T @ scores
        np.add.at(by_group, days.group[part], scores)
    known += np.diag(held_information(ladder, sums, is_geometric))
    known = known[np.ix_(free, free)]
    unit = np.sqrt(np.maximum(np.diag(known), 1e-300))
    inverse = np.linalg.pinv(known / np.outer(unit, unit), rcond=1e-9, hermitian=True)
    steps = np.zeros_like(by_group)
    steps[:, free] = -(by_group[:, free] / unit) @ inverse / unit
    ladders = [stepped(row, step, ladder, is_geometric) for step in steps]
    return ladders, entries_without(days, entry_stages, groups)[1:]

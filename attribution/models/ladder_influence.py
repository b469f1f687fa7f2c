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
from attribution.models.ladder_em import met_by_stage
from attribution.models.ladder_pass import customer_sums
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
    """Parameters, with contact chances by stage, and entries without each replicate group, G of
    each.
    """
    row = coordinates(ladder, is_geometric)
    free = moving(ladder, is_geometric)
    known = np.zeros((row.size, row.size))
    by_group = np.zeros((groups, row.size))
    contact, alive = (np.zeros((groups, *of.shape)) for of in (sums.contact, sums.days))
    for part, _, each in customer_sums(days, ladder):
        scores, group = plain_slope(row, ladder, each, is_geometric), days.group[part]
        known += (scores / days.weight[part, None]).T @ scores
        for of_groups, of_each in ((by_group, scores), (contact, each.contact), (alive, each.days)):
            np.add.at(of_groups, group, of_each)
    known += np.diag(held_information(ladder, sums, is_geometric))
    known = known[np.ix_(free, free)]
    unit = np.sqrt(np.maximum(np.diag(known), 1e-300))
    inverse = np.linalg.pinv(known / np.outer(unit, unit), rcond=1e-9, hermitian=True)
    steps = np.zeros_like(by_group)
    others = groups / (groups - 1)  # what is known without a group is of the others alone
    steps[:, free] = -others * (by_group[:, free] / unit) @ inverse / unit
    ladders = [
        met_by_stage(
            stepped(row, steps[g], ladder, is_geometric),
            sums._replace(contact=sums.contact - contact[g], days=sums.days - alive[g]),
        )
        for g in range(groups)
    ]
    return ladders, entries_without(days, entry_stages, groups)[1:]

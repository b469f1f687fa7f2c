"""How far the ladder's parameters move when a group of customers was not there.

A refit for each of a hundred groups would take a hundred fits. One Newton step from the optimum is
enough: the score of each customer is the gradient of its expected log-likelihood (Fisher's
identity), the information is the sum of the scores' outer products.
"""

from __future__ import annotations

import numpy as np

from attribution.customer_days import CustomerDays
from attribution.models.ladder_chances import Ladder
from attribution.models.ladder_pass import Sums, customer_sums
from attribution.models.ladder_value import Entries, entries_without
from attribution.paths import Floats
from attribution.statistics import Booleans

AT_BOUND = 1e-6  # a hazard or a chance that close to its bound is held there


def replicate_ladders(
    days: CustomerDays, ladder: Ladder, entry_stages: Floats, groups: int
) -> tuple[list[Ladder], list[Entries]]:
    """Parameters and entries without each replicate group, G of each. The kernel stays."""
    row = _row(ladder)
    moving = _moving(ladder)
    information = np.zeros((row.size, row.size))
    by_group = np.zeros((groups, row.size))
    for part, _, sums in customer_sums(days, ladder):
        scores = _gradient(sums, ladder)
        information += (scores / days.weight[part, None]).T @ scores
        np.add.at(by_group, days.group[part], scores)
    held = np.ix_(moving, moving)
    scale = np.sqrt(np.maximum(np.diag(information[held]), 1e-300))
    inverse = np.linalg.pinv(information[held] / np.outer(scale, scale), rcond=1e-9, hermitian=True)
    steps = np.zeros_like(by_group)
    steps[:, moving] = -(by_group[:, moving] / scale) @ inverse / scale
    ladders = [_ladder(row + step, ladder) for step in steps]
    return ladders, entries_without(days, entry_stages, groups)[1:]


def _gradient(sums: Sums, ladder: Ladder) -> Floats:
    """Derivatives of the expected log-likelihoods by the parameters of `_row`, (n, P)."""
    size = len(sums.days)
    upward, below = _places(ladder)
    stay = 1 - ladder.contact
    entered = sums.start.sum(axis=2)
    effect = (sums.effect_moves - sums.effect_days) @ ladder.kernel
    return np.concatenate(
        [
            (sums.organic_moves - sums.organic_days)[:, upward],
            effect[:, upward].reshape(size, -1),
            (sums.contact / ladder.contact - (sums.days[:, :, None] - sums.contact) / stay).reshape(
                size, -1
            ),
            (
                sums.entry / ladder.entry - (entered[:, :, None] - sums.entry) / (1 - ladder.entry)
            ).reshape(size, -1),
            (
                sums.recorded / ladder.recorded
                - (sums.passed - sums.recorded) / np.maximum(1 - ladder.recorded, 1e-9)
            )[:, 1:-1],
            (sums.left / ladder.gone - sums.stayed / (1 - ladder.gone))[:, None],
            # by logarithms up to a constant, so that shares keep summing to 1
            sums.start[:, below] - entered.sum(axis=1)[:, None] * ladder.start[below],
        ],
        axis=1,
    )


def _row(ladder: Ladder) -> Floats:
    upward, below = _places(ladder)
    return np.concatenate(
        [
            ladder.organic[upward],
            ladder.effect[upward].ravel(),
            ladder.contact.ravel(),
            ladder.entry.ravel(),
            ladder.recorded[1:-1],
            [ladder.gone],
            np.log(ladder.start[below]),
        ]
    )


def _moving(ladder: Ladder) -> Booleans:
    """Parameters that are not held at a bound."""
    row = _row(ladder)
    upward, _ = _places(ladder)
    hazards = int(upward.sum()) * (1 + ladder.contact.shape[1])
    chances = ladder.contact.size + ladder.entry.size + len(ladder.recorded) - 2 + 1
    moving = np.ones(row.size, dtype=np.bool_)
    moving[: hazards + chances] = row[: hazards + chances] > AT_BOUND
    moving[hazards : hazards + chances] &= row[hazards : hazards + chances] < 1 - 10 * AT_BOUND
    moving[hazards + chances :] = row[hazards + chances :] > np.log(AT_BOUND)
    return moving


def _ladder(row: Floats, like: Ladder) -> Ladder:
    """The inverse of `_row`, cut to where parameters make sense."""
    upward, below = _places(like)
    moves, (stages, channels) = int(upward.sum()), like.contact.shape
    sizes = [moves, moves * channels, stages * channels, stages * channels, stages - 1, 1]
    parts = np.split(row, np.cumsum(sizes))
    organic, effect, start = (np.zeros_like(a) for a in (like.organic, like.effect, like.start))
    organic[upward] = np.maximum(parts[0], 0.0)
    effect[upward] = np.maximum(parts[1].reshape(moves, channels), 0.0)
    start[below] = np.exp(parts[6])
    recorded = like.recorded.copy()
    recorded[1:-1] = parts[4].clip(0.0, 1.0)
    return Ladder(
        start=start / start.sum(),
        entry=parts[3].reshape(stages, channels).clip(0.0, 1.0),
        contact=parts[2].reshape(stages, channels).clip(0.0, 1.0),
        organic=organic,
        effect=effect,
        kernel=like.kernel,
        recorded=recorded,
        gone=float(parts[5][0].clip(0.0, 1.0)),
    )


def _places(ladder: Ladder) -> tuple[Booleans, Booleans]:
    stages = len(ladder.start)
    upward = np.triu(np.ones((stages, stages + 1), dtype=np.bool_), 1)
    return upward, np.tril(np.ones((stages, stages), dtype=np.bool_))

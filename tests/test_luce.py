"""Weights per channel against slow oracles, brute force over all sets of channels, and axioms."""

import numpy as np
from scipy.optimize import linprog


def credit_per_conversion(members, fit):
    """What SQL does: the channels of the highest level in a set share by weight, (n, K)."""
    level = np.where(members, fit.level, -1)
    weight = np.where(members & (level == level.max(axis=1, keepdims=True)), fit.weight, 0.0)
    return weight / weight.sum(axis=1, keepdims=True)


def luce_totals(members, amounts, log_weight):
    weight = np.where(members, np.exp(log_weight), 0.0)
    return amounts @ (weight / weight.sum(axis=1, keepdims=True))


def random_sets(rng, channels, n):
    members = rng.random((n, channels)) < rng.choice([0.15, 0.3, 0.6])
    members[~members.any(axis=1), rng.integers(channels)] = True
    return members


def prototype_case(rng):
    """Six channels, 20 coalitions, totals that pay them little heed."""
    sets = rng.choice(np.arange(1, 64), 20, replace=False)
    members = (sets[:, None] >> np.arange(6) & 1).astype(bool)
    amounts = rng.integers(1, 500, 20).astype(float)
    return members, amounts, rng.dirichlet(np.full(6, 0.5)) * amounts.sum()


def proper_subsets(channels):
    inside = np.arange(1, 2**channels - 1)[:, None] >> np.arange(channels) & 1
    return inside.astype(bool)


def floors(members, amounts, inside):
    """f(A): the amounts of the sets inside each A, by definition."""
    return np.array([amounts[~members[:, ~a].any(axis=1)].sum() for a in inside])


def most_violated_by_enumeration(members, amounts, totals):
    inside = proper_subsets(len(totals))
    beyond = floors(members, amounts, inside) - inside @ totals
    return inside[np.argmax(beyond)], beyond.max()


def most_violated_by_linear_program(members, amounts, totals):
    """Maximum closure: a set counts if all its channels are in; the polytope is integral."""
    n, channels = members.shape
    row, channel = np.nonzero(members)
    constraint = np.zeros((len(row), n + channels))
    constraint[np.arange(len(row)), row] = 1
    constraint[np.arange(len(row)), n + channel] = -1
    done = linprog(np.append(-amounts, totals), constraint, np.zeros(len(row)), bounds=(0, 1))
    inside = done.x[n:] > 0.5
    return inside, float(floors(members, amounts, [inside])[0] - totals[inside].sum())


def nearest_by_recursion(members, amounts, totals, most_violated):
    """The nearest attainable totals: split at the most violated set until none is."""
    totals = totals * (amounts.sum() / totals.sum())
    if len(totals) == 1 or amounts.sum() == 0:
        return totals
    inside, beyond = most_violated(members, amounts, totals)
    if beyond <= 1e-12 or inside.all() or not inside.any():
        return totals
    forced = ~members[:, ~inside].any(axis=1)
    nearest = np.empty(len(totals))
    for part, rows in ((inside, forced), (~inside, ~forced)):
        nearest[part] = nearest_by_recursion(
            members[rows][:, part], amounts[rows], totals[part], most_violated
        )
    return nearest

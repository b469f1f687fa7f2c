"""An interval on every share, by deleting one group of customers after the other.

Customers are hashed into replicate groups, so that a customer's journeys stand or fall together,
and models are fitted again without each group: on the counts, never on journeys.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse, stats

from attribution.errors import InvalidPaths
from attribution.paths import Floats, Paths

LEVEL = 0.95
ROWS_AT_ONCE = 10_000
MOST = 1e15  # journeys of a path; beyond, a count is no exact number any more


@dataclass(frozen=True, eq=False)
class Intervals:
    """Standard errors and 95 % intervals of K shares; NaN where there is none.

    Attributes
    ----------
    standard_error, low, high : float array, (K,)
    """

    standard_error: Floats
    low: Floats
    high: Floats


def jackknife(
    share: Floats, replicates: Floats, variance: Floats | float = 0.0, is_signed: bool = False
) -> Intervals:
    """Delete-a-group jackknife: how far shares move when a group of customers was not there.

    se^2 = (G - 1) / G * sum over groups of (replicate - mean)^2, and the interval is that of
    Student's t with G - 1 degrees of freedom, cut to [0, 1] unless shares may lie outside.

    Parameters
    ----------
    share : float array, (K,)
        Of all customers.
    replicates : float array, (G, K)
        Without group g, or as `one_step` has them. A row with NaN takes every interval away.
    variance : float array, (K,)
        What comes on top from elsewhere than these customers.
    is_signed : bool
        Whether shares may lie below 0, and so above 1.

    References
    ----------
    Kott 2001, "The delete-a-group jackknife", Journal of Official Statistics 17(4), 521-526.
    """
    groups = len(replicates)
    if groups < 2:
        return none(share.size)
    spread = ((replicates - replicates.mean(axis=0)) ** 2).sum(axis=0)
    error = np.sqrt((groups - 1) / groups * spread + variance)
    reach = stats.t.ppf((1 + LEVEL) / 2, groups - 1) * error
    return Intervals(
        standard_error=error,
        low=np.where(is_signed | (share < 0), share - reach, np.maximum(share - reach, 0.0)),
        high=np.where(is_signed | (share > 1), share + reach, np.minimum(share + reach, 1.0)),
    )


def one_step(share: Floats, influence: Floats) -> Floats:
    """Shares without each group, (G, K), by their derivatives by the weight of each group, (G, K).

    The infinitesimal jackknife: without one of G groups the others weigh G / (G - 1) as much.
    """
    groups = len(influence)
    return np.asarray(share - influence * groups / max(groups - 1, 1))


def none(size: int) -> Intervals:
    """No interval at all: published as NULL, never as 0."""
    return Intervals(*(np.full(size, np.nan) for _ in range(3)))


def additive_replicates(totals: Floats) -> Floats:
    """Shares without each group, of a model whose credit adds up over customers.

    Parameters
    ----------
    totals : float array, (G, K)
        Credit that comes from each group.

    Returns
    -------
    float array, (G, K)
        Rows that sum to 1; NaN where only one group converts.
    """
    rest: Floats = totals.sum(axis=0) - totals
    whole: Floats = rest.sum(axis=1, keepdims=True)
    shares: Floats = np.full_like(rest, np.nan)
    np.divide(rest, whole, out=shares, where=whole > 0)
    return shares


def attributed_share(attributed: Floats, conversions: Floats) -> Floats:
    """Fraction of conversions with a touch, without each group, (G,)."""
    rest: Floats = conversions.sum() - conversions
    share: Floats = np.full_like(rest, np.nan)
    np.divide(attributed.sum() - attributed, rest, out=share, where=rest > 0)
    return share


def split(paths: Paths, groups: int, seed: int) -> list[Paths]:
    """Paths of each replicate group, every counted journey drawn into a group of its own.

    A path file does not know its customers: each journey counts as one customer. Revenue follows
    the conversions of its path.

    Raises
    ------
    InvalidPaths
        Where a count is no whole number, so that there are no journeys to draw.
    """
    random = np.random.default_rng(seed)
    drawn = [
        _drawn(paths, counts, groups, random)
        for counts in (
            paths.conversions,
            paths.nulls,
            np.array([paths.unattributed_conversions]),
            np.array([paths.unattributed_nulls]),
        )
    ]
    return [_part(paths, *(counts[[g]] for counts in drawn)) for g in range(groups)]


def _part(
    paths: Paths,
    conversions: sparse.csr_array,
    nulls: sparse.csr_array,
    unattributed: sparse.csr_array,
    unattributed_nulls: sparse.csr_array,
) -> Paths:
    """Paths that journeys of one group took; each argument is its row of counts."""
    seen = np.union1d(conversions.indices, nulls.indices)
    converted = conversions[:, seen].toarray()[0]
    part = converted / np.maximum(paths.conversions[seen], 1.0)
    rest = float(unattributed.sum())
    return replace(
        paths,
        steps=tuple(paths.steps[i] for i in seen),
        conversions=converted,
        nulls=nulls[:, seen].toarray()[0],
        revenue=part * paths.revenue[seen],
        unattributed_conversions=rest,
        unattributed_nulls=float(unattributed_nulls.sum()),
        unattributed_revenue=rest
        * paths.unattributed_revenue
        / max(paths.unattributed_conversions, 1.0),
    )


def _drawn(
    paths: Paths, counts: Floats, groups: int, random: np.random.Generator
) -> sparse.csr_array:
    """Counts of each group, (G, n), which add up to `counts`."""
    whole = np.rint(counts)
    if (whole != counts).any():
        raise InvalidPaths(f"{paths.source}: counts are not whole numbers of journeys")
    if whole.max(initial=0.0) > MOST:
        raise InvalidPaths(f"{paths.source}: more than {MOST:g} journeys of one path")
    even = np.full(groups, 1 / groups)
    blocks = [  # dense for some rows at a time: most journeys of most groups took other paths
        sparse.csr_array(random.multinomial(block.astype(np.int64), even), dtype=np.float64)
        for block in np.array_split(whole, range(ROWS_AT_ONCE, whole.size, ROWS_AT_ONCE))
    ]
    return sparse.csr_array(sparse.vstack(blocks).T)

"""Path counterfactual: what each touch adds to the conversion rate of its own ordered path."""

from collections.abc import Mapping

import numpy as np

from attribution.errors import NoConversions
from attribution.paths import Floats, Paths, add_up
from attribution.statistics import ChannelCredit

Steps = tuple[int, ...]

ROUNDING = 1e-12  # of a rate: 0.1 / 0.3 and 0.2 / 0.6 differ in their last digit


def path_counterfactual(paths: Paths) -> ChannelCredit:
    """Credit each touch by how much lower the conversion rate of its path is without it.

    With P(p) = conversions / journeys of exactly the ordered path p, 0 where nobody took it, touch
    i of p weighs m_i = max(P(p) - P(p without touch i), 0), and the weights are normalised inside
    the path. The only touch of a path has all of it; where every weight is 0, the last touch has.

    Elsewhere this is sold under the name Shapley (fractribution). It is **not** a Shapley value:
    that averages over all orders in which channels may join, and this takes one step back from one
    path. It compares customers who took different paths; most of those paths were taken by few or
    by nobody, and `unseen_share` says how much rests on the latter.

    Parameters
    ----------
    paths : Paths
        Nulls matter: without them every path that anybody took converts at rate 1.

    Returns
    -------
    ChannelCredit
        (K,) conversions >= 0, and revenue in the same proportions of each path. Diagnostics are
        fractions of the conversions, in [0, 1]: `last_touch_share`, on paths where no touch adds
        anything; `unseen_share`, on paths that were compared with one that nobody took.

    Raises
    ------
    NoConversions
        Where no path with a touch converts.
    """
    converted = float(paths.conversions.sum())
    if not converted > 0:
        raise NoConversions(
            "no journey with a touch converts: path_counterfactual has nothing to credit"
        )
    rates = _rates(paths)
    last_touch, unseen = np.zeros((2, len(paths.steps)), dtype=np.bool_)
    weights: list[Floats] = []
    for row, steps in enumerate(paths.steps):
        if paths.conversions[row] > 0:
            added, unseen[row] = _added(steps, rates)
        else:  # it has nothing to share, so that no path is compared for it
            added = np.zeros(len(steps))
        last_touch[row] = not added.any()
        if last_touch[row]:
            added[-1] = 1.0
        weights.append(added / added.sum())
    weight = np.concatenate(weights)

    def split(values: Floats) -> Floats:
        share = weight * np.repeat(values, paths.lengths)
        return add_up(paths.touches, share, len(paths.channels))

    return ChannelCredit(
        conversions=split(paths.conversions),
        revenue=split(paths.revenue),
        diagnostics={
            "last_touch_share": float(paths.conversions @ last_touch) / converted,
            "unseen_share": float(paths.conversions @ unseen) / converted,
        },
    )


def _rates(paths: Paths) -> dict[Steps, float]:
    """Conversion rate of every path that somebody took."""
    journeys = paths.conversions + paths.nulls
    return {
        steps: won / count
        for steps, won, count in zip(
            paths.steps, paths.conversions.tolist(), journeys.tolist(), strict=True
        )
        if count > 0
    }


def _added(steps: Steps, rates: Mapping[Steps, float]) -> tuple[Floats, bool]:
    """What each touch adds to the rate of the path, (m,); whether a compared path was not taken."""
    rate = rates[steps]
    if len(steps) == 1:  # without its touch there is no path to compare with
        return np.array([rate]), False
    without = [rates.get(steps[:i] + steps[i + 1 :]) for i in range(len(steps))]
    added = rate - np.array([other or 0.0 for other in without])
    added[added <= ROUNDING * rate] = 0.0
    return added, None in without

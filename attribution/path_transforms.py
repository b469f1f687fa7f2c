"""Ways to shorten paths before credit, as users of path-level packages know them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from attribution.errors import UsageError
from attribution.paths import Paths, Row, aggregate_paths

Steps = list[str]


def keep_last(steps: Steps, count: str) -> Steps:
    """The last `count` touches."""
    if not count.isdecimal() or int(count) == 0:
        raise UsageError(f"keep_last={count}: give a number of touches, such as keep_last=5")
    return steps[-int(count) :]


def collapse_consecutive(steps: Steps) -> Steps:
    """Touches of one channel in a row count once. Credit of a first-order chain does not change."""
    return [channel for channel, _ in groupby(steps)]


def first_occurrence_only(steps: Steps) -> Steps:
    """Each channel where it appeared first."""
    return list(dict.fromkeys(steps))


def drop(steps: Steps, channel: str) -> Steps:
    """Without a channel, unless the path holds nothing else."""
    return [step for step in steps if step != channel] or steps


def drop_trailing(steps: Steps, channel: str) -> Steps:
    """Without a channel at the end, unless the path holds nothing else."""
    end = len(steps)
    while end and steps[end - 1] == channel:
        end -= 1
    return steps[:end] or steps


def frequency(steps: Steps) -> Steps:
    """Each channel once with how often it was touched, `search(3)`, where it appeared first."""
    return [f"{channel}({steps.count(channel)})" for channel in dict.fromkeys(steps)]


PLAIN: Mapping[str, Callable[[Steps], Steps]] = {
    "collapse_consecutive": collapse_consecutive,
    "first_occurrence_only": first_occurrence_only,
    "frequency": frequency,
}
WITH_VALUE: Mapping[str, Callable[[Steps, str], Steps]] = {
    "keep_last": keep_last,
    "drop": drop,
    "drop_trailing": drop_trailing,
}


def transform(paths: Paths, transforms: Sequence[str]) -> Paths:
    """Paths after each transform in turn, equal ones added up.

    Parameters
    ----------
    paths : Paths
    transforms : sequence of str
        `NAME`, or `NAME=VALUE` for keep_last (a number), drop and drop_trailing (a channel).

    Raises
    ------
    UsageError
        A transform does not exist, or its value is missing or of no use.
    """
    steps = [[paths.channels[step] for step in path] for path in paths.steps]
    for text in transforms:
        name, given, value = text.partition("=")
        if name in PLAIN and not given:
            steps = [PLAIN[name](path) for path in steps]
        elif name in WITH_VALUE and value:
            if name != "keep_last" and not any(value in path for path in steps):
                warnings.warn(f"{text}: no path has this channel", stacklevel=2)
            steps = [WITH_VALUE[name](path, value) for path in steps]
        else:
            known = ", ".join([*PLAIN, *(f"{name}=..." for name in WITH_VALUE)])
            raise UsageError(f"no transform {text!r}: choose of {known}")
    rows = zip(
        steps, paths.conversions.tolist(), paths.nulls.tolist(), paths.revenue.tolist(), strict=True
    )
    empty: Row = (
        [],
        paths.unattributed_conversions,
        paths.unattributed_nulls,
        paths.unattributed_revenue,
    )
    return aggregate_paths([*rows, empty], paths.source)

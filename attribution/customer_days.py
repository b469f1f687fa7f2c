"""A bounded, weighted sample of customers' days towards one goal: what the ladder reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from attribution.errors import InvalidPaths
from attribution.paths import Floats, Integers, amounts, check_channels
from attribution.statistics import Booleans, freeze, take_columns, whole_numbers

MOST_STEPS = 12  # the E step is quadratic in the stages


@dataclass(frozen=True, eq=False)
class CustomerDays:
    """Days of N customers, each followed from its first touch, which is day 0.

    A stage is the highest rung of the ladder that a customer has reached: 0 is none, j is the j-th
    of `steps`, J = len(steps) + 1 is the conversion.

    Attributes
    ----------
    channels : tuple of str, (K,)
        Sorted and unique.
    steps : tuple of str, (J - 1,)
        The rungs below the conversion, from the lowest.
    weight : float array, (N,)
        Customers that each one stands for, > 0.
    group : int array, (N,)
        Replicate group.
    first_stage : int array, (N,)
        Highest rung recorded before the first touch: the stage is at least that.
    last_day : int array, (N,)
        Last day followed, that of the conversion where there is one.
    first_weekday : int array, (N,)
        Weekday of day 0, Monday 0 to Sunday 6.
    horizon : int array, (N,)
        Last day that could have been followed, >= last_day: day of the run, or end of the window.
    converted : bool array, (N,)
        Whether the customer converted on `last_day`.
    touch_start : int array, (N + 1,)
        Touches of customer i are touch_start[i] up to touch_start[i + 1], in the order of days.
    touch_day, touch_channel : int array, (T,)
        A channel counts once a day.
    record_start : int array, (N + 1,)
    record_day, record_rungs : int array, (R,)
        Days on which rungs were recorded, and these rungs as bits: 1 << (j - 1) for the j-th step.
    share_out_of_order : float
        Share of records that were left out because a higher rung had been recorded before.
    share_elsewhere : float
        Share of customers who were left out because they were seen on the way to other goals alone.

    Raises
    ------
    InvalidPaths
        Where shapes are wrong or a row contradicts another.
    """

    channels: tuple[str, ...]
    steps: tuple[str, ...]
    weight: Floats
    group: Integers
    first_stage: Integers
    last_day: Integers
    first_weekday: Integers
    horizon: Integers
    converted: Booleans
    touch_start: Integers
    touch_day: Integers
    touch_channel: Integers
    record_start: Integers
    record_day: Integers
    record_rungs: Integers
    share_out_of_order: float = 0.0
    share_elsewhere: float = 0.0

    def __post_init__(self) -> None:
        check_channels(self.channels, "customer days")
        customers = np.size(self.weight)
        sizes = {
            **dict.fromkeys(
                ("group", "first_stage", "last_day", "first_weekday", "horizon"), customers
            ),
            **dict.fromkeys(("touch_start", "record_start"), customers + 1),
            **dict.fromkeys(("touch_day", "touch_channel"), np.size(self.touch_day)),
            **dict.fromkeys(("record_day", "record_rungs"), np.size(self.record_day)),
        }
        for name, size in sizes.items():
            freeze(self, name, whole_numbers(f"customer days: {name}", getattr(self, name), size))
        freeze(self, "weight", amounts("customer days: weight", self.weight, customers, 0.0))
        freeze(self, "converted", np.array(self.converted, dtype=np.bool_))
        last = {
            "touch_day": np.repeat(self.last_day, np.diff(self.touch_start)),
            "record_day": np.repeat(self.last_day, np.diff(self.record_start)),
        }
        for wrong, what in (
            ((self.weight == 0).any(), "a customer has the weight 0"),
            ((self.first_stage < 0) | (self.first_stage > len(self.steps)), "an unknown stage"),
            ((self.first_weekday < 0) | (self.first_weekday > 6), "no weekday"),
            ((self.last_day < 0) | (self.last_day > self.horizon), "a day beyond the horizon"),
            ((self.touch_channel < 0) | (self.touch_channel >= len(self.channels)), "no channel"),
            ((self.record_rungs <= 0) | (self.record_rungs >> len(self.steps) > 0), "no rung"),
            *(
                ((getattr(self, d) < 0) | (getattr(self, d) > last[d]), f"{d}: no such day")
                for d in ("touch_day", "record_day")
            ),
            (
                (self.touch_day[self.touch_start[:-1]] != 0) if self.touch_day.size else True,
                "day 0 is not that of the first touch",
            ),
        ):
            if np.any(wrong):
                raise InvalidPaths(f"customer days: {what}")

    @property
    def customers(self) -> int:
        return self.weight.size

    @property
    def stages(self) -> int:
        """Stages below the conversion, J."""
        return len(self.steps) + 1

    @property
    def conversions(self) -> float:
        """Weighted."""
        return float(self.weight[self.converted].sum())

    def entries(self) -> Booleans:
        """Channels touched on day 0, (N, K)."""
        seen = np.zeros((self.customers, len(self.channels)), dtype=np.bool_)
        customer = np.repeat(np.arange(self.customers), np.diff(self.touch_start))
        first = self.touch_day == 0
        seen[customer[first], self.touch_channel[first]] = True
        return seen

    def part(self, chosen: Booleans) -> CustomerDays:
        """Only the chosen customers, (N,)."""
        touches = np.repeat(chosen, np.diff(self.touch_start))
        records = np.repeat(chosen, np.diff(self.record_start))
        return replace(
            self,
            **{
                name: getattr(self, name)[chosen]
                for name in (
                    *("weight", "group", "first_stage", "last_day", "first_weekday", "horizon"),
                    "converted",
                )
            },
            touch_start=_starts(np.diff(self.touch_start)[chosen]),
            touch_day=self.touch_day[touches],
            touch_channel=self.touch_channel[touches],
            record_start=_starts(np.diff(self.record_start)[chosen]),
            record_day=self.record_day[records],
            record_rungs=self.record_rungs[records],
        )


def read_customer_days(
    channels: tuple[str, ...], steps: tuple[str, ...], customers: pd.DataFrame, days: pd.DataFrame
) -> CustomerDays:
    """The tables ladder_customers and ladder_days of one goal.

    Parameters
    ----------
    customers : frame
        Columns customer, replicate_group, weight, last_day, first_weekday, horizon, is_converted,
        share_elsewhere.
    days : frame
        Columns customer, day, channel_index, rung, is_in_order: a touch, or the record of a rung,
        on day -1 where it came before the first touch.
    """
    customers = customers.sort_values("customer")
    columns: tuple[str, ...] = (
        *("customer", "replicate_group", "weight", "last_day", "first_weekday", "horizon"),
        *("is_converted", "share_elsewhere"),
    )
    ids, group, weight, last_day, first_weekday, horizon, converted, elsewhere = take_columns(
        "ladder_customers", customers, columns
    )
    columns = ("customer", "day", "channel_index", "rung", "is_in_order")
    who, day, channel, rung, in_order = take_columns("ladder_days", days, columns)
    place = np.searchsorted(ids, who)
    if who.size and not (ids[np.minimum(place, ids.size - 1)] == who).all():
        raise InvalidPaths("ladder_days: a day of a customer that ladder_customers does not have")
    recorded = ~pd.isna(rung)
    kept = recorded & in_order.astype(np.bool_)
    early, later, touched = kept & (day < 0), kept & (day >= 0), ~recorded
    first_stage = np.zeros(ids.size, dtype=np.int64)
    np.maximum.at(first_stage, place[early], rung[early].astype(np.int64))
    order = np.lexsort((channel[touched], day[touched], place[touched]))
    at = np.stack([place[later], day[later].astype(np.int64)])
    keys, which = np.unique(at, axis=1, return_inverse=True)
    rungs = np.zeros(keys.shape[1], dtype=np.int64)
    np.bitwise_or.at(rungs, which.ravel(), 1 << (rung[later].astype(np.int64) - 1))
    return CustomerDays(
        channels=channels,
        steps=steps,
        weight=weight,
        group=group,
        first_stage=first_stage,
        last_day=last_day,
        first_weekday=first_weekday,
        horizon=horizon,
        converted=converted.astype(np.bool_),
        touch_start=_starts(np.bincount(place[touched], minlength=ids.size)),
        touch_day=day[touched][order],
        touch_channel=channel[touched][order].astype(np.int64),
        record_start=_starts(np.bincount(keys[0], minlength=ids.size)),
        record_day=keys[1],
        record_rungs=rungs,
        share_out_of_order=float(1 - kept.sum() / recorded.sum()) if recorded.any() else 0.0,
        share_elsewhere=float(elsewhere.max(initial=0.0)),
    )


def _starts(counts: Integers) -> Integers:
    return np.concatenate([[0], np.cumsum(counts)])

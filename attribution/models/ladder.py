"""The ladder: credit by what moved customers from one micro-conversion to the next.

Stages are hidden Markov states between recorded rungs (input-output HMM, Bengio & Frasconi 1995;
HMM of the funnel, Abhishek, Fader & Hosanagar 2012, SSRN 2158421). Customers on the same rung are
alike in most of what makes them both meet a channel and convert; given the rung, what a touch adds
to the hazard of moving on is close to what it causes. docs/ladder.md says when that fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from attribution.customer_days import CustomerDays
from attribution.errors import ModelRefused
from attribution.intervals import jackknife
from attribution.models.ladder_chances import Ladder
from attribution.models.ladder_choice import choose
from attribution.models.ladder_em import Fitted, Shape, fit_ladder, met_by_stage
from attribution.models.ladder_influence import replicate_ladders
from attribution.models.ladder_sums import Sums
from attribution.models.ladder_tables import (
    chance_per_contact,
    diagnostics,
    effect_rows,
    stage_rows,
)
from attribution.models.ladder_value import (
    MOST_EXACT,
    Entries,
    all_sets,
    antithetic_orders,
    conversion_chances,
    entries_of,
    sets_of_orders,
    shapley_of_orders,
)
from attribution.models.shapley_sets import shapley_values
from attribution.paths import Floats
from attribution.statistics import ChannelCredit

FEWEST = 30  # conversions
SURE = 0.9  # a rung that a touch brings along so often is part of the touch
ORDERS = 400  # of channels, where there are too many for all sets
REPLICATE_ORDERS = 2  # for the differences that intervals need: what sampling adds cancels


@dataclass(frozen=True, eq=False)
class LadderFit:
    """The ladder of one goal.

    Attributes
    ----------
    credit : ChannelCredit
        Baseline `(organic)`; with `incremental`.
    replicates : float array, (G, K), or None
        Shares without each replicate group.
    stages, effects : list of dict
        Rows of the marts ladder_stages and ladder_effects.
    fitted, sums, entries
        Parameters, expected sums at them, and how customers enter.
    ladder : Ladder
        The parameters, with contact chances by stage where the fit had none.
    without : list of (Ladder, Entries), G of them
        The same without each replicate group.
    """

    credit: ChannelCredit
    replicates: Floats | None
    stages: list[dict[str, Any]]
    effects: list[dict[str, Any]]
    fitted: Fitted
    ladder: Ladder
    sums: Sums
    entries: Entries
    without: list[tuple[Ladder, Entries]]


def ladder(
    days: CustomerDays,
    conversions: float,
    revenue: float,
    groups: int,
    seed: int = 7,
    shape: Shape | None = None,
    start: Ladder | None = None,
    weekdays: bool = False,
) -> LadderFit:
    """Fit the ladder and divide the conversions.

    Parameters
    ----------
    days : CustomerDays
    conversions, revenue : float
        Of all customers with a touch: what credit with `(organic)` sums to.
    groups : int
        Replicate groups, G; 0 for no intervals.
    shape : none, geometric, free, or None
        Kernel; None chooses the ladder's form by customers held out.
    start : Ladder, or None
        Where to climb from.
    weekdays : bool
        Whether weekdays may differ, in contacts and in organic moves.

    Raises
    ------
    ModelRefused
        where these days cannot carry a ladder, with the reason.
    ConvergenceError
    """
    check(days)
    choice = None
    if shape is None:
        choice = choose(days, seed, weekdays)
        shape, start = choice.shape, start or choice.start
    fitted = fit_ladder(days, shape, start)
    sums, entry_stages = fitted.sums, fitted.entry_stages
    found = met_by_stage(fitted.ladder, sums)
    entries = entries_of(days, entry_stages)
    shares, organic, incremental, cut = divided(found, entries, seed)
    replicates = low = high = None
    without: list[tuple[Ladder, Entries]] = []
    if groups:
        ladders, parts = replicate_ladders(
            days, fitted.ladder, shape == "geometric", sums, entry_stages, groups
        )
        without = list(zip(ladders, parts, strict=True))
        replicates = _replicate_shares(found, entries, shares, ladders, parts, seed)
        low, high = _effect_intervals(found, ladders)
    chances = conversion_chances(found, entries, np.ones((1, len(days.channels)), dtype=np.bool_))
    return LadderFit(
        credit=ChannelCredit(
            conversions=shares * conversions,
            revenue=shares * revenue,
            incremental=incremental * conversions,
            diagnostics=diagnostics(days, fitted, choice, float(chances[0]), cut),
            baseline_conversions=organic * conversions,
            baseline_revenue=organic * revenue,
            baseline_name="(organic)",
        ),
        replicates=replicates,
        stages=stage_rows(days, found, sums),
        effects=effect_rows(days, found, low, high),
        fitted=fitted,
        ladder=found,
        sums=sums,
        entries=entries,
        without=without,
    )


class Division(NamedTuple):
    """Of all conversions with a touch.

    shares : (K,) of the channels, >= 0
    organic : their rest
    incremental : (K,) what would be lost without each channel alone
    cut : what channels would take away by their Shapley values, borne by the others
    """

    shares: Floats
    organic: float
    incremental: Floats
    cut: float


def divided(ladder: Ladder, entries: Entries, seed: int = 7) -> Division:
    """Shapley shares of the channels, and what each of them alone brings."""
    channels = ladder.contact.shape[1]
    if channels <= MOST_EXACT:
        values = conversion_chances(ladder, entries, all_sets(channels))
        gains, whole = shapley_values(values), values[-1]
        without = values[(1 << channels) - 1 - (1 << np.arange(channels))]
    else:
        orders = antithetic_orders(channels, ORDERS // 2, seed)
        values = conversion_chances(ladder, entries, sets_of_orders(orders))
        gains = shapley_of_orders(orders, values)
        whole = values[channels]
        without = conversion_chances(ladder, entries, ~np.eye(channels, dtype=np.bool_))
    found = gains / whole
    shares = not_negative(found)
    return Division(
        shares=shares,
        organic=float(1 - shares.sum()),
        incremental=(whole - without) / whole,
        cut=float(-found[found < 0].sum()),
    )


def not_negative(shares: Floats) -> Floats:
    """Shares cut at 0 with the same sum, where that is above 0.

    A touch may move customers to a rung from which fewer go on to convert, most often by chance. No
    channel has negative credit: what it would take away, the others bear.
    """
    kept = np.maximum(shares, 0.0)
    return kept * (max(float(shares.sum()), 0.0) / kept.sum()) if kept.any() else kept


def check(days: CustomerDays) -> None:
    """Refuse days that cannot carry a ladder.

    Raises
    ------
    ModelRefused
    """
    if len(days.steps) < 2:
        raise ModelRefused(
            "ladder: one rung is no ladder: name two or more micro-conversions in `steps`, from "
            "the first to the last"
        )
    seen = np.bitwise_or.reduce(days.record_rungs, initial=0) | np.bitwise_or.reduce(
        (1 << days.first_stage) >> 1, initial=0
    )
    if not seen:
        raise ModelRefused(
            "ladder: no step of the setting `steps` was recorded: deliver the export `steps`, and "
            f"name its steps in the setting (now {', '.join(days.steps)})"
        )
    missing = [step for j, step in enumerate(days.steps) if not seen >> j & 1]
    if missing:
        raise ModelRefused(
            f"ladder: no customer has the step {', '.join(missing)}: correct the setting `steps`"
        )
    converted = int(days.converted.sum())
    if converted < FEWEST:
        raise ModelRefused(
            f"ladder: {converted} sampled customers convert, and it needs {FEWEST}: take a longer "
            "window_days or more sample_customers"
        )
    if days.share_out_of_order > 0.3:
        raise ModelRefused(
            f"ladder: {days.share_out_of_order:.0%} of the recorded steps come after a higher one: "
            "put `steps` into the order in which customers take them"
        )
    _check_clicks(days)


def _check_clicks(days: CustomerDays) -> None:
    """A rung that nearly every touch of a channel brings along is not caused by it, it is it.

    Of the touches before the rung or a higher one was recorded.
    """
    customer = np.repeat(np.arange(days.customers), np.diff(days.touch_start))
    record = np.repeat(np.arange(days.customers), np.diff(days.record_start))
    never = int(days.horizon.max()) + 1
    for j, step in enumerate(days.steps, start=1):
        reached, taken = np.full((2, days.customers), never)
        above = days.record_rungs >> (j - 1) > 0
        np.minimum.at(reached, record[above], days.record_day[above])
        here = days.record_rungs >> (j - 1) & 1 > 0
        np.minimum.at(taken, record[here], days.record_day[here])
        open_yet = (days.touch_day <= reached[customer]) & (days.first_stage[customer] < j)
        same = days.touch_day == taken[customer]
        for c, channel in enumerate(days.channels):
            mine = open_yet & (days.touch_channel == c)
            weight = days.weight[customer[mine]]
            share = weight @ same[mine] / weight.sum() if mine.sum() >= FEWEST else 0.0
            if share > SURE:
                raise ModelRefused(
                    f"ladder: {share:.0%} of the touches of {channel} record {step} the same day: "
                    "the touch itself is the step; take it out of `steps`"
                )


def _replicate_shares(
    ladder: Ladder,
    entries: Entries,
    shares: Floats,
    ladders: list[Ladder],
    parts: list[Entries],
    seed: int,
) -> Floats:
    """Shares without each group, (G, K), as they change before they are cut at 0. All sets of many
    channels are too many to value a hundred times: the change is then measured along the same few
    orders for all.
    """
    channels = shares.size
    orders = antithetic_orders(channels, REPLICATE_ORDERS // 2, seed)
    few = channels <= 8
    sets = all_sets(channels) if few else sets_of_orders(orders)

    def along(ladder: Ladder, entries: Entries) -> Floats:
        values = conversion_chances(ladder, entries, sets)
        if few:
            return np.asarray(shapley_values(values) / values[-1])
        return np.asarray(shapley_of_orders(orders, values) / values[channels])

    centre = along(ladder, entries)
    changes = [along(*part) - centre for part in zip(ladders, parts, strict=True)]
    return np.asarray(shares + np.array(changes))


def _effect_intervals(ladder: Ladder, ladders: list[Ladder]) -> tuple[Floats, Floats]:
    chances = chance_per_contact(ladder)
    found = jackknife(
        chances.ravel(), np.array([chance_per_contact(part).ravel() for part in ladders])
    )
    return found.low.reshape(chances.shape), found.high.reshape(chances.shape)

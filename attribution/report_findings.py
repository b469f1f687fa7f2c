"""What a reader who stops at the first screen should know, in sentences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from math import inf

from attribution.report_facts import NO_CHANNEL, Credit, Facts
from attribution.report_journeys import YARDSTICK
from attribution.wording import Wording, apart


def findings(facts: Facts, wording: Wording, partial: Collection[str] = ()) -> Iterable[str]:
    """What a reader who stops here should know: a few sentences, each from figures of the page.

    partial : channels whose spend is not known for the whole window.
    """
    model, whole = facts.default_model, facts.credit[None]
    rows = [row for row in whole[model] if row.channel not in NO_CHANNEL]
    name = wording.text(f"model_{model}")
    if not rows or not rows[0].share > 0:
        return
    yield _strongest(rows, {row.channel: row.share for row in whole[YARDSTICK]}, model, wording)
    organic = sum(row.share for row in whole[model] if row.channel == "(organic)")
    if organic:
        yield wording.text("finding_organic", share=wording.percent(organic), model=name)
    spread = {c: s for c, s in spreads(whole).items() if c not in NO_CHANNEL}
    widest = max(spread, key=lambda channel: (spread[channel], channel))
    shares = {m: r.share for m, found in whole.items() for r in found if r.channel == widest}
    low, high = min(shares, key=lambda m: shares[m]), max(shares, key=lambda m: shares[m])
    if low != high:
        yield wording.text(
            "finding_spread",
            channel=apart(widest),
            low=wording.percent(shares[low]),
            low_model=wording.text(f"model_{low}"),
            high=wording.percent(shares[high]),
            high_model=wording.text(f"model_{high}"),
        )
    yield from _cost(
        whole[model], [row for row in rows if row.channel not in partial], wording, name
    )


def _strongest(
    rows: list[Credit], yardstick: Mapping[str, float], model: str, wording: Wording
) -> str:
    """The largest channel, and whether that is certain."""
    top = rows[0]
    said = wording.text(
        "finding_top" if model != YARDSTICK else "finding_top_bare",
        channel=apart(top.channel),
        model=wording.text(f"model_{model}"),
        share=wording.percent(top.share),
        last_touch=wording.percent(yardstick.get(top.channel)),
    )
    rivals = [
        row
        for row in rows[1:]
        if row.high is not None and top.low is not None and row.high >= top.low
    ]
    if rivals:
        key = "finding_close" if len(rivals) > 1 else "finding_close_one"
        said += " " + wording.text(key, n=len(rivals), rival=apart(rivals[0].channel))
    return said


def _cost(credit: list[Credit], paid: list[Credit], wording: Wording, model: str) -> Iterable[str]:
    """What earns nothing for its cost; then least and most cost, where that is no chance."""
    idle = [row for row in credit if row.cost and row.cost > 0 and row.conversions <= 0]
    if idle:
        yield wording.text(
            "finding_idle",
            model=model,
            channels=", ".join(apart(row.channel) for row in idle),
            cost=wording.money(sum(row.cost or 0.0 for row in idle)),
        )
    whole = sum(row.conversions for row in credit)
    ranges = {row.channel: found for row in paid if (found := _cost_range(row, whole))}
    exact = {row.channel: row.cost_per_conversion or 0.0 for row in paid if row.channel in ranges}
    if not exact:
        return
    cheap, dear = min(exact, key=lambda c: exact[c]), max(exact, key=lambda c: exact[c])
    if ranges[cheap][1] < ranges[dear][0]:
        yield wording.text(
            "finding_cost",
            model=model,
            cheap=apart(cheap),
            low=_money_range(*ranges[cheap], wording),
            dear=apart(dear),
            high=_money_range(*ranges[dear], wording),
        )


def _cost_range(row: Credit, whole: float) -> tuple[float, float] | None:
    """Cost per conversion at both ends of the share's interval; None where it is not known."""
    if not row.cost or row.cost < 0 or row.conversions <= 0 or row.low is None or not row.high:
        return None
    return row.cost / (row.high * whole), row.cost / (row.low * whole) if row.low > 0 else inf


def _money_range(low: float, high: float, wording: Wording) -> str:
    if high == inf:
        return wording.text("at_least", value=wording.price(low))
    return f"{wording.price(low)} – {wording.price(high)}"


def spreads(credit: Mapping[str, list[Credit]]) -> dict[str, float]:
    """How far the models are apart over each channel, as a difference of shares."""
    shares: dict[str, list[float]] = defaultdict(list)
    for rows in credit.values():
        for row in rows:
            shares[row.channel].append(row.share)
    return {channel: max(found) - min(found) for channel, found in shares.items()}

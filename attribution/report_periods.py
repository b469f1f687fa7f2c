"""The periods that the page compares, and for which of their days spend is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from attribution.report_facts import Facts

COMPARED_DAYS = 28
REST = 7  # days without spend that a campaign may rest; after more, spend has a gap

Span = tuple[date, date]


@dataclass(frozen=True)
class Period:
    """Totals of some days, both ends included.

    missing : channels whose spend is not known for all of the days; then there are no ratios.
    """

    first: date
    last: date
    conversions: float
    revenue: float
    cost: float | None
    missing: tuple[str, ...] = ()

    @property
    def cost_per_conversion(self) -> float | None:
        if self.cost is None or self.missing or self.conversions <= 0:
            return None
        return self.cost / self.conversions

    @property
    def return_on_spend(self) -> float | None:
        return self.revenue / self.cost if self.cost and not self.missing else None


@dataclass(frozen=True)
class Feed:
    """The days, in order, for which a channel's spend was delivered."""

    days: list[date]

    @property
    def step(self) -> int:
        """Days from one delivery to the next, as a rule: nine of ten take no longer."""
        steps = sorted((after - before).days for before, after in pairwise(self.days))
        return steps[-(-len(steps) * 9 // 10) - 1] if steps else 1

    @property
    def spans(self) -> tuple[Span, ...]:
        """From which day to which spend is known without a gap."""
        rest = max(self.step, REST)
        gaps = [(a, b) for a, b in pairwise(self.days) if (b - a).days > rest]
        begins = [self.days[0], *(after for _, after in gaps)]
        ends = [*(before for before, _ in gaps), self.days[-1]]
        return tuple(zip(begins, ends, strict=True))

    def covers(self, first: date, last: date) -> bool:
        """Whether spend is known from the one day to the other; a weekly feed may miss six."""
        near = timedelta(days=self.step - 1)
        return any(first <= day <= last for day in self.days) and any(
            begin - near <= first and last <= end + near for begin, end in self.spans
        )


def feeds(facts: Facts) -> dict[str, Feed]:
    """Deliveries of each channel that costs anything; a delivered 0 is known, too."""
    days: dict[str, list[date]] = defaultdict(list)
    for day, channel, _ in sorted(facts.spend):
        days[channel].append(day)
    costly = {channel for _, channel, cost in facts.spend if cost}
    return {channel: Feed(found) for channel, found in days.items() if channel in costly}


def known_spend(facts: Facts, periods: list[Period]) -> list[tuple[list[str], tuple[Span, ...]]]:
    """Channels whose spend misses days of any period, and the days for which it is known."""
    found: dict[tuple[Span, ...], list[str]] = defaultdict(list)
    missing = {channel for period in periods for channel in period.missing}
    for channel, feed in feeds(facts).items():
        if channel in missing:
            found[feed.spans].append(channel)
    return [(sorted(channels), spans) for spans, channels in sorted(found.items())]


def compare_periods(facts: Facts, first: date, last: date) -> list[Period]:
    """The whole window, the latest weeks and as many before them.

    Whole weeks, since weekdays differ; at most COMPARED_DAYS. Without two weeks of data there is
    the window alone.
    """
    starts = [day for day, *_ in facts.daily] + [day for day, *_ in facts.spend]
    available = (last - max(first, min(starts, default=first))).days + 1
    days = min(COMPARED_DAYS, available // 2) // 7 * 7
    whole = _period(facts, first, last)
    if not days:
        return [whole]
    begin = last - timedelta(days=days - 1)
    before = begin - timedelta(days=1)
    return [
        whole,
        _period(facts, begin, last),
        _period(facts, begin - timedelta(days=days), before),
    ]


def _period(facts: Facts, first: date, last: date) -> Period:
    days = [row for row in facts.daily if first <= row[0] <= last]
    spend = [cost for day, _, cost in facts.spend if first <= day <= last]
    # before the first conversion of all there is nothing that spend could be missing for
    begin = max(first, min((day for day, *_ in facts.daily), default=first))
    missing = (c for c, feed in feeds(facts).items() if not feed.covers(min(begin, last), last))
    return Period(
        first,
        last,
        conversions=sum(row[2] for row in days),
        revenue=sum(row[3] for row in days),
        cost=sum(spend) if spend else None,
        missing=tuple(missing),
    )


def window(facts: Facts, manifest: Mapping[str, Any]) -> Span:
    """First and last day of what the version covers."""
    last, days = date.fromisoformat(manifest["run_date"]), manifest["settings"]["window_days"]
    if days == "all":
        known = [day for day, *_ in facts.daily] + [day for day, *_ in facts.spend]
        return min(known, default=last), last
    return last - timedelta(days=int(days) - 1), last

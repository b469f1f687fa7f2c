"""Credit: the frozen result of every model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from attribution.errors import ModelError, NoConversions
from attribution.fits import Fit
from attribution.intervals import Intervals, jackknife, none
from attribution.paths import Floats
from attribution.statistics import ChannelCredit

UNATTRIBUTED = "(unattributed)"
Option = float | int | str


@dataclass(frozen=True)
class Totals:
    """What credit must add up to: C and R, and the part of each that no touch can claim."""

    conversions: float
    revenue: float
    unattributed_conversions: float = 0.0
    unattributed_revenue: float = 0.0


@dataclass(frozen=True, eq=False)
class Credit:
    """Credit of all conversions and all revenue, by channel.

    Attributes
    ----------
    model : str
    options : mapping of str to number or str
        Every option of the model, those left at their default included.
    channels : tuple of str, (K,)
        Sorted.
    conversions, revenue : float array, (K,)
        Credit in conversions and in money.
    totals : Totals
        What credit, baseline and the unattributed rest must sum to, within 1e-9 relative.
    intervals : Intervals
        Of the shares, (K,) each; NaN where the model has none.
    baseline_name : str
    baseline_conversions, baseline_revenue : float
        What the model credits to no channel.
    removal_effect : float array, (K,), or None
        Fractions in [0, 1], where the model has them.
    incremental : float array, (K,), or None
        Conversions that would be lost without the channel alone; no credit.
    diagnostics : mapping of str to float or str

    Raises
    ------
    NoConversions
        Where C is 0, so that no share exists.
    ModelError
        Where a number is not finite, or credit does not sum to the totals.
    """

    model: str
    options: Mapping[str, Option]
    channels: tuple[str, ...]
    conversions: Floats
    revenue: Floats
    totals: Totals
    intervals: Intervals
    baseline_name: str = "(baseline)"
    baseline_conversions: float = 0.0
    baseline_revenue: float = 0.0
    removal_effect: Floats | None = None
    incremental: Floats | None = None
    diagnostics: Mapping[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.totals.conversions == 0:
            raise NoConversions(f"no path converts, so {self.model} has nothing to credit")
        for name in ("conversions", "revenue", "removal_effect", "incremental"):
            values = getattr(self, name)
            if values is None:
                continue
            if values.shape != (len(self.channels),) or not np.isfinite(values).all():
                raise ModelError(f"{self.model}: {name} is not one finite number per channel")
        totals = self.totals
        rest = totals.unattributed_conversions + self.baseline_conversions
        self._check_sum("conversions", rest, totals.conversions)
        rest = totals.unattributed_revenue + self.baseline_revenue
        self._check_sum("revenue", rest, totals.revenue)
        if UNATTRIBUTED in self.channels and self._rest():
            raise ModelError(
                f"{self.model}: a channel is called {UNATTRIBUTED} and there are conversions "
                "without a touch: rename the channel"
            )

    def _check_sum(self, name: str, rest: float, total: float) -> None:
        parts = np.append(getattr(self, name), rest)
        # Revenue may hold refunds: what counts is the money moved, not the difference left.
        scale = max(abs(total), float(np.abs(parts).sum()))
        if not abs(float(parts.sum()) - total) <= 1e-9 * scale:
            raise ModelError(
                f"{self.model}: credited {name} sum to {parts.sum():.12g}, not to {total:.12g}"
            )

    @property
    def has_baseline(self) -> bool:
        return self.baseline_conversions != 0 or self.baseline_revenue != 0

    def _rest(self) -> bool:
        return self.totals.unattributed_conversions != 0 or self.totals.unattributed_revenue != 0

    @property
    def share(self) -> Floats:
        """Fraction of all conversions, the unattributed included, (K,)."""
        return self.conversions / self.totals.conversions

    def rows(self) -> list[dict[str, Any]]:
        """One row of plain values per channel; then the baseline and the unattributed, if any."""
        rows = [
            self._row(channel, float(self.conversions[k]), float(self.revenue[k]))
            | _interval(self.intervals, k)
            | {
                name: float(values[k])
                for name, values in (
                    ("removal_effect", self.removal_effect),
                    ("incremental", self.incremental),
                )
                if values is not None
            }
            for k, channel in enumerate(self.channels)
        ]
        if self.has_baseline:
            rows.append(
                self._row(self.baseline_name, self.baseline_conversions, self.baseline_revenue)
            )
        if self._rest():
            totals = self.totals
            rows.append(
                self._row(
                    UNATTRIBUTED, totals.unattributed_conversions, totals.unattributed_revenue
                )
            )
        return rows

    def _row(self, channel: str, conversions: float, revenue: float) -> dict[str, Any]:
        return {
            "channel": channel,
            "conversions": conversions,
            "revenue": revenue,
            "share": conversions / self.totals.conversions,
            "share_low": None,
            "share_high": None,
            "standard_error": None,
        }

    def as_json(self) -> dict[str, Any]:
        """As plain values: model, options, one row per channel, diagnostics."""
        return {
            "model": self.model,
            "options": dict(self.options),
            "channels": self.rows(),
            "diagnostics": dict(self.diagnostics),
        }


def _interval(intervals: Intervals, k: int) -> dict[str, float | None]:
    named = {
        "share_low": intervals.low[k],
        "share_high": intervals.high[k],
        "standard_error": intervals.standard_error[k],
    }
    return {name: float(value) if np.isfinite(value) else None for name, value in named.items()}


def credit_of(
    model: str,
    options: Mapping[str, Option],
    channels: tuple[str, ...],
    fit: Fit,
    totals: Totals,
    attributed_share: Floats,
) -> Credit:
    """A fit's shares of all attributed conversions, with their intervals.

    Parameters
    ----------
    fit : Fit
        Its own totals may be smaller than the attributed ones: a fit may leave young journeys out.
    attributed_share : float array, (G,)
        Fraction of all conversions that has a touch, without each replicate group.
    """
    found = fit.credit
    conversions = totals.conversions - totals.unattributed_conversions
    revenue = totals.revenue - totals.unattributed_revenue
    fitted = float(found.conversions.sum()) + found.baseline_conversions
    scale = conversions / fitted if fitted else 1.0
    if fit.replicates is None or not totals.conversions:
        intervals = none(found.conversions.size)
    else:
        share = found.conversions * scale / totals.conversions
        factor = conversions / totals.conversions
        replicates = fit.replicates * attributed_share[:, None]
        variance = fit.variance * factor**2
        intervals = jackknife(share, replicates, variance, fit.is_signed)
    paid, baseline_paid = _paid(found, revenue)
    return Credit(
        model=model,
        options=options,
        channels=channels,
        conversions=found.conversions * scale,
        revenue=paid,
        totals=totals,
        intervals=intervals,
        baseline_name=found.baseline_name,
        baseline_conversions=found.baseline_conversions * scale,
        baseline_revenue=baseline_paid,
        removal_effect=found.removal_effect,
        incremental=None if found.incremental is None else found.incremental * scale,
        diagnostics=found.diagnostics,
    )


def _paid(found: ChannelCredit, revenue: float) -> tuple[Floats, float]:
    """Credit in money, (K,), and of the baseline, that sums to all attributed revenue.

    Where refunds leave about nothing of what moved, a ratio of sums says nothing: a fit of all
    journeys stays as it is, and of one that left some out money follows the conversions.
    """
    parts = np.append(found.revenue, found.baseline_revenue)
    credited, moved = float(parts.sum()), float(np.abs(parts).sum())
    if abs(revenue - credited) > 1e-9 * moved:
        if credited * revenue > 0 and abs(credited) > 0.01 * moved:
            parts = parts * (revenue / credited)
        else:
            parts = np.append(found.conversions, found.baseline_conversions)
            parts = parts * (revenue / parts.sum())
    return parts[:-1], float(parts[-1])

"""What the ladder tells besides credit: rows of its marts, and diagnostics."""

from __future__ import annotations

from typing import Any

import numpy as np

from attribution.customer_days import CustomerDays
from attribution.models.ladder_chances import Ladder
from attribution.models.ladder_choice import Choice
from attribution.models.ladder_em import LAGS, Fitted
from attribution.models.ladder_sums import Sums
from attribution.paths import Floats

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
HEAVY = 0.1  # share of the kernel on its last day that says it is too short


def chance_per_contact(ladder: Ladder) -> Floats:
    """Chance that one touch moves a customer up from a stage, over all its lags, (J, K)."""
    return np.asarray(-np.expm1(-ladder.effect.sum(axis=1)))


def diagnostics(
    days: CustomerDays, fitted: Fitted, choice: Choice | None, predicted: float, cut: float
) -> dict[str, float | str]:
    ladder = fitted.ladder
    told: dict[str, float | str] = {
        "customers_sampled": float(days.customers),
        "conversions_sampled": days.conversions,
        "conversions_predicted": predicted * float(days.weight.sum()),
        "cut_below_zero": cut,
        "log_likelihood": fitted.log_likelihood,
        "passes": float(fitted.iterations),
        "gone_per_day": ladder.gone,
        "share_out_of_order": days.share_out_of_order,
        "share_elsewhere": days.share_elsewhere,
        "kernel_mean_days": float(ladder.kernel @ np.arange(ladder.kernel.size)),
        "kernel_last_day": float(ladder.kernel[-1]) if ladder.kernel.size > 1 else 0.0,
    }
    told["kernel_too_short"] = float(told["kernel_last_day"] > HEAVY)  # type: ignore[operator]
    told["is_met_alike"] = float(len(ladder.contact) == 1)
    for name in LAGS:
        told[f"kernel_is_{name}"] = float(fitted.shape == name)
    for number, (activity, share) in enumerate(
        zip(ladder.activity, ladder.activity_share, strict=True), start=1
    ):
        told[f"activity_class_{number}"] = float(
            activity / (ladder.activity @ ladder.activity_share)
        )
        told[f"activity_class_{number}_share"] = float(share)
    if ladder.week.shape[1] > 1:
        for what, factors in zip(("contacts", "organic_moves"), ladder.week, strict=True):
            for day, factor in zip(WEEKDAYS, factors, strict=True):
                told[f"{what}_on_{day}"] = float(factor)
    if choice is not None:
        told |= {f"held_out_{name}": value for name, value in choice.held_out.items()}
        told |= {f"foreseen_{name}": value for name, value in choice.foreseen.items()}
    for j, step in enumerate(days.steps, start=1):
        told[f"recorded_share: {step}"] = float(ladder.recorded[j])
    for lag, share in enumerate(ladder.kernel):
        told[f"kernel_day_{lag}"] = float(share)
    return told


def stage_rows(days: CustomerDays, ladder: Ladder, sums: Sums) -> list[dict[str, Any]]:
    rungs = ["(start)", *days.steps, "(conversion)"]
    by_stage = sums.start.sum(axis=1)
    on_rung = sums.days.sum(axis=(0, 1)) + by_stage
    moved = (ladder.organic_by_weekday() * sums.organic_moves).sum(axis=(0, 2)) + (
        ladder.effect[..., None] * ladder.kernel * sums.effect_moves
    ).sum(axis=(1, 2, 3))
    rows = []
    for s in range(days.stages):
        passed = sums.passed[s] if s else 0.0
        rows.append(
            {
                "stage": s,
                "rung": rungs[s],
                "customers": float(by_stage[s:].sum() + passed),
                "recorded_share": float(ladder.recorded[s]) if s else None,
                "days_per_customer": float(on_rung[s] / max(by_stage[s:].sum() + passed, 1e-12)),
                "moves_per_day": float(-np.expm1(-moved[s] / max(on_rung[s], 1e-12))),
                "organic_moves_per_day": float(-np.expm1(-ladder.organic[s].sum())),
            }
        )
    rows.append(
        {
            "stage": days.stages,
            "rung": rungs[-1],
            "customers": days.conversions,
            "recorded_share": 1.0,
        }
    )
    return rows


def effect_rows(
    days: CustomerDays, ladder: Ladder, low: Floats | None, high: Floats | None
) -> list[dict[str, Any]]:
    rungs = ["(start)", *days.steps, "(conversion)"]
    chances = chance_per_contact(ladder)
    contacts = sum(
        share * ladder.contact_in(activity)
        for activity, share in zip(ladder.activity, ladder.activity_share, strict=True)
    )
    return [
        {
            "stage": s,
            "rung": rungs[s],
            "next_rung": rungs[s + 1],
            "channel": channel,
            "chance_per_contact": float(chances[s, c]),
            "chance_low": None if low is None else float(low[s, c]),
            "chance_high": None if high is None else float(high[s, c]),
            "contacts_per_day": float(contacts[s, c]),
            "same_day_share": float(ladder.kernel[0]),
            "mean_days_to_effect": float(ladder.kernel @ np.arange(ladder.kernel.size)),
        }
        for s in range(days.stages)
        for c, channel in enumerate(days.channels)
    ]

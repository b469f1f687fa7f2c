"""The line's journeys by pandas: arguments touchpoints, conversions, folder for what comes out."""

import json
import sys
from pathlib import Path

import pandas as pd

LOOKBACK = pd.Timedelta(days=30)


def main(touchpoints: str, conversions: str, folder: str) -> None:
    columns = ["customer_id", "goal", "converted_at"]
    instants = pd.read_parquet(conversions)[columns].drop_duplicates()
    goals = (
        instants[["customer_id"]]
        .drop_duplicates()
        .merge(instants[["goal"]].drop_duplicates(), how="cross")
    )
    touches = pd.read_parquet(
        touchpoints, columns=["touchpoint_id", "customer_id", "occurred_at", "channel"]
    ).merge(goals, on="customer_id", how="left")
    is_open = touches["goal"].isna()
    near = pd.merge_asof(
        touches[~is_open].sort_values("occurred_at"),
        instants.sort_values("converted_at"),
        left_on="occurred_at",
        right_on="converted_at",
        by=["customer_id", "goal"],
        direction="forward",
        tolerance=LOOKBACK,
    )
    touches = pd.concat([touches[is_open], near], ignore_index=True)
    order = ["customer_id", "goal", "occurred_at", "touchpoint_id"]
    touches = touches.sort_values(order, ignore_index=True)

    def as_before(column: str) -> pd.Series:
        value, before = touches[column], touches[column].shift()
        return ((value == before) | (value.isna() & before.isna())).astype(bool)

    goes_on = as_before("customer_id") & as_before("goal") & as_before("converted_at")
    goes_on &= touches["occurred_at"] - touches["occurred_at"].shift() <= LOOKBACK
    touches["journey"] = (~goes_on).cumsum()
    by_journey = touches.groupby("journey", sort=False)
    touches["position"] = by_journey.cumcount() + 1
    touches["previous_channel"] = touches["channel"].shift().where(goes_on)
    journeys = by_journey.agg(
        customer_id=("customer_id", "first"),
        goal=("goal", "first"),
        touchpoints=("channel", "size"),
        first_channel=("channel", "first"),
        last_channel=("channel", "last"),
        started_at=("occurred_at", "first"),
        ended_at=("occurred_at", "last"),
        converted_at=("converted_at", "first"),
    )
    # the set of channels; a list for each journey takes pandas minutes more
    sets = touches[["journey", "channel"]].drop_duplicates()
    touches.to_parquet(Path(folder) / "touches.parquet")
    journeys.to_parquet(Path(folder) / "journeys.parquet")
    sets.to_parquet(Path(folder) / "coalitions.parquet")
    converted = journeys[journeys["converted_at"].notna()]
    seconds = {
        name: column.astype("datetime64[s]").astype("int64")
        for name, column in (("begun", journeys["started_at"]), ("places", touches["occurred_at"]))
    }
    print(
        json.dumps(
            {
                "journeys": len(journeys),
                "converted": len(converted),
                "touches": len(touches),
                "touches_converted": int(converted["touchpoints"].sum()),
                "begun": int((journeys["touchpoints"] * seconds["begun"]).sum()),
                "channels": len(sets),
                "places": int((touches["position"] * seconds["places"]).sum()),
                "handed_over": int(touches["previous_channel"].count()),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

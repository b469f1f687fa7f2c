"""The line's journeys by polars: arguments touchpoints, conversions, folder for what comes out."""

import json
import sys
from pathlib import Path

import polars as pl

LOOKBACK = pl.duration(days=30)


def main(touchpoints: str, conversions: str, folder: str) -> None:
    instants = pl.read_parquet(conversions).select("customer_id", "goal", "converted_at").unique()
    goals = instants.select("customer_id").unique()
    goals = goals.join(instants.select("goal").unique(), how="cross")
    columns = ["touchpoint_id", "customer_id", "occurred_at", "channel"]
    touches = pl.read_parquet(touchpoints, columns=columns)
    # who never converts is not looked up
    near = (
        touches.join(goals, on="customer_id")
        .sort("occurred_at")
        .join_asof(
            instants.sort("converted_at"),
            left_on="occurred_at",
            right_on="converted_at",
            by=["customer_id", "goal"],
            strategy="forward",
            tolerance="30d",
            coalesce=False,
            check_sortedness=False,
        )
    )
    others = touches.join(goals, on="customer_id", how="anti")
    touches = pl.concat([near, others], how="diagonal").sort(
        "customer_id", "goal", "occurred_at", "touchpoint_id"
    )

    def as_before(column: str) -> pl.Expr:
        return pl.col(column).eq_missing(pl.col(column).shift())

    goes_on = (
        as_before("customer_id")
        & as_before("goal")
        & as_before("converted_at")
        & (pl.col("occurred_at") - pl.col("occurred_at").shift() <= LOOKBACK)
    )
    place = pl.int_range(pl.len(), dtype=pl.Int64)
    touches = touches.with_columns(begins=~goes_on.fill_null(value=False)).with_columns(
        journey=pl.col("begins").cum_sum(),
        position=place - pl.when("begins").then(place).forward_fill() + 1,
        previous_channel=pl.when(~pl.col("begins")).then(pl.col("channel").shift()),
    )
    bits = touches.select(pl.col("channel").unique()).with_columns(
        bit=pl.lit(2, dtype=pl.Int64).pow(pl.int_range(pl.len(), dtype=pl.Int64))
    )
    journeys = (
        touches.join(bits, on="channel", maintain_order="left")
        .group_by("journey")
        .agg(
            pl.first("customer_id"),
            pl.first("goal"),
            pl.len().alias("touchpoints"),
            pl.first("channel").alias("first_channel"),
            pl.last("channel").alias("last_channel"),
            pl.col("bit").bitwise_or().alias("coalition"),
            pl.first("occurred_at").alias("started_at"),
            pl.last("occurred_at").alias("ended_at"),
            pl.first("converted_at"),
        )
    )
    touches.write_parquet(Path(folder) / "touches.parquet")
    journeys.write_parquet(Path(folder) / "journeys.parquet")
    converted = journeys.filter(pl.col("converted_at").is_not_null())
    begun = journeys["touchpoints"].cast(pl.Int64) * journeys["started_at"].dt.epoch("s")
    print(
        json.dumps(
            {
                "journeys": journeys.height,
                "converted": converted.height,
                "touches": touches.height,
                "touches_converted": converted["touchpoints"].sum(),
                "begun": begun.sum(),
                "channels": journeys["coalition"].bitwise_count_ones().sum(),
                "places": (touches["position"] * touches["occurred_at"].dt.epoch("s")).sum(),
                "handed_over": touches["previous_channel"].count(),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

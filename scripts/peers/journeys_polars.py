"""The line's journeys by polars: arguments touchpoints, conversions, folder for what comes out."""

import json
import sys
from pathlib import Path

import polars as pl

LOOKBACK = pl.duration(days=30)


def main(touchpoints: str, conversions: str, folder: str) -> None:
    instants = pl.read_parquet(conversions).group_by("customer_id", "goal", "converted_at").len()
    goals = (
        instants.select("customer_id").unique().join(instants.select("goal").unique(), how="cross")
    )
    touches = (
        pl.read_parquet(
            touchpoints, columns=["touchpoint_id", "customer_id", "occurred_at", "channel"]
        )
        .join(goals, on="customer_id", how="left")
        .sort("occurred_at")
        .join_asof(
            instants.sort("converted_at").drop("len"),
            left_on="occurred_at",
            right_on="converted_at",
            by=["customer_id", "goal"],
            strategy="forward",
            tolerance="30d",
            coalesce=False,
            check_sortedness=False,
        )
        .sort("customer_id", "goal", "occurred_at", "touchpoint_id")
    )

    def as_before(column: str) -> pl.Expr:
        return pl.col(column).eq_missing(pl.col(column).shift())

    goes_on = (
        as_before("customer_id")
        & as_before("goal")
        & as_before("converted_at")
        & (pl.col("occurred_at") - pl.col("occurred_at").shift() <= LOOKBACK)
    )
    touches = (
        touches.with_columns(begins=~goes_on.fill_null(value=False))
        .with_columns(journey=pl.col("begins").cum_sum())
        .with_columns(
            position=pl.int_range(pl.len()).over("journey") + 1,
            previous_channel=pl.when(~pl.col("begins")).then(pl.col("channel").shift()),
        )
    )
    journeys = touches.group_by("journey").agg(
        pl.first("customer_id"),
        pl.first("goal"),
        pl.len().alias("touchpoints"),
        pl.first("channel").alias("first_channel"),
        pl.last("channel").alias("last_channel"),
        pl.col("channel").unique().alias("coalition"),
        pl.first("occurred_at").alias("started_at"),
        pl.last("occurred_at").alias("ended_at"),
        pl.first("converted_at"),
    )
    touches.write_parquet(Path(folder) / "touches.parquet")
    journeys.write_parquet(Path(folder) / "journeys.parquet")
    converted = journeys.filter(pl.col("converted_at").is_not_null())
    print(
        json.dumps(
            {
                "journeys": journeys.height,
                "converted": converted.height,
                "touches": touches.height,
                "touches_converted": converted["touchpoints"].sum(),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

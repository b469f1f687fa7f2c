"""The line's journeys by its own SQL, as dbt compiled it: arguments warehouse, the folder of the
compiled models, folder for what comes out. From the rows that were loaded, each table anew that
journeys are made of: duplicates, what is set aside, channels, customers, conversions.
"""

import json
import sys
from pathlib import Path

import duckdb

TABLES = (
    "staging/duplicate_touchpoints",
    "staging/crowded_customers",
    "staging/set_aside_touchpoints",
    "staging/duplicate_conversions",
    "staging/set_aside_conversions",
    "staging/stg_channels",
    "staging/stg_conversions",
    "journeys/conversion_instants",
    "staging/stg_customers",
    "journeys/journey_touchpoints",
    "journeys/journeys",
)
COUNTS = """
select
    count(*) as journeys,
    count(*) filter (where converted_at is not null) as converted,
    sum(touchpoints)::bigint as touches,
    sum(touchpoints) filter (where converted_at is not null)::bigint as touches_converted,
    sum(touchpoints * epoch(started_at)::bigint)::bigint as begun,
    sum(bit_count(coalition_0))::bigint as channels,
    any_value(places) as places,
    any_value(handed_over) as handed_over
from o.journeys
cross join (
    select
        sum(position * epoch(occurred_at)::bigint)::bigint as places,
        count(previous_channel_index) as handed_over
    from o.journey_touchpoints
) as touches
"""


def main(warehouse: str, compiled: str, folder: str) -> None:
    with duckdb.connect(config={"memory_limit": "1GB"}) as con:
        con.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
        con.execute("set preserve_insertion_order = false")
        con.execute(f"attach '{warehouse}' as warehouse (read_only)")
        con.execute(f"attach '{folder}/journeys.duckdb' as o (storage_version 'v1.3.0')")
        con.execute("use warehouse")
        for table in TABLES:
            sql = (Path(compiled) / f"{table}.sql").read_text(encoding="utf-8")
            for made in TABLES[: TABLES.index(table)]:
                schema, _, name = made.partition("/")
                sql = sql.replace(f'"warehouse"."{schema}"."{name}"', f"o.{name}")
            con.execute(f"create table o.{table.partition('/')[2]} as {sql}")
        found = con.execute(COUNTS)
        names = [column[0] for column in found.description or []]
        print(json.dumps(dict(zip(names, found.fetchone() or (), strict=True))))


if __name__ == "__main__":
    main(*sys.argv[1:])

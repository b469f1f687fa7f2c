"""The line's journeys by its own SQL, as dbt compiled it: arguments warehouse, the folder of the
compiled models, folder for what comes out. From what was loaded, with all that staging does.
"""

import json
import sys
from pathlib import Path

import duckdb

COUNTS = """
select
    count(*) as journeys,
    count(*) filter (where converted_at is not null) as converted,
    sum(touchpoints)::bigint as touches,
    sum(touchpoints) filter (where converted_at is not null)::bigint as touches_converted
from o.journeys
"""


def main(warehouse: str, compiled: str, folder: str) -> None:
    with duckdb.connect(config={"memory_limit": "4GB"}) as con:
        con.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
        con.execute("set preserve_insertion_order = false")
        con.execute(f"attach '{warehouse}' as warehouse (read_only)")
        con.execute(f"attach '{folder}/journeys.duckdb' as o (storage_version 'v1.3.0')")
        con.execute("use warehouse")
        for model in ("journey_touchpoints", "journeys"):
            sql = (Path(compiled) / f"{model}.sql").read_text(encoding="utf-8")
            # the second reads what the first wrote here
            sql = sql.replace(
                '"warehouse"."journeys"."journey_touchpoints"', "o.journey_touchpoints"
            )
            con.execute(f"create table o.{model} as {sql}")
        found = con.execute(COUNTS)
        names = [column[0] for column in found.description or []]
        print(json.dumps(dict(zip(names, found.fetchone() or (), strict=True))))


if __name__ == "__main__":
    main(*sys.argv[1:])

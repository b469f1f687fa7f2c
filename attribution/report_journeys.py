"""What the report asks of journeys that converted: how long, how late, from which channel to which.

Every answer is over all goals, or a median: tables of single goals beside one of all would tell by
subtraction what their small cells hide.
"""

from __future__ import annotations

import duckdb

from attribution.warehouse import quote

YARDSTICK = "last_touch"  # every run has it, and it lists every touch of a journey
HANDOVER_CHANNELS = 12
TOP_ENDS = 10


def collect_touches(con: duckdb.DuckDBPyConnection) -> None:
    """The touches of journeys that converted, once for all questions about them.

    One conversion stands for all that its journey led to at the same instant; the first touch names
    the journey.
    """
    con.execute(
        "create or replace temp table touches as "
        "with firsts as ("
        "select goal, min(conversion_id) as conversion_id "
        "from touchpoint_credit where model = $model and position = 1 group by goal, touchpoint_id"
        "), journeys as (select *, row_number() over () as journey from firsts"
        ") select touch.goal, journey, touch.channel, touch.position, touch.hours_to_conversion "
        "from touchpoint_credit as touch join journeys using (goal, conversion_id) "
        "where touch.model = $model",
        {"model": YARDSTICK},
    )
    con.execute(
        "create or replace temp table lengths as select goal, journey, "
        "max(position)::int as touches, max(hours_to_conversion) / 24 as exact_days, "
        "floor(exact_days)::int as days "
        "from touches group by goal, journey"
    )


def journeys_by(con: duckdb.DuckDBPyConnection, what: str) -> list[tuple[int, int]]:
    """(number of touches, or whole days from first touch to conversion; journeys)."""
    return con.execute(
        f"select {quote(what)}, count(*) from lengths group by {quote(what)} order by {quote(what)}"
    ).fetchall()


def medians(con: duckdb.DuckDBPyConnection, small: int) -> dict[str, tuple[float, float]]:
    """Median touches and days by goal, of goals with enough journeys."""
    rows = con.execute(
        "select goal, median(touches), median(exact_days) from lengths group by goal "
        "having count(*) >= ? order by goal",
        [small],
    ).fetchall()
    return {goal: (touches, days) for goal, touches, days in rows}


def ends(con: duckdb.DuckDBPyConnection, small: int) -> list[tuple[str, str, int]]:
    """With which channels journeys begin and end."""
    return con.execute(
        "with ends as (select min_by(channel, position) as first_channel, "
        "max_by(channel, position) as last_channel from touches group by journey) "
        "select first_channel, last_channel, count(*) as journeys from ends "
        "group by first_channel, last_channel having count(*) >= ? "
        "order by journeys desc, first_channel, last_channel limit ?",
        [small, TOP_ENDS],
    ).fetchall()


def handovers(con: duckdb.DuckDBPyConnection) -> list[tuple[str | None, str | None, int, int]]:
    return con.execute(
        "with largest as ("
        "select channel from touches group by channel order by count(*) desc, channel limit ?"
        "), named as (select journey, position, largest.channel from touches "
        "left join largest using (channel)), "
        "pairs as (select journey, channel, case when lead(position) over journey is null "
        "then '' else lead(channel) over journey end as next_channel from named "
        "window journey as (partition by journey order by position)) "
        "select channel, next_channel, count(*), count(distinct journey) from pairs "
        "group by channel, next_channel order by channel, next_channel",
        [HANDOVER_CHANNELS],
    ).fetchall()

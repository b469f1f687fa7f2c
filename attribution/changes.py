"""Whose journeys a night must build anew: those of customers whose data changed, and no others.

Staging is built whole every night. What its tables said after the last build is kept in the schema
`former` until this one ends: differences between the two, rows of new files, touchpoints that left
with their file, and journeys that left the window by time alone, name the customers. The tables of
customers then forget these and get them again (macros/changes.sql); statistics subtract what
`former` says of them. What cannot be told customer by customer makes a build full, and is said.

`raw._build` says what the tables were built by, and is empty while a build is under way: one that
died is followed by a full one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import duckdb

from attribution import __version__
from attribution.settings import Folders, Settings
from attribution.warehouse import quote, scalar, transaction

# Of staging, as it was.
KEPT = (
    "stg_channels", "stg_conversions", "stg_identities",
    "duplicate_touchpoints", "set_aside_touchpoints",
)  # fmt: skip
NO_TOUCHPOINTS = ("conversions", "steps", "spend", "identities", "lift_tests")
CANONICAL = ("touchpoints", *NO_TOUCHPOINTS)
WORTH = 0.3  # of all customers: where more changed, everything at once is cheaper
SQL_FILES = (".sql", ".csv", ".yml", ".yaml", ".py")

EARLIER = """
select run.window_from < last.window_from from raw._run as run, raw._build as last
"""
NEW_FILES = """
insert into raw._new_files
select distinct file_id from raw._files where state = 'loaded'
and file_id not in (select file_id from raw._built_files)
"""
# Indices of channels follow their order; who converts on one goal has journeys towards each.
OTHER_CHANNELS = """
select exists (
    (select channel from former.stg_channels except select channel from staging.stg_channels)
    union all
    (select channel from staging.stg_channels except select channel from former.stg_channels)
)
"""
OTHER_GOALS = """
select exists (
    (select goal from journeys.conversion_instants except select goal from staging.stg_conversions)
    union all
    (select goal from staging.stg_conversions except select goal from journeys.conversion_instants)
)
"""
# An own export that brings no row of its own is looked up by others: any of theirs may differ.
LOOKED_UP = """
select min(export) from raw._new_files inner join raw._files using (file_id)
where not list_contains(?, export)
and (
    rows_loaded > 0
    or export in (  -- the former rows are gone, and these are none
        select export from raw._built_files inner join raw._files using (file_id)
        where state <> 'loaded'
    )
)
and file_id not in (
    select _file_id from staging.all_touchpoints where _file_id in (from raw._new_files)
    union all select _file_id from staging.all_conversions
    union all select _file_id from staging.all_spend
)
"""
CHANGED_IDS = """
create or replace temp table changed_ids as
with moved as (
    (select _file_id, _row from former.duplicate_touchpoints
    union all select _file_id, _row from former.set_aside_touchpoints)
    except
    (select _file_id, _row from staging.duplicate_touchpoints
    union all select _file_id, _row from staging.set_aside_touchpoints)
    union all (
        (select _file_id, _row from staging.duplicate_touchpoints
        union all select _file_id, _row from staging.set_aside_touchpoints)
        except
        (select _file_id, _row from former.duplicate_touchpoints
        union all select _file_id, _row from former.set_aside_touchpoints)
    )
), relinked as (
    (from former.stg_identities except from staging.stg_identities)
    union all (from staging.stg_identities except from former.stg_identities)
), booked as (
    (from former.stg_conversions except from staging.stg_conversions)
    union all (from staging.stg_conversions except from former.stg_conversions)
)
select customer_id as id from staging.all_touchpoints
where _file_id in (from raw._new_files)
union select customer_id from staging.all_touchpoints inner join moved using (_file_id, _row)
union select customer_id from booked
union select anonymous_id from relinked
union select customer_id from relinked
"""
IS_GONE = """
select count(*) from raw._built_files
left join raw._files using (file_id)
where state is distinct from 'loaded' and not coalesce(list_contains(?, export), false)
"""
# With a file, touchpoints left their customer: for another, or for good. The dear way, for no row
# of theirs is left to tell.
GONE = """
insert into changed_ids
select distinct customer_id
from journeys.journey_touchpoints as touches
inner join staging.stg_customers as customers using (customer_key)
where not exists (
    select 1 from staging.stg_touchpoints as staged
    where staged.touchpoint_id = touches.touchpoint_id
        and staged.customer_id = customers.customer_id
)
"""
# Journeys that left the window, or grew old enough for a fit of matured ones.
TIME_PASSED = """
insert into changed_ids
select customer_id
from staging.stg_customers
where customer_key in (
    select customer_key from journeys.journeys as j, raw._run as run
    where is_in_window <> (coalesce(converted_at, ended_at) >= run.window_from) {matured}
)
"""
MATURED = """
or (fit_weight > 0) <> (
    coalesce(converted_at, ended_at) >= run.window_from
    and started_at + (closes_at - ended_at) <= run.as_of
)
"""
CHANGED = """
insert into raw._changed_customers
with customers as (
    select id as customer_id from changed_ids
    union
    select customer_id from staging.stg_identities
    where anonymous_id in (select id from changed_ids)
)
select
    customer_id,
    coalesce(
        customer_key,
        (select coalesce(max(customer_key), 0) from staging.stg_customers)
        + row_number() over (partition by customer_key is null order by customer_id)
    )
from customers
left join staging.stg_customers using (customer_id)
"""
FORMER_JOURNEYS = """
create table former.journey_touchpoints as
select * exclude (touchpoint_id, position, is_in_window, occurred_at, build)
from journeys.journey_touchpoints
where customer_key in (select customer_key from raw._changed_customers);
create table former.conversion_instants as from journeys.conversion_instants;
"""
TO_READ = """
insert into raw._changed_ids
select customer_id from raw._changed_customers
union
select anonymous_id from staging.stg_identities
where customer_id in (select customer_id from raw._changed_customers)
"""


def begin(con: duckdb.DuckDBPyConnection, folders: Folders, settings: Settings) -> str | None:
    """Why everything must be built anew, or None; then what the last build said is kept."""
    last = con.execute("select settings, project, version from raw._build").fetchone()
    earlier = scalar(con, EARLIER)
    now = (settings.fingerprint(), _project(folders.dbt_project), _version())
    with transaction(con):
        con.execute("delete from raw._build")
        con.execute("drop schema if exists former cascade; create schema former")
        con.execute("delete from raw._changed_customers; delete from raw._changed_ids")
        con.execute("delete from raw._new_files")
        if last is None:
            return "no build before this one came to its end"
        for what, was, is_now in zip(
            ("other settings", "another dbt project", "another version"), last, now, strict=True
        ):
            if was != is_now:
                return f"{what} than at the last build"
        if not settings.incremental:
            return "the setting incremental is false"
        if earlier:
            return "the window begins before that of the last build"
        con.execute(NEW_FILES)
        for table in KEPT:
            con.execute(f"create table former.{quote(table)} as from staging.{quote(table)}")
    return None


def compare(con: duckdb.DuckDBPyConnection, settings: Settings) -> tuple[str | None, int]:
    """Find the customers who changed, once staging is built.

    Returns why everything must be built anew, or None, and how many customers changed.
    """
    for what, sql in (("channels", OTHER_CHANNELS), ("goals", OTHER_GOALS)):
        if scalar(con, sql):
            return f"other {what} than at the last build", 0
    looked_up = scalar(con, LOOKED_UP, [list(CANONICAL)])
    if looked_up is not None:
        return f"{looked_up} brought no rows of its own: others may read by it", 0
    con.execute(CHANGED_IDS)
    if scalar(con, IS_GONE, [list(NO_TOUCHPOINTS)]):
        con.execute(GONE)
    is_matured = settings.fit_journeys == "matured"
    con.execute(TIME_PASSED.format(matured=MATURED if is_matured else ""))
    con.execute(CHANGED)
    changed = int(str(scalar(con, "select count(*) from raw._changed_customers")))
    known = int(str(scalar(con, "select count(*) from staging.stg_customers")))
    if changed > WORTH * known:
        return f"{changed} customers changed, of {known}", changed
    con.execute(TO_READ)
    con.execute(FORMER_JOURNEYS)
    return None, changed


def end(con: duckdb.DuckDBPyConnection, folders: Folders, settings: Settings) -> None:
    """Say that the tables are whole."""
    with transaction(con):
        con.execute("drop schema former cascade")
        for table in ("_changed_customers", "_changed_ids", "_new_files", "_built_files"):
            con.execute(f"delete from raw.{quote(table)}")
        con.execute(
            "insert into raw._built_files select distinct file_id from raw._files "
            "where state = 'loaded'"
        )
        # nothing that is run by hand later takes the rows of this build for its own
        con.execute("update raw._run set build = build + 1")
        con.execute(
            "insert into raw._build select ?, ?, ?, window_from from raw._run",
            [settings.fingerprint(), _project(folders.dbt_project), _version()],
        )


def _project(folder: Path) -> str:
    """SHA-256 of all that the dbt project says: SQL, seeds, contract."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in SQL_FILES and path.is_file():
            digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _version() -> str:
    return f"attribution {__version__}, duckdb {duckdb.__version__}"

"""The only module that opens the engine, and the only one that quotes a name into SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from attribution.errors import AttributionError
from attribution.settings import Folders, Settings, one_line

RAW_TABLES = """
create schema if not exists raw;
create table if not exists raw._files (
    file_id bigint not null, export varchar not null, file varchar not null,
    sha256 varchar not null, bytes bigint not null, file_date date,
    state varchar not null check (state in ('loaded', 'quarantined', 'replaced', 'expired')),
    rows_read bigint not null, rows_loaded bigint not null, rows_rejected bigint not null,
    rows_suppressed bigint not null, rows_dst_overlap bigint not null, rows_dst_gap bigint not null,
    archive_sha256 varchar, extra_columns varchar, absent_columns varchar, reason varchar,
    key_id varchar,
    load_id varchar not null, loaded_at timestamp not null, is_landed boolean not null default true,
    verdict varchar check (verdict in ('requeued', 'dropped')),
    check (rows_read = rows_loaded + rows_rejected + rows_suppressed)
);
create table if not exists raw._run (
    run_date date not null, as_of timestamp not null, window_from timestamp not null,
    oldest timestamp not null, build integer
);
create table if not exists raw._build (
    settings varchar not null, project varchar not null, version varchar not null,
    window_from timestamp not null
);
create table if not exists raw._built_files (file_id bigint not null);
create table if not exists raw._new_files (file_id bigint not null);
create table if not exists raw._changed_customers (customer_id varchar, customer_key integer);
create table if not exists raw._changed_ids (id varchar);
create table if not exists raw._credit_channels (
    model varchar, goal varchar, segment varchar, segment_value varchar, channel varchar,
    conversions decimal(38, 12), revenue decimal(38, 12), share double, share_low double,
    share_high double, standard_error double, removal_effect double,
    incremental decimal(38, 12), reconciliation_gap double, revenue_reconciliation_gap double
);
create table if not exists raw._credit_weights (
    model varchar, goal varchar, measure varchar, channel varchar, level integer,
    weight decimal(38, 12)
);
create table if not exists raw._credit_diagnostics (
    model varchar, goal varchar, segment varchar, segment_value varchar, name varchar, value double
);
alter table raw._files add column if not exists absent_columns varchar;
alter table raw._run add column if not exists build integer;
alter table raw._credit_channels add column if not exists incremental decimal(38, 12);
create table if not exists raw._ladder_stages (
    goal varchar, model varchar, stage integer, rung varchar, customers double,
    recorded_share double, days_per_customer double, moves_per_day double,
    organic_moves_per_day double
);
create table if not exists raw._lift_tests (
    goal varchar, model varchar, channel varchar, lift double, standard_error double,
    ladder_lift double, calibrated_lift double, z_before double, z_after double
);
create table if not exists raw._ladder_effects (
    goal varchar, model varchar, stage integer, rung varchar, next_rung varchar, channel varchar,
    chance_per_contact double, chance_low double, chance_high double, contacts_per_day double,
    same_day_share double, mean_days_to_effect double
);
"""

# A folder above that is named env=prod is no column.
PARQUET = "read_parquet(?, hive_partitioning = false)"
PARQUET_NUMBERED = "read_parquet(?, hive_partitioning = false, file_row_number = true)"

# The warehouse is ours alone: texts packed the newer way take a third less time to write.
STORAGE_VERSION = "v1.3.0"

ROWS_AT_ONCE = 100_000  # of a result in memory
BYTES_OF_A_THREAD = 125_000_000  # what the engine's makers ask for; each holds what it is writing


def quote(name: str) -> str:
    """A name as a SQL identifier; every name that comes from a file or a setting passes here."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a SQL literal, for the few places that take no parameter."""
    return "'" + text.replace("'", "''") + "'"


def columns_of(con: duckdb.DuckDBPyConnection, schema: str, table: str) -> dict[str, str]:
    """Column types by name, in order; empty where there is no such table."""
    try:  # not information_schema, which works out the columns of all tables each time
        rows = con.execute(
            "select name, type from pragma_table_info(?)", [f"{quote(schema)}.{quote(table)}"]
        ).fetchall()
    except duckdb.CatalogException:
        return {}
    return dict(rows)


@contextmanager
def open_warehouse(
    folders: Folders, settings: Settings, *, read_only: bool = False, path: Path | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The warehouse with UTC as its zone; it may touch state/ and publish/ and nothing else."""
    path = path or folders.warehouse
    try:
        con = duckdb.connect(str(path), read_only=read_only, config=_options(folders, settings))
    except duckdb.Error as error:
        raise AttributionError(
            f"{path} cannot be opened: {one_line(error)}; see that no other program holds it, else "
            "restore it, or build it anew from the archive: `attribution rebuild`"
        ) from None
    try:
        if not read_only:
            con.execute(RAW_TABLES)
            if "rows_suppressed" not in columns_of(con, "raw", "_files"):
                raise AttributionError(
                    f"{path} is of an earlier version of attribution: move {folders.state} away "
                    "and run again: the landed files build it anew"
                )
        bound_threads(con, settings.memory_bytes)
        lock_down(con, [folders.state, folders.publish])
        yield con
    finally:
        con.close()


@contextmanager
def open_reader(folders: Folders, settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """An engine without a warehouse, for reading landed files into the archive."""
    con = duckdb.connect(":memory:", config=_options(folders, settings))
    try:
        bound_threads(con, settings.memory_bytes)
        lock_down(con, [folders.landing, folders.scratch, folders.archive])
        yield con
    finally:
        con.close()


def bound_threads(con: duckdb.DuckDBPyConnection, memory: int) -> None:
    """As many threads as the memory, in bytes, feeds: 64 use up 1 GB by writing alone."""
    most = max(1, memory // BYTES_OF_A_THREAD)
    if int(str(scalar(con, "select current_setting('threads')"))) > most:
        con.execute(f"set threads = {most}")


def lock_down(con: duckdb.DuckDBPyConnection, places: Sequence[Path]) -> None:
    """Settings, too, are out of reach from here on."""
    con.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
    confine(con, places)
    con.execute("set lock_configuration = true")


def confine(con: duckdb.DuckDBPyConnection, places: Sequence[Path]) -> None:
    """Files outside of some folders, and extensions, are out of reach from here on."""
    listed = ", ".join(literal(str(place)) for place in places)
    con.execute(f"set allowed_directories = [{listed}]")
    con.execute("set enable_external_access = false")


def _options(
    folders: Folders, settings: Settings
) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "storage_compatibility_version": STORAGE_VERSION,
        "memory_limit": settings.memory_limit,
        "temp_directory": str(folders.scratch / "spill"),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }


@contextmanager
def open_published(version_folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A version's database, read-only, as a BI tool opens it."""
    path = version_folder / "attribution.duckdb"
    try:
        con = duckdb.connect(str(path), read_only=True, config={"enable_external_access": False})
    except duckdb.Error as error:
        raise AttributionError(f"{path} cannot be opened: {one_line(error)}") from None
    try:
        yield con
    finally:
        con.close()


@contextmanager
def transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    con.execute("begin")
    try:
        yield
    except BaseException:
        con.execute("rollback")
        raise
    con.execute("commit")


def scalar(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: list[object] | None = None
) -> object:
    row = con.execute(sql, parameters).fetchone()
    return row[0] if row else None


def joined_texts(con: duckdb.DuckDBPyConnection, sql: str) -> Iterator[memoryview]:
    """All texts of a query's one column, none of them NULL, one after the other in UTF-8.

    They stand side by side in the engine's batches: to make Python's objects of them and join these
    takes twice as long as all that the engine does.
    """
    for batch in con.execute(sql).to_arrow_reader(ROWS_AT_ONCE):
        texts = batch.column(0).cast("large_string")
        assert not texts.null_count
        _, offsets, content = texts.buffers()
        ends = memoryview(offsets).cast("q")[texts.offset : texts.offset + len(texts) + 1]
        if content and len(texts):
            yield memoryview(content)[ends[0] : ends[-1]]


def environment_for_dbt(folders: Folders, settings: Settings) -> Mapping[str, str]:
    """What profiles.yml reads."""
    return {
        "ATTRIBUTION_WAREHOUSE": str(folders.warehouse),
        "ATTRIBUTION_SCRATCH": str(Path(folders.scratch) / "spill"),
        "ATTRIBUTION_MEMORY_LIMIT": settings.memory_limit,
        "ATTRIBUTION_CONFINED_TO": f"{folders.state}\n{folders.dbt_project}",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }

"""Writing the statistics of one day, all or nothing; a day computed again replaces itself.

Which tables an asset writes stands here; how rows are computed, and when, belongs to `statistics/`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final, cast

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from velib_dagster.events.records import Column
from velib_dagster.store import day_columns
from velib_dagster.store.connect import StoreError
from velib_dagster.store.upsert import Connection, Row

_LOCK: Final = 0x64617973
"""First half of the advisory locks that let one writer at a time onto a day; the second half is the day."""

COLUMNS: Final[Mapping[str, tuple[Column, ...]]] = {
    "station_days": day_columns.STATION_DAYS,
    "station_hours": day_columns.STATION_HOURS,
    "zone_days": day_columns.ZONE_DAYS,
    "zone_hours": day_columns.ZONE_HOURS,
    "cell_days": day_columns.CELL_DAYS,
    "episodes": day_columns.EPISODES,
}
"""The tables of days and their columns in order."""

TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "station_stats": ("station_days", "station_hours"),
    "zone_stats": ("zone_days", "zone_hours", "cell_days"),
    "empty_stations": ("episodes",),
    "full_stations": ("episodes",),
}
"""The tables that each asset writes."""

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "empty_stations": ("empty", "cluster_empty"),
    "full_stations": ("full", "cluster_full"),
}
"""The kinds of episodes that are an asset's own."""


def own_rows(asset: str, rows: pa.Table) -> pa.Table:
    """The asset's own of a table's rows: episodes of its kinds, all rows of any other table."""
    kinds = KINDS.get(asset)
    return rows if kinds is None else rows.filter(pc.is_in(rows["kind"], pa.array(kinds)))


def replace_day(
    connection: Connection,
    asset: str,
    day: date,
    tables: Mapping[str, pa.Table | Iterable[Row]],
    *,
    day_seconds: int,
    network_seconds: int,
    spells: int,
    archived_bytes: int,
) -> dict[str, int]:
    """Replace an asset's rows of one day and its row in `computed_days`, in one transaction; returns rows by table.

    `tables` has every table of the asset, as an Arrow table (Spark: `DataFrame.toArrow()`; columns by name) or as rows
    with the columns in order. Readers see the old day or the new one; of two writers of a day the second waits for
    the first. Cost does not depend on how many other days there are.

    Raises:
        StoreError: a table or column is missing or one too many, or a row is of another day or kind; the old day stays.
    """
    expected = TABLES.get(asset)
    if expected is None or set(tables) != set(expected):
        msg = f"{asset} of {day}: tables {sorted(tables)} given, {sorted(expected or ())} are to be written"
        raise StoreError(msg)
    kinds = KINDS.get(asset)
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_LOCK, day.toordinal()))
        written = {}
        for table in expected:
            rows = list(_rows(table, tables[table]))
            _check(asset, table, day, kinds, rows)
            _delete(connection, table, day, kinds)
            _copy(connection, table, rows)
            written[table] = len(rows)
        connection.execute(
            "INSERT INTO computed_days (asset, day, day_seconds, network_seconds, spells, archived_bytes, computed_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, now()) ON CONFLICT (asset, day) DO UPDATE SET"
            " (day_seconds, network_seconds, spells, archived_bytes, computed_at) = ROW (excluded.day_seconds,"
            " excluded.network_seconds, excluded.spells, excluded.archived_bytes, excluded.computed_at)",
            (asset, day, day_seconds, network_seconds, spells, archived_bytes),
        )
    return written


def settle(connection: Connection) -> None:
    """Tell the planner what the tables hold now and mark pages as seen by all: after many days were written at once.

    PostgreSQL does so by itself within minutes; until then a year's medians take several times as long. Pages settled
    before cost nothing again. Runs outside of a transaction, so the connection must not be in one.
    """
    before = connection.autocommit
    connection.autocommit = True
    try:
        for table in (*COLUMNS, "computed_days"):
            connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))
    finally:
        connection.autocommit = before


def _rows(table: str, given: pa.Table | Iterable[Row]) -> Iterable[Row]:
    if not isinstance(given, pa.Table):
        return given
    names = [column.name for column in COLUMNS[table]]
    if set(given.column_names) != set(names):
        missing, surplus = set(names) - set(given.column_names), set(given.column_names) - set(names)
        msg = f"{table}: columns missing {sorted(missing)}, too many {sorted(surplus)}"
        raise StoreError(msg)
    return zip(*(given.column(name).to_pylist() for name in names), strict=True)


def _check(asset: str, table: str, day: date, kinds: tuple[str, ...] | None, rows: Sequence[Row]) -> None:
    """A row of another day or kind would outlive the next replacement of this one."""
    names = [column.name for column in COLUMNS[table]]
    of_day = names.index("day")
    for row in rows:
        if len(row) != len(names) or row[of_day] != day or (kinds and row[0] not in kinds):
            msg = f"{asset} of {day}: row {row!r} of {table} is of another day, kind or length"
            raise StoreError(msg)


def _delete(connection: Connection, table: str, day: date, kinds: tuple[str, ...] | None) -> None:
    statement = sql.SQL("DELETE FROM {} WHERE day = %s").format(sql.Identifier(table))
    if kinds is None:
        connection.execute(statement, (day,))
    else:
        connection.execute(statement + sql.SQL(" AND kind = ANY (%s)"), (day, list(kinds)))


def _copy(connection: Connection, table: str, rows: Iterable[Row]) -> None:
    names = [column.name for column in COLUMNS[table]]
    found = connection.execute(
        "SELECT attname, atttypid::regtype::text FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0",
        (table,),
    )
    types = {cast("str", name): cast("str", kind) for name, kind in found}
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table), sql.SQL(", ").join(sql.Identifier(name) for name in names)
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types([types[name] for name in names])
        for row in rows:
            copy.write_row(row)

"""Small typed reads of the database, for the command line, Dagster and the status.

Each takes a connection (the read-only one will do) and returns structs; nothing here writes.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString, TypeVar

import msgspec
from psycopg.rows import dict_row

from velib_dagster.events.records import PollRecord, StationState
from velib_dagster.store.upsert import Connection

Record = TypeVar("Record")


class QueryProgress(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `stream_progress`."""

    query: str
    batch_id: int
    input_rows: int
    rows_per_second: float
    position: dict[str, dict[str, int]]
    watermark: datetime | None
    batch_seconds: float
    updated_at: datetime


class WindowMeans(msgspec.Struct, frozen=True, kw_only=True):
    """Means of one station or zone over one window; `name` is the station's, None for a zone."""

    key: str
    name: str | None
    zone: str
    window_start: datetime
    window_end: datetime
    complete: bool
    seconds_in_service: int
    bikes_mean: float | None
    mechanical_mean: float | None
    ebike_mean: float | None
    docks_mean: float | None
    occupancy_mean: float | None
    empty_share: float | None
    full_share: float | None
    stations: int


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How much the database holds, and its newest complete window."""

    station_windows: int
    zone_windows: int
    cell_windows: int
    polls: int
    stations: int
    newest_complete: datetime | None
    newest_poll: datetime | None


def newest_polls(connection: Connection, limit: int = 10) -> list[PollRecord]:
    """The newest poll records, newest first, in the order of their snapshots."""
    return _read(connection, PollRecord, "SELECT * FROM polls ORDER BY snapshot DESC LIMIT %s", (limit,))


def progress(connection: Connection) -> list[QueryProgress]:
    """One row a query of the streaming job that has ever finished a batch."""
    return _read(connection, QueryProgress, "SELECT * FROM stream_progress ORDER BY query")


def stations_now(
    connection: Connection, *, station_code: str | None = None, zone: str | None = None
) -> list[StationState]:
    """The newest state of each station, of one station or of one zone."""
    return _read(
        connection,
        StationState,
        "SELECT * FROM station_now WHERE (%(code)s::text IS NULL OR station_code = %(code)s)"
        " AND (%(zone)s::text IS NULL OR zone = %(zone)s) ORDER BY station_code",
        {"code": station_code, "zone": zone},
    )


def latest_station_means(
    connection: Connection, *, station_code: str | None = None, zone: str | None = None, windows: int = 1
) -> list[WindowMeans]:
    """Means of the stations over the newest complete windows, newest window first."""
    return _latest(connection, "station", station_code, zone, windows)


def latest_zone_means(connection: Connection, *, zone: str | None = None, windows: int = 1) -> list[WindowMeans]:
    """Means of the zones over the newest complete windows, newest window first."""
    return _latest(connection, "zone", zone, None, windows)


def counts(connection: Connection) -> Counts:
    """Numbers of rows, and how far the windows are complete."""
    return _read(
        connection,
        Counts,
        "SELECT count(*) FILTER (WHERE grain = 'station') AS station_windows,"
        " count(*) FILTER (WHERE grain = 'zone') AS zone_windows,"
        " count(*) FILTER (WHERE grain = 'cell') AS cell_windows,"
        " (SELECT count(*) FROM polls) AS polls,"
        " (SELECT count(DISTINCT station_code) FROM station_states) AS stations,"
        " max(window_end) FILTER (WHERE window_end <= p.newest) AS newest_complete,"
        " (SELECT max(time) FROM polls) AS newest_poll"
        " FROM (SELECT max(time) AS newest FROM polls WHERE kind IN ('usable', 'repaired')) AS p"
        " LEFT JOIN windows ON true",
    )[0]


def _latest(connection: Connection, grain: str, key: str | None, zone: str | None, windows: int) -> list[WindowMeans]:
    return _read(
        connection,
        WindowMeans,
        "SELECT key, name, coalesce(zone, key) AS zone, window_start, window_end, complete, seconds_in_service,"
        " bikes_mean, mechanical_mean, ebike_mean, docks_mean, occupancy_mean, empty_share, full_share, stations"
        " FROM window_means WHERE grain = %(grain)s AND complete"
        " AND (%(key)s::text IS NULL OR key = %(key)s) AND (%(zone)s::text IS NULL OR zone = %(zone)s)"
        " AND window_start > (SELECT max(window_start) FROM window_means WHERE grain = %(grain)s AND complete"
        "  AND (%(key)s::text IS NULL OR key = %(key)s)) - %(windows)s * interval '10 minutes'"
        " ORDER BY window_start DESC, key",
        {"grain": grain, "key": key, "zone": zone, "windows": windows},
    )


def _read(
    connection: Connection,
    record: type[Record],
    statement: LiteralString,
    values: Sequence[object] | dict[str, object] = (),
) -> list[Record]:
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement, values).fetchall()
    return [msgspec.convert(row, record) for row in rows]

"""Small typed reads of the database, for the command line, Dagster and the status.

Each takes a connection (the read-only one will do) and returns structs; nothing here writes.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, LiteralString, TypeVar

import msgspec
from psycopg import sql
from psycopg.rows import dict_row

from velib_dagster.events.records import PollRecord, StationState
from velib_dagster.store.upsert import Connection

Record = TypeVar("Record")

_NEWEST_WINDOW: Final = """
SELECT window_end AS "end", count(*) AS rows,
    sum(seconds_in_service)::float / nullif(sum(seconds), 0) AS in_service_share
FROM {view}
WHERE window_start = (
    SELECT max(window_start) FROM windows
    WHERE window_start <= (SELECT max(time) FROM polls WHERE kind IN ('usable', 'repaired')) - interval '10 minutes'
)
GROUP BY window_end
"""
_NEWEST_MEANS: Final = """
SELECT {key} AS key, {name} AS name, zone, {stations} AS stations, window_start, window_end, complete,
    seconds_in_service, bikes_mean, mechanical_mean, ebike_mean, docks_mean, occupancy_mean, empty_share, full_share
FROM {view}
WHERE complete AND window_start > (
    SELECT max(window_start) FROM windows
    WHERE window_start <= (SELECT max(time) FROM polls WHERE kind IN ('usable', 'repaired')) - interval '10 minutes'
) - %(windows)s * interval '10 minutes'
AND (%(key)s::text IS NULL OR {key} = %(key)s) AND (%(zone)s::text IS NULL OR zone = %(zone)s)
ORDER BY window_start DESC, key
"""


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


class NewestWindow(msgspec.Struct, frozen=True, kw_only=True):
    """The newest complete window of one grain: its end, its rows, the share of known time in service."""

    end: datetime
    rows: int
    in_service_share: float | None


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How much the database holds, and its newest complete window."""

    windows: int
    polls: int
    stations: int
    newest_complete: datetime | None
    newest_poll: datetime | None


def newest_polls(connection: Connection, limit: int = 10) -> list[PollRecord]:
    """The newest poll records, newest first, in the order of their snapshots."""
    return _read(connection, PollRecord, "SELECT * FROM polls ORDER BY snapshot DESC LIMIT %s", (limit,))


def polls_set_aside(connection: Connection) -> list[PollRecord]:
    """Records of the polls that could not be processed, oldest first."""
    return _read(connection, PollRecord, "SELECT * FROM polls WHERE kind = 'set_aside' ORDER BY snapshot")


def usable_poll_times(connection: Connection, begin: datetime, end: datetime) -> list[datetime]:
    """Times (UTC) of the usable and repaired polls from `begin`, inclusive, to `end`, exclusive, in order."""
    rows = connection.execute(
        "SELECT time FROM polls WHERE kind IN ('usable', 'repaired') AND time >= %s AND time < %s ORDER BY time",
        (begin, end),
    ).fetchall()
    return [time.astimezone(UTC) for (time,) in rows if isinstance(time, datetime)]


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
    """Means of the stations over the network's newest complete windows, newest window first."""
    statement = _NEWEST_MEANS.format(view="station_windows", key="station_code", name="name", stations="1")
    return _read(connection, WindowMeans, statement, {"key": station_code, "zone": zone, "windows": windows})


def latest_zone_means(connection: Connection, *, zone: str | None = None, windows: int = 1) -> list[WindowMeans]:
    """Means of the zones over the network's newest complete windows, newest window first."""
    statement = _NEWEST_MEANS.format(view="zone_windows", key="zone", name="NULL", stations="stations")
    return _read(connection, WindowMeans, statement, {"key": None, "zone": zone, "windows": windows})


def newest_complete_window(connection: Connection, grain: str) -> NewestWindow | None:
    """The network's newest complete window of a grain (station, zone, cell); None where none is complete yet."""
    view = sql.Identifier(f"{grain}_windows")
    return next(iter(_read(connection, NewestWindow, sql.SQL(_NEWEST_WINDOW).format(view=view))), None)


def counts(connection: Connection) -> Counts:
    """Numbers of rows, and how far the windows are complete."""
    return _read(
        connection,
        Counts,
        "SELECT (SELECT count(*) FROM windows) AS windows,"
        " (SELECT count(*) FROM polls) AS polls,"
        " (SELECT count(DISTINCT station_code) FROM station_states) AS stations,"
        " (SELECT max(window_end) FROM windows WHERE window_start <= ("
        "  SELECT max(time) FROM polls WHERE kind IN ('usable', 'repaired')) - interval '10 minutes'"
        " ) AS newest_complete,"
        " (SELECT max(time) FROM polls) AS newest_poll",
    )[0]


def _read(
    connection: Connection,
    record: type[Record],
    statement: LiteralString | sql.Composed,
    values: Sequence[object] | dict[str, object] = (),
) -> list[Record]:
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement, values).fetchall()
    return [msgspec.convert(row, record) for row in rows]

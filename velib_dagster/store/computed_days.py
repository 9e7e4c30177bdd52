"""What PostgreSQL holds of one computed day: how many rows, the worst of them, and how the hours went.

Reads only, of a connection that the caller has; `store/days.py` writes. Dagster's pages show it beside each day.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Final

import msgspec
from psycopg import sql
from psycopg.rows import dict_row

from velib_dagster.store.days import KINDS, TABLES
from velib_dagster.store.statistics_reads import ComputedDay
from velib_dagster.store.upsert import Connection

_AREA: Final = ("seconds_in_service", "seconds_empty", "seconds_full")
_EPISODE: Final = ("station_code", "kind", "since", "until", "seconds")
_CHIEF_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "station_stats": ("station_code", "name", "zone", *_AREA),
    "zone_stats": ("zone", "stations", *_AREA, "seconds_no_bike"),
    "empty_stations": _EPISODE,
    "full_stations": _EPISODE,
}
_WORST_BY: Final[Mapping[str, str]] = {"station_stats": "seconds_empty", "zone_stats": "seconds_empty"}
_HOURS: Final[Mapping[str, str]] = {"station_stats": "station_hours", "zone_stats": "zone_hours"}


class HourShares(msgspec.Struct, frozen=True, kw_only=True):
    """One local hour of a day over all stations: shares of their time, None where that time is none."""

    hour: int
    empty_share: float | None
    full_share: float | None


def computed_after(connection: Connection, moment: datetime | None, limit: int) -> list[ComputedDay]:
    """Assets' days that were written after a moment (None: all), in the order in which they were; `limit` at most."""
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            "SELECT * FROM computed_days WHERE %(moment)s::timestamptz IS NULL OR computed_at > %(moment)s"
            " ORDER BY computed_at, asset LIMIT %(limit)s",
            {"moment": moment, "limit": limit},
        ).fetchall()
    return [msgspec.convert(row, ComputedDay) for row in rows]


def rows_of_day(connection: Connection, asset: str, day: date) -> dict[str, int]:
    """How many rows an asset has of a day, by table."""
    found = {}
    for table in TABLES[asset]:
        statement = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(sql.Identifier(table), _own(asset))
        row = connection.execute(statement, {"day": day}).fetchone()
        found[table] = int(str(row[0])) if row else 0
    return found


def worst_rows(connection: Connection, asset: str, day: date, limit: int) -> list[dict[str, str | int]]:
    """The rows of an asset's first table that were longest empty (or are the longest episodes), chief columns only."""
    columns = _CHIEF_COLUMNS[asset]
    statement = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {} DESC, {} LIMIT %(limit)s").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Identifier(TABLES[asset][0]),
        _own(asset),
        sql.Identifier(_WORST_BY.get(asset, "seconds")),
        sql.Identifier(columns[0]),
    )
    rows = connection.execute(statement, {"day": day, "limit": limit}).fetchall()
    return [
        {name: value if isinstance(value, int) else str(value) for name, value in zip(columns, row, strict=True)}
        for row in rows
    ]


def hour_shares(connection: Connection, asset: str, day: date) -> list[HourShares]:
    """How long stations were empty and full in each local hour of a day; of `station_stats` and `zone_stats`."""
    statement = sql.SQL(
        "SELECT hour, sum(seconds_empty)::float / nullif(sum(seconds_in_service), 0) AS empty_share,"
        " sum(seconds_full)::float / nullif(sum(seconds_docks_known), 0) AS full_share"
        " FROM {} WHERE day = %s GROUP BY hour ORDER BY hour"
    ).format(sql.Identifier(_HOURS[asset]))
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement, (day,)).fetchall()
    return [msgspec.convert(row, HourShares) for row in rows]


def episodes_by_hour(connection: Connection, asset: str, day: date, timezone: str) -> dict[int, int]:
    """How many episodes of single stations began in each local hour; of `empty_stations` and `full_stations`."""
    rows = connection.execute(
        "SELECT extract(hour FROM since AT TIME ZONE %s)::int, count(*) FROM episodes"
        " WHERE day = %s AND kind = %s GROUP BY 1 ORDER BY 1",
        (timezone, day, KINDS[asset][0]),
    ).fetchall()
    return {int(str(hour)): int(str(number)) for hour, number in rows}


def _own(asset: str) -> sql.Composed:
    """The condition for an asset's own rows of a day."""
    kinds = KINDS.get(asset)
    of_kind = sql.SQL("") if kinds is None else sql.SQL(" AND kind = ANY ({})").format(sql.Literal(list(kinds)))
    return sql.Composed([sql.SQL("day = %(day)s"), of_kind])

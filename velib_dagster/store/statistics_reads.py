"""Reads of the long-term statistics, for the command line and Dagster.

Each takes a connection (the read-only one will do); nothing here writes. What the figures mean: `docs/statistics.md`.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Final, LiteralString, NamedTuple, TypeVar

import msgspec
from psycopg import sql
from psycopg.rows import dict_row

from velib_dagster.store.upsert import Connection

Record = TypeVar("Record")


class Days(NamedTuple):
    """First and last day, both included."""

    first: date
    last: date


class Subject(StrEnum):
    """What statistics can be asked about."""

    STATIONS = "stations"
    ZONES = "zones"
    CELLS = "cells"
    EMPTY = "empty"
    FULL = "full"


_TROUBLED: Final = "empty_share + coalesce(full_share, 0) DESC NULLS LAST"
_RELATION: Final[dict[Subject, LiteralString]] = {
    Subject.STATIONS: "station_stats",
    Subject.ZONES: "zone_stats",
    Subject.CELLS: "cell_stats",
    Subject.EMPTY: "empty_stations",
    Subject.FULL: "full_stations",
}
_ORDER: Final[dict[Subject, LiteralString]] = {
    Subject.STATIONS: f"{_TROUBLED}, station_code",
    Subject.ZONES: f"{_TROUBLED}, zone",
    Subject.CELLS: f"{_TROUBLED}, cell",
    Subject.EMPTY: "seconds_empty DESC, station_code",
    Subject.FULL: "seconds_full DESC, station_code",
}
ASSET: Final = {
    Subject.STATIONS: "station_stats",
    Subject.ZONES: "zone_stats",
    Subject.CELLS: "zone_stats",
    Subject.EMPTY: "empty_stations",
    Subject.FULL: "full_stations",
}
"""The asset whose days a subject's figures come from."""


class ComputedDay(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `computed_days`."""

    asset: str
    day: date
    day_seconds: int
    network_seconds: int
    spells: int
    archived_bytes: int
    computed_at: datetime


class StationFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The chief columns of `station_stats`."""

    station_code: str
    name: str
    zone: str
    capacity: int | None
    bikes_mean: float | None
    mechanical_mean: float | None
    ebike_mean: float | None
    docks_mean: float | None
    occupancy_mean: float | None
    empty_share: float | None
    full_share: float | None
    rentals: int
    returns: int
    frozen_days: int
    coverage: float | None


class AreaFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The chief columns of `zone_stats` and `cell_stats`; `key` is the zone's name or the cell."""

    key: str
    stations: int
    bikes_mean: float | None
    area_bikes_mean: float | None
    docks_mean: float | None
    occupancy_mean: float | None
    empty_share: float | None
    full_share: float | None
    no_bike_share: float | None
    bikes_per_dock_rule: float | None
    balance: int
    coverage: float | None


class TroubledStation(msgspec.Struct, frozen=True, kw_only=True):
    """The chief columns of `empty_stations` or `full_stations`; `share` and `seconds` are of the time empty or full."""

    station_code: str
    name: str
    zone: str
    seconds: int
    share: float | None
    episodes: int | None
    episode_median_seconds: float | None
    episode_p90_seconds: float | None
    episode_longest_seconds: int | None
    share_morning: float | None
    share_evening: float | None
    frozen_days: int
    coverage: float | None


class NetworkFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The chief columns of `network_stats`."""

    zones: int
    stations: int
    bikes_mean: float | None
    network_bikes_mean: float | None
    occupancy_mean: float | None
    empty_share: float | None
    full_share: float | None
    bikes_per_dock_rule: float | None
    bikes_per_dock_gini: float | None
    empty_share_gini: float | None
    rentals: int
    returns: int
    days: int
    coverage: float | None


def computed_days(connection: Connection, asset: str | None = None, days: Days | None = None) -> list[ComputedDay]:
    """The days that are computed, of one asset or all, oldest first."""
    first, last = days or (None, None)
    statement: LiteralString = (
        "SELECT * FROM computed_days WHERE (%(asset)s::text IS NULL OR asset = %(asset)s)"
        " AND day BETWEEN coalesce(%(first)s::date, '-infinity') AND coalesce(%(last)s::date, 'infinity')"
        " ORDER BY day, asset"
    )
    return _read(connection, ComputedDay, sql.SQL(statement), {"asset": asset, "first": first, "last": last})


def statement_of(subject: Subject, days: Days | None = None, top: int | None = None) -> sql.Composed:
    """The SELECT whose result is all columns of a subject over a range of days (None: all), the worst first."""
    return _select(subject, sql.SQL("*"), days, top)


def station_figures(connection: Connection, days: Days | None = None, top: int | None = None) -> list[StationFigures]:
    """Stations, those longest empty or full (share of their time in service) first."""
    names = _names(StationFigures)
    return _read(connection, StationFigures, _select(Subject.STATIONS, names, days, top))


def zone_figures(connection: Connection, days: Days | None = None, top: int | None = None) -> list[AreaFigures]:
    """Zones, those whose stations are longest empty or full first."""
    return _areas(connection, Subject.ZONES, "zone", days, top)


def cell_figures(connection: Connection, days: Days | None = None, top: int | None = None) -> list[AreaFigures]:
    """H3 cells, those whose stations are longest empty or full first."""
    return _areas(connection, Subject.CELLS, "cell", days, top)


def troubled_stations(
    connection: Connection, subject: Subject, days: Days | None = None, top: int | None = None
) -> list[TroubledStation]:
    """Stations that are at times empty (or full: `subject`), the longest first."""
    kind = subject.value
    renamed = {
        "seconds": f"seconds_{kind}",
        "share": f"{kind}_share",
        "share_morning": f"{kind}_share_morning",
        "share_evening": f"{kind}_share_evening",
    }
    return _read(connection, TroubledStation, _select(subject, _names(TroubledStation, renamed), days, top))


def network_figures(connection: Connection, days: Days | None = None) -> NetworkFigures | None:
    """The network's figures; None where no day of the range is computed."""
    statement = sql.SQL("SELECT {} FROM {}").format(_names(NetworkFigures), _source("network_stats", days))
    return next(iter(_read(connection, NetworkFigures, statement)), None)


def _areas(connection: Connection, subject: Subject, key: str, days: Days | None, top: int | None) -> list[AreaFigures]:
    names = _names(AreaFigures, {"key": key, "area_bikes_mean": f"{key}_bikes_mean"})
    return _read(connection, AreaFigures, _select(subject, names, days, top))


def _select(subject: Subject, names: sql.Composable, days: Days | None, top: int | None) -> sql.Composed:
    limit = sql.SQL("") if top is None else sql.SQL(" LIMIT {}").format(sql.Literal(top))
    return sql.SQL("SELECT {} FROM {} ORDER BY {}{}").format(
        names, _source(_RELATION[subject], days), sql.SQL(_ORDER[subject]), limit
    )


def _source(relation: LiteralString, days: Days | None) -> sql.SQL | sql.Composed:
    if days is None:
        return sql.SQL(relation)
    return sql.SQL("{}({}, {})").format(
        sql.SQL(relation), sql.Literal(days.first.isoformat()), sql.Literal(days.last.isoformat())
    )


def _names(record: type[msgspec.Struct], renamed: dict[str, str] | None = None) -> sql.Composed:
    changed = renamed or {}
    return sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(sql.Identifier(changed[name]), sql.Identifier(name))
        if name in changed
        else sql.Identifier(name)
        for name in record.__struct_fields__
    )


def _read(
    connection: Connection,
    record: type[Record],
    statement: sql.SQL | sql.Composed,
    values: dict[str, object] | None = None,
) -> list[Record]:
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement, values).fetchall()
    return [msgspec.convert(row, record) for row in rows]

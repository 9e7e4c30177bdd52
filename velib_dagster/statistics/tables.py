"""All tables of the statistics from one frame of spells, by the DataFrame API.

`twins.py` has the same functions by SQL. Reading spells is `reading.py`, writing rows the store's affair.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pyspark.sql import DataFrame

from velib_dagster.events.records import Column
from velib_dagster.statistics.days import Days
from velib_dagster.statistics.episodes import episodes
from velib_dagster.statistics.runs import runs
from velib_dagster.statistics.spells import newest, prepared
from velib_dagster.statistics.stations import station_days, station_hours
from velib_dagster.statistics.sums import hour_sums
from velib_dagster.statistics.zones import area_days, zone_hours
from velib_dagster.store.day_columns import CELL_DAYS, EPISODES, STATION_DAYS, STATION_HOURS, ZONE_DAYS, ZONE_HOURS


@dataclass(frozen=True)
class Table:
    """A table's columns in order, and those that tell its rows apart."""

    columns: tuple[Column, ...]
    key: tuple[str, ...]


TABLES: Final[Mapping[str, Table]] = {
    "station_days": Table(STATION_DAYS, ("station_code", "day")),
    "station_hours": Table(STATION_HOURS, ("station_code", "hour_start")),
    "zone_days": Table(ZONE_DAYS, ("zone", "day")),
    "zone_hours": Table(ZONE_HOURS, ("zone", "hour_start")),
    "cell_days": Table(CELL_DAYS, ("cell", "day")),
    "episodes": Table(EPISODES, ("kind", "station_code", "since")),
}
"""The tables by name."""


@dataclass(frozen=True)
class Parts:
    """The few rows that every table is made from: sums by hour, runs, and the stations' newest names and places."""

    sums: DataFrame
    runs: DataFrame
    newest: DataFrame


def parts(prepared_spells: DataFrame) -> Parts:
    """The parts of prepared spells: about a tenth as many rows, on a day of minute polls."""
    return Parts(hour_sums(prepared_spells), runs(prepared_spells), newest(prepared_spells))


_MADE: Final[Mapping[str, Callable[[Parts, str], DataFrame]]] = {
    "station_days": lambda of, _: station_days(of.sums, of.newest),
    "station_hours": lambda of, _: station_hours(of.sums),
    "zone_days": lambda of, _: area_days(of.sums, of.runs, "zone"),
    "zone_hours": lambda of, _: zone_hours(of.sums),
    "cell_days": lambda of, _: area_days(of.sums, of.runs, "cell"),
    "episodes": lambda of, timezone: episodes(of.runs, of.newest, timezone),
}


def statistics(spells: DataFrame, days: Days, names: Collection[str] = tuple(TABLES)) -> dict[str, DataFrame]:
    """The named tables of the days, not computed yet, from the archive's spells; those of the day before that reach
    the first day's start must be among them.

    Raises:
        StatisticsError: the session's time zone is not UTC.
    """
    of = parts(prepared(spells, days))
    return {name: _MADE[name](of, days.timezone) for name in names}


@contextmanager
def kept_statistics(
    spells: DataFrame, days: Days, names: Collection[str] = tuple(TABLES)
) -> Iterator[dict[str, DataFrame]]:
    """The same for whoever wants several tables: the parts are computed once, and kept until the end of the block.

    They are checkpoints rather than a cache, so that Spark plans each table from a few rows instead of from the
    archive. Keeping the prepared spells as well was measured, and costs more than it saves.

    Raises:
        StatisticsError: the session's time zone is not UTC.
    """
    lazy = parts(prepared(spells, days))
    of = Parts(*(part.localCheckpoint() for part in (lazy.sums, lazy.runs, lazy.newest)))
    yield {name: _MADE[name](of, days.timezone) for name in names}

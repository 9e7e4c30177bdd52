"""All tables of the statistics from one frame of spells, by the DataFrame API.

`twins.py` has the same functions by SQL. Reading spells is `reading.py`, writing rows the store's affair.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
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
class Statistics:
    """The tables as frames that nothing has computed yet, and the frames that several of them are made from."""

    tables: Mapping[str, DataFrame]
    shared: tuple[DataFrame, ...]

    @contextmanager
    def kept(self) -> Iterator[Mapping[str, DataFrame]]:
        """The tables, their shared frames computed once and kept until the end of the block.

        A day of minute polls takes about half the time so. Not for Spark Connect on serverless, which keeps nothing.
        """
        with ExitStack() as stack:
            for frame in self.shared:
                stack.callback(frame.persist().unpersist)
            yield self.tables


def statistics(spells: DataFrame, days: Days) -> Statistics:
    """The tables of the days from the archive's spells, those of the day before that reach the first day's start among
    them.

    Raises:
        StatisticsError: the session's time zone is not UTC.
    """
    ready = prepared(spells, days)
    sums, stretches, last = hour_sums(ready), runs(ready), newest(ready)
    tables = {
        "station_days": station_days(sums, last),
        "station_hours": station_hours(sums),
        "zone_days": area_days(sums, stretches, "zone"),
        "zone_hours": zone_hours(sums),
        "cell_days": area_days(sums, stretches, "cell"),
        "episodes": episodes(stretches, last, days.timezone),
    }
    return Statistics(tables, (ready, sums, stretches))

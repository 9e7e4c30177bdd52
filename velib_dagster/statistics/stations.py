"""Tables `station_days` and `station_hours`: what each station did in a day, and in each of its hours."""

from pyspark.sql import DataFrame

from velib_dagster.statistics.schemas import conforming
from velib_dagster.statistics.sums import HOUR, rolled_up
from velib_dagster.store.day_columns import STATION_DAYS, STATION_HOURS


def station_days(sums: DataFrame, newest: DataFrame) -> DataFrame:
    """One row per station and day with a known second.

    `sums` are those of `sums.hour_sums`, `newest` the names and places of `spells.newest`.
    """
    key = ["station_code", "day"]
    return conforming(rolled_up(sums, key).join(newest, key), STATION_DAYS)


def station_hours(sums: DataFrame) -> DataFrame:
    """One row per station and hour with a known second."""
    return conforming(rolled_up(sums, ["station_code", *HOUR]), STATION_HOURS)

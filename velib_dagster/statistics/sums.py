"""Sums per station, zone, cell and hour: the one wide aggregation over all spells, and its roll-up.

Sums, least and most values add up, so that every table by station, zone or cell and by hour or day is rolled up from
these few rows. Exact in any order: occupancy is summed in decimals.
"""

from collections.abc import Sequence
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation

from velib_dagster.store.day_columns import STATION_DAYS

HOUR: Final = ("hour_start", "day", "hour", "weekend")
LOW: Final = 2
"""At most so many bikes, or free docks, are few."""

_SPLIT: Final = "mechanical IS NOT NULL AND ebike IS NOT NULL"
_BALANCE: Final = "docks IS NOT NULL AND capacity > 0"
# Decimals, since a sum of doubles depends on the order in which rows happen to be added; nullif, since Spark may
# compute a shared expression before it looks at the condition.
_OCCUPANCY: Final = (
    "CAST(CAST(seconds * bikes AS DECIMAL(18, 0)) / CAST(nullif(capacity, 0) AS DECIMAL(10, 0)) AS DECIMAL(28, 12))"
)

_SERVED: Final = {
    "seconds_in_service": ("true", "seconds"),
    "seconds_empty": ("bikes = 0", "seconds"),
    "seconds_full": ("docks = 0", "seconds"),
    "seconds_docks_known": ("docks IS NOT NULL", "seconds"),
    "seconds_split_known": (_SPLIT, "seconds"),
    "seconds_occupancy_known": ("capacity > 0", "seconds"),
    "bikes_seconds": ("true", "seconds * bikes"),
    "mechanical_seconds": (_SPLIT, "seconds * mechanical"),
    "ebike_seconds": (_SPLIT, "seconds * ebike"),
    "docks_seconds": ("docks IS NOT NULL", "seconds * docks"),
    "occupancy_seconds": ("capacity > 0", _OCCUPANCY),
    "seconds_low_bikes": (f"bikes <= {LOW}", "seconds"),
    "seconds_low_docks": (f"docks <= {LOW}", "seconds"),
    "seconds_ebike_only": ("ebike > 0 AND mechanical = 0", "seconds"),
    "seconds_mechanical_only": ("mechanical > 0 AND ebike = 0", "seconds"),
    "capacity_seconds": ("capacity > 0", "seconds * capacity"),
    "bikes_capacity_known_seconds": ("capacity > 0", "seconds * bikes"),
    "seconds_balance_known": (_BALANCE, "seconds"),
    "unusable_docks_seconds": (_BALANCE, "seconds * greatest(capacity - bikes - docks, 0L)"),
    "overflow_seconds": (_BALANCE, "seconds * greatest(bikes + docks - capacity, 0L)"),
}
"""What is summed over spells in service: where, and which value."""

SUMMED: Final = tuple(
    column.name for column in STATION_DAYS[STATION_DAYS.index(next(c for c in STATION_DAYS if c.name == "seconds")) :]
)
"""Columns of `station_days` that add up, or whose least or most value does."""


def hour_sums(spells: DataFrame) -> DataFrame:
    """One row per station, zone, cell and hour: all of `SUMMED`, from prepared spells.

    A station that is rezoned in an hour has a row for each zone. `occupancy_seconds` stays a decimal.
    """
    return (
        spells.groupBy("station_code", "zone", "cell", *HOUR, "waking")
        .agg(
            F.sum("seconds").alias("seconds"),
            *(_in_service(condition, value).alias(name) for name, (condition, value) in _SERVED.items()),
            *(
                F.expr(f"{function}(CASE WHEN in_service THEN {value} END)").alias(f"{value}_{function}")
                for value in ("bikes", "mechanical", "ebike", "docks")
                for function in ("min", "max")
            ),
            F.sum("rentals").alias("rentals"),
            F.sum("returns").alias("returns"),
            F.sum(F.col("changed").cast("long")).alias("changes"),
        )
        .withColumn("waking_seconds", F.expr("CASE WHEN waking THEN seconds_in_service ELSE 0L END"))
        .withColumn("waking_changes", F.expr("CASE WHEN waking THEN changes ELSE 0L END"))
    )


def rolled_up(sums: DataFrame, key: Sequence[str]) -> DataFrame:
    """One row per key: `SUMMED` over its hours and stations."""
    return sums.groupBy(*key).agg(*(_rolled_up(name).alias(name) for name in SUMMED))


def _rolled_up(name: str) -> Column:
    if name.endswith("_min"):
        return F.min(name)
    return F.max(name) if name.endswith("_max") else F.sum(name)


def _in_service(condition: str, value: str) -> Column:
    """The sum of a value over the spells in service that meet the condition; 0 where there are none."""
    return F.expr(f"sum(CASE WHEN in_service AND ({condition}) THEN {value} ELSE 0 END)")

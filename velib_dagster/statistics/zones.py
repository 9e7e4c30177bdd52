"""Tables `zone_days`, `zone_hours` and `cell_days`: the same figures over the stations of an area.

An area is a zone (arrondissement, commune) or an H3 cell: one function with the name of the key. A station counts
where it lay in that spell, so that one that is rezoned counts in both.
"""

from typing import Final, Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation

from velib_dagster.statistics.joint import joint_seconds
from velib_dagster.statistics.schemas import conforming
from velib_dagster.statistics.sums import HOUR, rolled_up
from velib_dagster.store.day_columns import CELL_DAYS, ZONE_DAYS, ZONE_HOURS

Area = Literal["zone", "cell"]
_DAY_TABLES: Final = {"zone": ZONE_DAYS, "cell": CELL_DAYS}


def area_days(sums: DataFrame, runs: DataFrame, area: Area) -> DataFrame:
    """One row per area and day with a known second of a station there.

    `sums` are those of `sums.hour_sums`, `runs` those of `runs.runs`.
    """
    key = [area, "day"]
    by_station = rolled_up(sums, ["station_code", *key])
    days = rolled_up(by_station, key, F.count("*").alias("stations"))
    return conforming(days.join(joint_seconds(runs, area), key), _DAY_TABLES[area])


def zone_hours(sums: DataFrame) -> DataFrame:
    """One row per zone and hour with a known second of a station there."""
    key = ["zone", *HOUR]
    by_station = rolled_up(sums, ["station_code", *key])
    return conforming(rolled_up(by_station, key, F.count("*").alias("stations")), ZONE_HOURS)

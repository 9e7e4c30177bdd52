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
    days = rolled_up(sums, key).join(_stations(sums, key), key)
    return conforming(days.join(joint_seconds(runs, area), key), _DAY_TABLES[area])


def zone_hours(sums: DataFrame) -> DataFrame:
    """One row per zone and hour with a known second of a station there."""
    key = ["zone", *HOUR]
    return conforming(
        rolled_up(sums, key).join(_stations(sums, ["zone", "hour_start"]), ["zone", "hour_start"]), ZONE_HOURS
    )


def _stations(sums: DataFrame, key: list[str]) -> DataFrame:
    """How many stations have a row, by key.

    Apart from the sums: a distinct count among them would keep Spark off its fast aggregation.
    """
    return sums.select(*key, "station_code").distinct().groupBy(*key).agg(F.count("*").alias("stations"))

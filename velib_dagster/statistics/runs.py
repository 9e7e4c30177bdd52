"""Runs: touching spells of one station, day and place with the same service, emptiness and fullness, as one row.

A station changes these few times a day, so that outages are counted on a few rows instead of on every spell.
"""

from typing import Final

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation

_STATE: Final = ("station_code", "day", "zone", "cell", "in_service", "docks_known", "empty", "full")


def runs(spells: DataFrame) -> DataFrame:
    """One row per run, from prepared spells: its state, `since`, `until`, and what was seen just before and after.

    `bike_before`, `dock_before`, `bike_after`, `dock_after` are those of its first and last spell.
    """
    in_time = Window.partitionBy("station_code", "day").orderBy("since")
    return (
        spells.where("run_starts OR run_ends")
        # A run's first spell is its last one too, or the next of these rows is.
        .withColumn("last", F.struct("until", "bike_after", "dock_after"))
        .withColumn("next_last", F.lead("last").over(in_time))
        .where("run_starts")
        .withColumn("last", F.expr("CASE WHEN run_ends THEN last ELSE next_last END"))
        .select(*_STATE, "since", "last.until", "bike_before", "dock_before", "last.bike_after", "last.dock_after")
    )

"""Spells → a regular grid: what each station in service had at each mark, where that is known.

A mark is a multiple of the step since 1970. With the times of the usable polls, a mark is known where a poll is nearest
to it and a spell covers that poll: nothing is filled in. Without them, a mark is known where a spell covers it, and a
state counts as long as the platform lets it hold (`max_hold_seconds`).
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation
from pyspark.sql.types import LongType, StringType, StructField, StructType

from velib_dagster.forecast.stations import Station, Stations

GRID: Final = ("station", "mark", "at", "bikes", "docks", "capacity")
"""Columns of the grid: the station's number, the mark's number, the instant that is told (seconds since 1970), counts.

`docks` and `capacity` may be NULL. A mark of a station out of service has no row.
"""
_NUMBERS: Final = StructType([StructField("station_code", StringType()), StructField("station", LongType())])
_MARKS: Final = StructType([StructField("mark", LongType()), StructField("at", LongType())])


def stations_of(spells: DataFrame) -> Stations:
    """The stations of the archive's spells, each as its newest spell has it."""
    newest = spells.groupBy("station_code").agg(
        F.max_by(F.struct("zone", "lat", "lon"), "since").alias("newest"),
    )
    found = newest.select("station_code", "newest.*").collect()
    return Stations.of(Station(row["station_code"], row["zone"], row["lat"], row["lon"]) for row in found)


def grid(
    spells: DataFrame,
    stations: Stations,
    step_seconds: int,
    polls: Sequence[int] | None = None,
    wanted: Column | None = None,
) -> DataFrame:
    """One row per station and mark that is known and in service, with the columns `GRID`.

    `polls` are the usable polls' times, seconds since 1970. `wanted`, a condition on `mark`, leaves out the others.
    """
    half = step_seconds // 2 if polls is not None else 0
    since, until = F.unix_seconds("since"), F.unix_seconds("until")
    first = F.floor((since + half) / step_seconds) if polls is not None else F.ceil(since / step_seconds)
    last = F.floor((until - 1 + half) / step_seconds)
    exploded = (
        spells.where("is_installed AND is_renting AND is_returning")
        .join(F.broadcast(_numbers(spells.sparkSession, stations)), "station_code")
        .where(first <= last)
        .select(
            "station", since.alias("since"), until.alias("until"), "bikes", "docks", "capacity",
            F.explode(F.sequence(first, last)).alias("mark"),
        )
    )  # fmt: skip
    if wanted is not None:
        exploded = exploded.where(wanted)
    if polls is None:
        told = exploded.withColumn("at", F.col("mark") * step_seconds)
    else:
        marks = spells.sparkSession.createDataFrame(nearest_polls(polls, step_seconds), _MARKS)
        told = exploded.join(F.broadcast(marks), "mark").where("at >= since AND at < until")
    return told.select(*GRID)


def nearest_polls(polls: Iterable[int], step_seconds: int) -> list[tuple[int, int]]:
    """Each mark that is the nearest one of a poll, with that poll; of several the one that lies nearest to it."""
    best: dict[int, int] = {}
    for poll in sorted(polls):
        mark = (poll + step_seconds // 2) // step_seconds
        held = best.get(mark)
        if held is None or abs(poll - mark * step_seconds) <= abs(held - mark * step_seconds):
            best[mark] = poll
    return sorted(best.items())


def usual_step(spells: DataFrame) -> int:
    """300 s where the archive was polled every few minutes, 60 s where it was polled each minute.

    Told by when states began, cuts at 10-minute marks left out: the distance from one to the next, in the middle.
    """
    began = spells.select(F.unix_seconds("since").alias("at")).where("at % 600 <> 0").distinct()
    times = np.sort(np.array([row["at"] for row in began.collect()], dtype=np.int64))
    return 60 if len(times) > 1 and float(np.median(np.diff(times))) < 150 else 300


def _numbers(spark: SparkSession, stations: Stations) -> DataFrame:
    return spark.createDataFrame([(code, number) for code, number in stations.number.items()], _NUMBERS)

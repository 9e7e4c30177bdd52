"""Parquet months of polls → the feature table: lags are the last three polls, the target is the next one.

Such files never enter the archive: their polls lie an hour apart, and a state can't be said to hold so long. Two naming
schemes are known (GBFS, and 15-minute bins); what is missing is named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation

from velib_dagster.events.zones import zone_of
from velib_dagster.forecast.errors import ForecastError
from velib_dagster.forecast.features import after
from velib_dagster.forecast.stations import Station, Stations
from velib_dagster.forecast.task import AGES, LAGS, NEXT_POLL

MOST_GAP_SECONDS: Final = 7200
"""Two polls further apart tell too little of one another: such rows are dropped."""
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "at": ("ts_utc", "tbin_utc"),
    "station_code": ("stationCode", "stationcode", "station_code"),
    "bikes": ("num_bikes_available", "nb_velos_bin"),
    "docks": ("num_docks_available", "nb_bornes_bin"),
    "capacity": ("capacity", "capacity_bin"),
}
_OPTIONAL: Final[Mapping[str, tuple[str, ...]]] = {"lat": ("lat",), "lon": ("lon",)}
_FLAGS: Final = ("is_installed", "is_renting", "is_returning")


@dataclass(frozen=True)
class Months:
    """Polls of all files: `station`, `mark` and `at` (both the poll's second), counts; in service only."""

    polls: DataFrame
    stations: Stations


def read_months(spark: SparkSession, files: Sequence[Path]) -> Months:
    """The polls in the files; a poll that stands in two files counts once.

    A capacity of 0 is an outage of the operator's table and is read as unknown. Files without flags of service are
    taken as in service throughout.

    Raises:
        ForecastError: a file is missing, or lacks a column.
    """
    frames = [_read(spark, file) for file in files]
    whole = frames[0]
    for frame in frames[1:]:
        whole = whole.unionByName(frame)
    newest = whole.groupBy("station_code").agg(F.max("lat").alias("lat"), F.max("lon").alias("lon")).collect()
    stations = Stations.of(_station(row["station_code"], row["lat"], row["lon"]) for row in newest)
    numbers = spark.createDataFrame(list(stations.number.items()), "station_code string, station long")
    polls = (
        whole.drop("lat", "lon")
        .join(F.broadcast(numbers), "station_code")
        .drop("station_code")
        .withColumn("mark", F.col("at"))
        .dropDuplicates(["station", "at"])
    )
    return Months(polls, stations)


def month_rows(months: Months) -> DataFrame:
    """One row per station and poll that has two polls before it and one after it, none further apart than two hours:
    `station`, `mark`, `at`, counts and lags as `features.features`, the age of each lag at the target (minutes), and
    `at_after`, the target's second."""
    in_time = Window.partitionBy("station").orderBy("at")
    counts = {
        f"{count}_lag{number + 1}": F.lag(count, number).over(in_time) if number else F.col(count)
        for count in ("bikes", "docks")
        for number in range(LAGS)
    }
    times = {"at_lag2": F.lag("at", 1).over(in_time), "at_lag3": F.lag("at", 2).over(in_time)}
    target = {after(count, NEXT_POLL): F.lead(count).over(in_time) for count in ("bikes", "docks")}
    rows = months.polls.withColumns(counts | times | target | {"at_after": F.lead("at").over(in_time)})
    near = " AND ".join(
        f"{later} - {earlier} <= {MOST_GAP_SECONDS}"
        for later, earlier in (("at_after", "at"), ("at", "at_lag2"), ("at_lag2", "at_lag3"))
    )
    ages = {
        name: (F.col("at_after") - F.col(lag)) / 60
        for name, lag in zip(AGES, ("at", "at_lag2", "at_lag3"), strict=True)
    }
    return rows.where(near).withColumns(ages).drop("at_lag2", "at_lag3")


def _station(code: str, lat: float | None, lon: float | None) -> Station:
    # Without a place the code alone tells the zone, as of a station in the middle of Paris.
    zone = zone_of(code, None, 48.86 if lat is None else lat, 2.34 if lon is None else lon)
    return Station(code, zone, lat, lon)


def _read(spark: SparkSession, file: Path) -> DataFrame:
    if not file.is_file():
        msg = f"{file} does not exist: give Parquet files of polls"
        raise ForecastError(msg)
    frame = spark.read.parquet(file.absolute().as_uri())
    chosen = {}
    for name, known in {**_NAMES, **_OPTIONAL}.items():
        found = next((column for column in known if column in frame.columns), None)
        if found is None and name in _NAMES:
            msg = f"{file} has no column for {name}: one of {', '.join(known)} is needed"
            raise ForecastError(msg)
        chosen[name] = F.col(found) if found else F.lit(None).cast("double")
    served = [F.col(flag).cast("int") == 1 for flag in _FLAGS if flag in frame.columns]
    for one in served:
        frame = frame.where(one)
    capacity = chosen["capacity"].cast("int")
    return frame.select(
        chosen["station_code"].cast("string").alias("station_code"),
        F.unix_seconds(chosen["at"].cast("timestamp")).alias("at"),
        chosen["bikes"].cast("int").alias("bikes"),
        chosen["docks"].cast("int").alias("docks"),
        F.when(capacity > 0, capacity).alias("capacity"),
        chosen["lat"].cast("double").alias("lat"),
        chosen["lon"].cast("double").alias("lon"),
    ).where("station_code IS NOT NULL AND bikes IS NOT NULL")

"""Spells → sums over 10-minute windows of each station: the streaming job's one stateful query.

Pure functions DataFrame → DataFrame that work on a stream and on a batch alike; nothing here reads or writes.
Sums are exact whatever the order of summation, so that a batch run again gives the same rows. Since sums add, zones,
cells and hours are views of PostgreSQL over these rows.
"""

from collections.abc import Collection
from typing import Final

import msgspec
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation

from velib_dagster.events.readable import VERSION, VERSION_HEADER
from velib_dagster.events.records import columns
from velib_dagster.store.columns import WINDOW_COLUMNS
from velib_dagster.streaming.schemas import schema_of

NO_SPELL: Final = "a record that is no spell"
NEWER_VERSION: Final = "a record of a newer program"
WINDOW: Final = "10 minutes"
LEAST_WATERMARK_SECONDS: Final = 1800
_OCCUPANCY_UNITS: Final = 10**12
"""Parts of a second that occupancy is summed in; a spell of 600 s with 10,000 bikes stays within 64 bits."""


def watermark_seconds(max_hold_seconds: int) -> int:
    """How far a spell may lie behind the newest one and still count.

    A spell is published when its hold runs out, or at the first usable poll after that.
    """
    return max(LEAST_WATERMARK_SECONDS, 3 * max_hold_seconds)


def parse(kafka: DataFrame, record: type[msgspec.Struct]) -> DataFrame:
    """Kafka's rows as rows of the record, one each; a value that is no such JSON, or lacks a field, fails the query.

    Rows without a value only close a transaction.
    """
    value = F.from_json(F.col("value").cast("string"), schema_of(record), {"mode": "FAILFAST"})
    rows = kafka.where("value IS NOT NULL").select(value.alias("record")).select("record.*")
    missing = [column.name for column in columns(record) if not column.nullable]
    return _all_right(rows, " AND ".join(f"{name} IS NOT NULL" for name in missing))


def _all_right(rows: DataFrame, condition: str) -> DataFrame:
    """The rows; one that does not meet the condition fails the query. What Spark would take and the archive sets aside
    may not count here either."""
    fails = F.raise_error(F.lit(f"{NO_SPELL}: not {condition}")).cast("boolean")
    return rows.where(F.when(F.expr(condition), F.lit(True)).otherwise(fails))


def readable(kafka: DataFrame, set_aside: Collection[int]) -> DataFrame:
    """Kafka's rows without those at the offsets that the archive has set aside; one of a newer version fails the query.

    The rows have their headers.
    """
    if set_aside:
        kafka = kafka.where(~F.col("offset").isin(list(set_aside)))
    version = F.expr(f"get(filter(headers, header -> header.key = '{VERSION_HEADER}'), 0).value").cast("string")
    message = F.concat(
        F.lit(f"{NEWER_VERSION}: version "), version, F.lit(" at offset "), F.col("offset").cast("string")
    )
    newer = version.isNotNull() & (version != F.lit(str(VERSION)))
    return kafka.where(F.when(newer, F.raise_error(message).cast("boolean")).otherwise(F.lit(True)))


def window_sums(spells: DataFrame, max_hold_seconds: int) -> DataFrame:
    """One row per station, window, name and place, with the columns of the table `windows`.

    A spell counts in the window of its start: the producer cuts spells at each 10-minute mark. It counts once, however
    often it comes, in whatever batch.
    """
    # Grouped by name and place, since to pick the newest of several texts keeps Spark from its generated hash
    # aggregation, which takes a third of the time.
    sums = (
        _all_right(spells, "unix_micros(until) - unix_micros(since) = seconds * 1000000")
        .withWatermark("since", f"{watermark_seconds(max_hold_seconds)} seconds")
        .withColumn("span", F.window("since", WINDOW))
        # As a number it carries no watermark: a spell is then known, and counted, until its window is past.
        .withColumn("since", F.expr("unix_micros(since)"))
        .dropDuplicates(["station_code", "since", "span"])
        .withColumn("in_service", F.expr("is_installed AND is_renting AND is_returning"))
        .groupBy("station_code", "name", "zone", "cell", "span")
        .agg(*_sums())
    )
    span = {"window_start": F.col("span.start"), "window_end": F.col("span.end")}
    return sums.select(*(span.get(column.name, F.col(column.name)).alias(column.name) for column in WINDOW_COLUMNS))


def _sums() -> list[Column]:
    split_known = "mechanical IS NOT NULL AND ebike IS NOT NULL"
    # Whole numbers, since a sum of doubles depends on the order in which a restart happens to add them.
    occupancy = f"seconds * bikes * {_OCCUPANCY_UNITS} DIV capacity"
    return [
        F.sum("seconds").alias("seconds"),
        _where("true", "seconds").alias("seconds_in_service"),
        _where("bikes = 0", "seconds").alias("seconds_empty"),
        _where("docks = 0", "seconds").alias("seconds_full"),
        _where("docks IS NOT NULL", "seconds").alias("seconds_docks_known"),
        _where(split_known, "seconds").alias("seconds_split_known"),
        _where("capacity > 0", "seconds").alias("seconds_occupancy_known"),
        _where("true", "seconds * bikes").alias("bikes_seconds"),
        _where(split_known, "seconds * mechanical").alias("mechanical_seconds"),
        _where(split_known, "seconds * ebike").alias("ebike_seconds"),
        _where("docks IS NOT NULL", "seconds * docks").alias("docks_seconds"),
        (_where("capacity > 0", occupancy) / _OCCUPANCY_UNITS).alias("occupancy_seconds"),
        *(
            F.expr(f"{function}(CASE WHEN in_service THEN {value} END)").cast("int").alias(f"{value}_{function}")
            for value in ("bikes", "mechanical", "ebike", "docks")
            for function in ("min", "max")
        ),
        F.timestamp_micros(F.max("since")).alias("newest_since"),
    ]


def _where(condition: str, value: str) -> Column:
    """The sum of a value over the spells in service that meet the condition; 0 where there are none."""
    return F.expr(f"sum(CASE WHEN in_service AND ({condition}) THEN {value} ELSE 0 END)")

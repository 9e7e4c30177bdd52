"""Joint outages: the time in which no station of a group has a bike, or a free dock.

A group is a zone, a cell, or the stations within 300 m of one. A sweep over the moments at which a group changes, with
running counts of its stations: known, in service, with a bike, with docks known, with a free dock.
"""

from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation

NEAR_M: Final = 300.0
"""Stations within this distance of each other are neighbours: the spacing that ITDP's planning guide asks for."""

EARTH_RADIUS_M: Final = 6_371_008.8
"""Mean radius of the Earth (IUGG), metres."""

_BAND_DEGREES: Final = 0.003
"""Height of a band of latitude: a little more than NEAR_M, so that neighbours lie in the same band or in the next."""


def sweep(runs: DataFrame, key: list[str], counted: dict[str, str]) -> DataFrame:
    """One row per key and stretch of time in which the counts stay the same, in which something is counted or was.

    `counted` names the counts, each with the condition under which a run counts. Columns: the key, the counts,
    `since` and `until` (NULL after the last change, where nothing is counted any more).
    """
    edge = [F.struct(F.col(at).alias("since"), F.lit(step).alias("step")) for at, step in (("since", 1), ("until", -1))]
    counts = {name: F.expr(f"CASE WHEN {condition} THEN edge.step ELSE 0 END") for name, condition in counted.items()}
    changes = (
        runs.withColumn("edge", F.explode(F.array(*edge)))
        .groupBy(*key, F.col("edge.since").alias("since"))
        .agg(*(F.sum(count).alias(name) for name, count in counts.items()))
        .where(" OR ".join(f"{name} <> 0" for name in counted))
    )
    in_time = Window.partitionBy(*key).orderBy("since")
    so_far = in_time.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    return changes.select(
        *key,
        "since",
        F.lead("since").over(in_time).alias("until"),
        *(F.sum(name).over(so_far).alias(name) for name in counted),
    )


def joint_seconds(runs: DataFrame, area: str) -> DataFrame:
    """One row per area and day: `seconds_covered`, `seconds_served`, `seconds_no_bike`, `seconds_no_dock`."""
    stretches = sweep(
        runs,
        [area, "day"],
        {
            "known": "true",
            "served": "in_service",
            "with_bike": "in_service AND NOT empty",
            "with_docks_known": "docks_known",
            "with_dock": "docks_known AND NOT full",
        },
    ).where("until IS NOT NULL")

    def seconds(condition: str) -> Column:
        return F.expr(f"sum(CASE WHEN {condition} THEN unix_seconds(until) - unix_seconds(since) ELSE 0 END)")

    return stretches.groupBy(area, "day").agg(
        seconds("known > 0").alias("seconds_covered"),
        seconds("served > 0").alias("seconds_served"),
        seconds("served > 0 AND with_bike = 0").alias("seconds_no_bike"),
        seconds("with_docks_known > 0 AND with_dock = 0").alias("seconds_no_dock"),
    )


def neighbours(newest: DataFrame) -> DataFrame:
    """One row per day, station (`centre`) and station within 300 m of it, itself included, by great-circle distance.

    `newest` has the places, one row per station and day.
    """
    band = F.floor(F.col("lat") / F.lit(_BAND_DEGREES))
    centres = newest.select(
        "day",
        F.col("station_code").alias("centre"),
        F.col("lat").alias("lat_c"),
        F.col("lon").alias("lon_c"),
        F.explode(F.array(band - 1, band, band + 1)).alias("band"),
    )
    stations = newest.select("day", "station_code", "lat", "lon", band.alias("band"))
    return (
        centres.join(stations, ["day", "band"])
        .where(great_circle_m("lat_c", "lon_c", "lat", "lon") <= NEAR_M)
        .select("day", "centre", "station_code")
    )


def great_circle_m(lat_a: str, lon_a: str, lat_b: str, lon_b: str) -> Column:
    """Distance of two places in metres, by the haversine formula."""
    return F.expr(
        f"2 * {EARTH_RADIUS_M} * asin(sqrt(pow(sin(radians({lat_b} - {lat_a}) / 2), 2)"
        f" + cos(radians({lat_a})) * cos(radians({lat_b})) * pow(sin(radians({lon_b} - {lon_a}) / 2), 2)))"
    )

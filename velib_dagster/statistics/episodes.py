"""Table `episodes`: the times in which a station, or a station with all its neighbours, is empty or full.

How an episode begins and ends, and when an end is open, is said with the columns in `store/day_columns.py`.
"""

from functools import reduce
from typing import Final, Literal

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation

from velib_dagster.statistics.days import WAKING_FROM, WAKING_UNTIL
from velib_dagster.statistics.joint import neighbours, sweep
from velib_dagster.statistics.schemas import conforming
from velib_dagster.store.day_columns import EPISODES

CLUSTER_SECONDS: Final = 600
"""A cluster outage is longer than this (Bay Area bike share agreement 2015, indicator 12: 10 minutes, 6 to 22 h)."""

Kind = Literal["empty", "full"]
_WHAT: Final[dict[Kind, str]] = {"empty": "bike", "full": "dock"}
"""What is lacking."""
_KNOWN: Final[dict[Kind, str]] = {"empty": "in_service", "full": "docks_known"}
"""Runs in which it is known whether it is lacking."""


def episodes(runs: DataFrame, newest: DataFrame, timezone: str) -> DataFrame:
    """One row per episode and day, of all four kinds.

    `runs` are those of `runs.runs`, `newest` the zones and places of `spells.newest`.
    """
    kinds: tuple[Kind, ...] = ("empty", "full")
    near = neighbours(newest)
    found = [
        *(station_episodes(runs, kind) for kind in kinds),
        *(cluster_episodes(runs, near, kind, timezone) for kind in kinds),
    ]
    all_kinds = reduce(DataFrame.unionByName, found).withColumn(
        "seconds", F.expr("unix_seconds(until) - unix_seconds(since)")
    )
    return conforming(all_kinds.join(newest.select("station_code", "day", "zone"), ["station_code", "day"]), EPISODES)


def station_episodes(runs: DataFrame, kind: Kind) -> DataFrame:
    """One row per maximal stretch of touching runs that are empty (full), cut at midnight."""
    station = Window.partitionBy("station_code", "day").orderBy("since")
    episode = ["station_code", "day", "number"]
    what = _WHAT[kind]
    return (
        runs.where(kind)
        .withColumn("goes_on", F.lag("until").over(station).eqNullSafe(F.col("since")))
        .withColumn("number", F.sum(F.expr("CASE WHEN goes_on THEN 0 ELSE 1 END")).over(station))
        .groupBy(*episode)
        .agg(
            F.min("since").alias("since"),
            F.max("until").alias("until"),
            # Within an episode no touching neighbour has what is lacking, so that any one seen is at its ends.
            (~F.bool_or(f"{what}_before")).alias("open_start"),
            (~F.bool_or(f"{what}_after")).alias("open_end"),
        )
        .drop("number")
        .withColumn("kind", F.lit(kind))
    )


def cluster_episodes(runs: DataFrame, near: DataFrame, kind: Kind, timezone: str) -> DataFrame:
    """One row per cluster outage around a station: it is empty (full), and no neighbour in service has a bike (dock).

    Within waking hours, and longer than CLUSTER_SECONDS without a break.
    """
    known = _KNOWN[kind]
    affected = runs.where(kind).select(F.col("station_code").alias("centre"), "day").distinct()
    members = near.join(affected, ["day", "centre"]).join(runs.where(known), ["day", "station_code"])
    centre = "centre = station_code"
    stretches = sweep(
        members,
        ["centre", "day"],
        {"known": centre, "lacking": f"{centre} AND {kind}", "helped": f"NOT {kind}"},
    )
    in_time = Window.partitionBy("centre", "day").orderBy("since")
    waking = {
        f"waking_{side}": F.to_utc_timestamp(F.expr(f"timestamp(day) + INTERVAL {hour} HOURS"), timezone)
        for side, hour in (("since", WAKING_FROM), ("until", WAKING_UNTIL))
    }
    return (
        stretches.withColumns(
            {"known_before": F.lag("known", 1, 0).over(in_time), "known_after": F.lead("known", 1, 0).over(in_time)}
        )
        .where("lacking > 0 AND helped = 0")
        .withColumns(waking)
        .select(
            F.lit(f"cluster_{kind}").alias("kind"),
            F.col("centre").alias("station_code"),
            "day",
            F.greatest("since", "waking_since").alias("since"),
            F.least("until", "waking_until").alias("until"),
            F.expr("known_before = 0 OR since < waking_since").alias("open_start"),
            F.expr("known_after = 0 OR until > waking_until").alias("open_end"),
        )
        .where(f"unix_seconds(until) - unix_seconds(since) > {CLUSTER_SECONDS}")
    )

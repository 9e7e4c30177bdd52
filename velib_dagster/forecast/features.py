"""Grid → features: what was known at an origin, and what came after it.

One row per station and origin. The same rows serve every horizon: the lags are the counts at the origin, one step and
two steps before it; the targets lie the horizons after it. What belongs to one horizon and event (the hour, the
station's own rate, the label) is added by `task_frame`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation
from pyspark.sql.types import LongType, StructField, StructType

from velib_dagster.forecast.stations import Stations
from velib_dagster.forecast.task import AGES, LAGS, NEXT_POLL, PARTS, Split, Target, lag_names

KEY: Final = ("station", "at")
"""The station's number, and the origin's instant in seconds since 1970."""
LABEL: Final = "label"
_PAIRS: Final = StructType([StructField("station", LongType()), StructField("neighbour", LongType())])


def after(count: str, horizon: int) -> str:
    """Column with a count at the target of a horizon."""
    return f"{count}_after_{horizon}"


def wanted_marks(step_seconds: int, horizons: Sequence[int], origin_seconds: int) -> Column:
    """Whether a mark is that of an origin, a lag or a target: the others need not be made."""
    every = max(1, origin_seconds // step_seconds)
    offsets = [-number for number in range(LAGS)] + [horizon * 60 // step_seconds for horizon in horizons]
    return F.pmod(F.col("mark"), F.lit(every)).isin(sorted({offset % every for offset in offsets}))


def features(grid: DataFrame, step_seconds: int, horizons: Sequence[int], origin_seconds: int) -> DataFrame:
    """One row per station and origin whose lags are all known: `station`, `mark`, `at`, counts, lags, targets.

    Columns `bikes`, `docks`, `capacity` at the origin; `bikes_lag1` … `docks_lag3`; for each horizon (minutes)
    `bikes_after_H` and `docks_after_H`, NULL where the target is not known or out of service. Origins lie on multiples
    of `origin_seconds`.
    """
    in_time = Window.partitionBy("station").orderBy("mark")

    def at(steps: int, count: str) -> Column:
        return F.first(count).over(in_time.rangeBetween(steps, steps))

    lags = {
        f"{count}_lag{number + 1}": at(-number, count) if number else F.col(count)
        for count in ("bikes", "docks")
        for number in range(LAGS)
    }
    targets = {
        after(count, horizon): at(horizon * 60 // step_seconds, count)
        for horizon in horizons
        for count in ("bikes", "docks")
    }
    every = max(1, origin_seconds // step_seconds)
    return (
        grid.withColumns(lags | targets)
        .where(f"bikes_lag{LAGS} IS NOT NULL AND bikes_lag2 IS NOT NULL")
        .where(F.col("mark") % every == 0)
    )


def with_neighbours(rows: DataFrame, grid: DataFrame, stations: Stations) -> DataFrame:
    """The rows with `neighbour_fill`: bikes / (bikes + free docks) over the stations within 500 m, in service, at the
    origin's mark; −1 where there is none."""
    pairs = grid.sparkSession.createDataFrame([(int(a), int(b)) for a, b in stations.neighbours], _PAIRS)
    fill = (
        grid.where("docks IS NOT NULL")
        .join(rows.select("mark").distinct().hint("broadcast"), "mark", "left_semi")
        .withColumnRenamed("station", "neighbour")
        .join(F.broadcast(pairs), "neighbour")
        .groupBy("station", "mark")
        .agg(F.expr("coalesce(sum(bikes) / nullif(sum(bikes + docks), 0), -1D)").alias("neighbour_fill"))
    )
    return rows.join(fill, ["station", "mark"], "left").fillna(-1.0, ["neighbour_fill"])


def daily_rates(grid: DataFrame, split: Split, timezone: str) -> DataFrame:
    """How often each station had each event, by local hour and training day: `station`, `hour`, `day`, `rows`,
    `full_rows`, `empty_rows`, `docks_rows` (those whose free docks are known). Later days are not in it."""
    local = F.from_utc_timestamp(F.timestamp_seconds("at"), timezone)
    return (
        grid.withColumns({"day": F.to_date(local), "hour": F.hour(local)})
        .where(_before(split.validate_from, split.validate_hour))
        .groupBy("station", "hour", "day")
        .agg(
            F.count("*").alias("empty_rows"),
            F.count_if(F.col("bikes") == 0).alias("empty_events"),
            F.count("docks").alias("full_rows"),
            F.count_if(F.col("docks") == 0).alias("full_events"),
        )
    )


@dataclass(frozen=True)
class Task:
    """One event and horizon over one split."""

    target: Target
    horizon: int
    split: Split
    timezone: str
    step_seconds: int

    @property
    def prior_rows(self) -> float:
        """A station's own rate counts as much as the network's once it has an hour's worth of rows."""
        return 3600 / self.step_seconds


def task_frame(rows: DataFrame, rates: DataFrame, task: Task) -> DataFrame:
    """One row per station and origin whose target is known: the key, `part` (train, validation, test), `day` and `hour`
    of the target, `label` (1.0 at the event), every feature of the rich set, and `target_count`.

    A training row's `rate` leaves out its own day, which would tell the answer.
    """
    count, other = task.target.level, task.target.other
    lags = lag_names(task.target)
    seconds = F.col("at_after") if task.horizon == NEXT_POLL else F.col("at") + task.horizon * 60
    local = F.from_utc_timestamp(F.timestamp_seconds(seconds), task.timezone)
    clock = F.hour(local) + F.minute(local) / 60
    known = " AND ".join(f"{name} IS NOT NULL" for name in (*lags, after(count, task.horizon)))
    named = (
        rows.where(known)
        .withColumns({"day": F.to_date(local), "hour": F.hour(local)})
        .withColumn(
            "part",
            F.when(_before(task.split.validate_from, task.split.validate_hour), PARTS[0])
            .when(_before(task.split.test_from, task.split.test_hour), PARTS[1])
            .otherwise(PARTS[2]),
        )
    )
    rated = with_rate(named, rates, task)
    return rated.select(
        *KEY, "part", "day", "hour",
        F.when(F.col(after(count, task.horizon)) == 0, 1.0).otherwise(0.0).alias(LABEL),
        F.col(after(count, task.horizon)).cast("double").alias("target_count"),
        *(F.col(name).cast("double").alias(name) for name in lags),
        *(F.col(age).cast("double").alias(age) for age in AGES if age in rows.columns),
        F.coalesce(F.col(other), F.lit(-1)).cast("double").alias(other),
        F.coalesce(F.col("capacity"), F.lit(-1)).cast("double").alias("capacity"),
        (F.col(lags[0]) - F.col(lags[-1])).cast("double").alias("trend"),
        "neighbour_fill",
        *_cyclic("hour", clock, 24),
        *_cyclic("weekday", F.weekday(local).cast("double"), 7),
        "rate",
    )  # fmt: skip


def with_rate(rows: DataFrame, rates: DataFrame, task: Task) -> DataFrame:
    """The rows with `rate`: the share of training time that the station had the event in that hour, drawn towards the
    network's share in that hour where the station was seen little."""
    seen, events = f"{task.target}_rows", f"{task.target}_events"
    sums = {"n": F.sum(seen), "e": F.sum(events)}
    network = rates.groupBy("hour").agg(*(value.alias(f"network_{name}") for name, value in sums.items()))
    own = rates.groupBy("station", "hour").agg(*(value.alias(name) for name, value in sums.items()))
    of_day = rates.select("station", "hour", "day", F.col(seen).alias("day_n"), F.col(events).alias("day_e"))
    joined = (
        rows.join(F.broadcast(network), "hour", "left")
        .join(F.broadcast(own), ["station", "hour"], "left")
        .join(of_day, ["station", "hour", "day"], "left")  # grows with the days: too much for one process
        .fillna(0, ["network_n", "network_e", "n", "e", "day_n", "day_e"])
    )
    prior = "coalesce(network_e / nullif(network_n, 0), 0D)"
    rate = f"(e - day_e + {prior} * {task.prior_rows}D) / (n - day_n + {task.prior_rows}D)"
    return joined.withColumn("rate", F.expr(rate)).drop("network_n", "network_e", "n", "e", "day_n", "day_e")


def rate_table(rates: DataFrame, task: Task) -> Mapping[tuple[int, int], float]:
    """(station, hour) → `rate` as rows of later days have it; station −1 stands for the network."""
    seen, events = f"{task.target}_rows", f"{task.target}_events"
    rows = rates.groupBy("station", "hour").agg(F.sum(seen).alias("n"), F.sum(events).alias("e")).collect()
    total: dict[int, list[float]] = {}
    for row in rows:
        sums = total.setdefault(row["hour"], [0.0, 0.0])
        sums[0] += row["n"]
        sums[1] += row["e"]
    prior = {hour: (e / n if n else 0.0) for hour, (n, e) in total.items()}
    m = task.prior_rows
    found = {(row["station"], row["hour"]): (row["e"] + prior[row["hour"]] * m) / (row["n"] + m) for row in rows}
    return found | {(-1, hour): share for hour, share in prior.items()}


def _before(day: date, hour: int) -> Column:
    """Whether the local `day` and `hour` of a row lie before an hour of a day."""
    return (F.col("day") < F.lit(day)) | ((F.col("day") == F.lit(day)) & (F.col("hour") < hour))


def _cyclic(name: str, value: Column, period: int) -> tuple[Column, Column]:
    turn = value * (2 * 3.141592653589793 / period)
    return F.sin(turn).alias(f"{name}_sin"), F.cos(turn).alias(f"{name}_cos")

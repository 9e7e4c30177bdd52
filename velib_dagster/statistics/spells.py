"""The prepared spells: each with its local day and hour, its service, and what it shares with its neighbours in time.

Every table is made from these. A spell's neighbours are the one before and the one after of its station; they touch
where one's `until` is the other's `since`.
"""

from typing import Final

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation

from velib_dagster.statistics.days import WAKING_FROM, WAKING_UNTIL, Days
from velib_dagster.statistics.session import check_session

PREPARED: Final = (
    "station_code", "day", "hour_start", "hour", "weekend", "waking", "name", "zone", "cell", "lat", "lon", "capacity",
    "since", "until", "seconds", "bikes", "mechanical", "ebike", "docks", "in_service", "docks_known", "empty", "full",
    "rentals", "returns", "changed", "newest", "run_starts", "run_ends",
    "bike_before", "dock_before", "bike_after", "dock_after",
)  # fmt: skip
"""Columns of a prepared spell.

`in_service`, `docks_known` (in service, and free docks known), `empty`, `full`: as in docs/statistics.md.
`rentals`, `returns`: bikes gone and come since the touching spell before; 0 without one.
`changed`: whether anything a rider feels, or the capacity, differs from the touching spell before.
`newest`: the station's last spell of the day.
`run_starts`, `run_ends`: no touching neighbour of the same day, zone and cell has the same service, emptiness and
fullness on that side; runs between them are what outages are counted on.
`bike_before`, `dock_before`: the touching spell before is in service and has a bike (a free dock); `bike_after`,
`dock_after`: the same of the touching spell after, within the day.
"""

_STATE: Final = ("bikes", "mechanical", "ebike", "docks", "capacity", "is_installed", "is_renting", "is_returning")
_RUN: Final = ("day", "zone", "cell", "in_service", "docks_known", "empty", "full")
_BEFORE: Final = tuple(dict.fromkeys(("until", *_STATE, *_RUN)))
_AFTER: Final = ("since", *_RUN)
"""What is looked up of each neighbour: a column each, of which Spark drops those that a table does not need."""
_FALL: Final = "greatest(before_{value} - {value}, 0L)"
_RISE: Final = "greatest({value} - before_{value}, 0L)"


def prepared(spells: DataFrame, days: Days) -> DataFrame:
    """One row per spell of the days, with the columns `PREPARED`.

    Spells before the first day serve as neighbours only: a day needs the spells of the day before that reach its
    start, and gives the same alone as among other days.

    Raises:
        StatisticsError: the session's time zone is not UTC, where local hours could not be told.
    """
    check_session(spells)
    local = spells.withColumn("local", F.from_utc_timestamp("since", days.timezone)).withColumns(
        {
            "day": F.to_date("local"),
            "hour": F.hour("local").cast("long"),
            "in_service": F.expr("is_installed AND is_renting AND is_returning"),
        }
    )
    facts = local.withColumns(
        {
            "hour_start": F.expr("timestamp_seconds(unix_seconds(since) - unix_seconds(local) % 3600)"),
            "weekend": F.expr("weekday(local) >= 5"),
            "waking": F.expr(f"hour >= {WAKING_FROM} AND hour < {WAKING_UNTIL}"),
            "docks_known": F.expr("in_service AND docks IS NOT NULL"),
            "empty": F.expr("in_service AND bikes = 0"),
            "full": F.expr("in_service AND docks <=> 0"),
        }
    )
    in_time = Window.partitionBy("station_code").orderBy("since")
    return (
        facts.withColumns(
            {f"before_{value}": F.lag(value).over(in_time) for value in _BEFORE}
            | {f"after_{value}": F.lead(value).over(in_time) for value in _AFTER}
        )
        .where(F.col("day").between(F.lit(days.first), F.lit(days.last)))
        .withColumns(
            {
                "touches_before": F.expr("before_until <=> since"),
                "touches_after": F.expr("after_since <=> until AND after_day = day"),
                "split_known": F.expr("mechanical + ebike + before_mechanical + before_ebike IS NOT NULL"),
            }
        )
        .withColumns(
            {
                "rentals": F.expr(_moved(_FALL)),
                "returns": F.expr(_moved(_RISE)),
                "changed": F.expr(f"touches_before AND NOT ({_same('before', _STATE)})"),
                "newest": F.expr("after_day IS NULL OR after_day <> day"),
                "run_starts": F.expr(f"NOT (touches_before AND {_same('before', _RUN)})"),
                "run_ends": F.expr(f"NOT (touches_after AND {_same('after', _RUN)})"),
                **{
                    f"{what}_{side}": F.expr(
                        f"touches_{side} AND coalesce({side}_{known} AND NOT {side}_{none}, false)"
                    )
                    for side in ("before", "after")
                    for what, known, none in (("bike", "in_service", "empty"), ("dock", "docks_known", "full"))
                },
            }
        )
        .select(*PREPARED)
    )


def newest(spells: DataFrame) -> DataFrame:
    """One row per station and day: name, zone, cell, place and capacity of its last spell, from prepared spells."""
    return spells.where("newest").select("station_code", "day", "name", "zone", "cell", "lat", "lon", "capacity")


def _moved(change: str) -> str:
    """Bikes that came or went since the touching spell before, by kind where both spells know it."""
    by_kind = " + ".join(change.format(value=value) for value in ("mechanical", "ebike"))
    all_bikes = change.format(value="bikes")
    return f"CASE WHEN NOT touches_before THEN 0L WHEN split_known THEN {by_kind} ELSE {all_bikes} END"


def _same(side: str, values: tuple[str, ...]) -> str:
    return " AND ".join(f"{side}_{value} <=> {value}" for value in values)

"""What the tables of the long-term statistics hold: rows that add up over any range of days.

The one definition behind the Spark results, the upserts, and every COMMENT. How the rows come about belongs to
`statistics/`, the figures that are read from them to the views of `migrations/`.
"""

from datetime import date, datetime
from typing import Final

from velib_dagster.events.records import Column
from velib_dagster.store.columns import IN_SERVICE, WINDOW_SUMS


def _count(name: str, description: str) -> Column:
    return Column(name, int, False, description)


_DAY: Final = Column("day", date, False, "Day of the feed's time zone")
_STATION: Final = Column("station_code", str, False, "Public code of the station")
_HOUR: Final = (
    Column("hour_start", datetime, False, "Start of the hour; the night that sets clocks back has two of one name"),
    _DAY,
    Column("hour", int, False, "Hour of day in the feed's time zone, 0 to 23"),
    Column("weekend", bool, False, "Saturday or Sunday"),
)
_MOVES: Final = (
    _count("rentals", "Bikes seen to go between two touching spells, operator's moves included: a lower bound"),
    _count("returns", "Bikes seen to come between two touching spells, operator's moves included: a lower bound"),
)
_SUMS: Final = WINDOW_SUMS
_MORE_SUMS: Final = (
    _count("seconds_low_bikes", "Station-seconds in service with at most 2 bikes"),
    _count("seconds_low_docks", "Station-seconds in service with at most 2 free docks"),
    _count("seconds_ebike_only", "Station-seconds in service with e-bikes and no mechanical bike"),
    _count("seconds_mechanical_only", "Station-seconds in service with mechanical bikes and no e-bike"),
    _count("capacity_seconds", f"Sum of seconds × capacity {IN_SERVICE} and the capacity is above 0"),
    _count("bikes_capacity_known_seconds", f"Sum of seconds × bikes {IN_SERVICE} and the capacity is above 0"),
    _count("seconds_balance_known", "Station-seconds in service whose free docks and capacity above 0 are known"),
    _count("unusable_docks_seconds", f"Sum of seconds × docks that hold no bike and are not free {IN_SERVICE}"),
    _count("overflow_seconds", f"Sum of seconds × bikes and free docks beyond the capacity {IN_SERVICE}"),
    *_MOVES,
)
_HOUR_SUMS: Final = (
    *(
        column
        for column in WINDOW_SUMS
        if column.name.endswith("seconds") or column.name.startswith("seconds")
        if column.name not in {"seconds_occupancy_known", "occupancy_seconds"}
    ),
    *_MOVES,
)

STATION_DAYS: Final = (
    _STATION,
    _DAY,
    Column("name", str, False, "Name of the station, the newest of the day"),
    Column("zone", str, False, "Arrondissement in Paris, commune elsewhere; the newest of the day"),
    Column("cell", str, False, "H3 cell of resolution 8, the newest of the day"),
    Column("lat", float, False, "Latitude, degrees WGS84, the newest of the day"),
    Column("lon", float, False, "Longitude, degrees WGS84, the newest of the day"),
    Column("capacity", int, True, "Docks that the operator declares, the newest of the day"),
    *_SUMS,
    *_MORE_SUMS,
    _count("changes", "Times that bikes, docks, capacity or service were seen to change"),
    _count("waking_seconds", "Seconds in service between 6 and 22 h"),
    _count("waking_changes", "Changes between 6 and 22 h"),
)
"""Table `station_days`: one row per station and day."""

STATION_HOURS: Final = (_STATION, *_HOUR, *_HOUR_SUMS)
"""Table `station_hours`: one row per station and hour."""


def _area_days(key: Column, of: str) -> tuple[Column, ...]:
    return (
        key,
        _DAY,
        _count("stations", f"Stations of the {of} with at least one known second"),
        *_SUMS,
        *_MORE_SUMS,
        _count("seconds_covered", f"Seconds in which at least one station of the {of} is known"),
        _count("seconds_served", f"Seconds in which at least one station of the {of} is in service"),
        _count("seconds_no_bike", f"Seconds in which a station of the {of} is in service and none of those has a bike"),
        _count("seconds_no_dock", f"The same with free docks, over stations of the {of} whose docks are known"),
    )


ZONE_DAYS: Final = _area_days(Column("zone", str, False, "Arrondissement in Paris, commune elsewhere"), "zone")
"""Table `zone_days`: one row per zone and day."""

CELL_DAYS: Final = _area_days(Column("cell", str, False, "H3 cell of resolution 8, about 0.74 km²"), "cell")
"""Table `cell_days`: one row per H3 cell and day."""

ZONE_HOURS: Final = (ZONE_DAYS[0], *_HOUR, ZONE_DAYS[2], *_HOUR_SUMS)
"""Table `zone_hours`: one row per zone and hour."""

EPISODES: Final = (
    Column(
        "kind",
        str,
        False,
        "empty or full: the station, in service; cluster_empty or cluster_full: it and every station within 300 m,"
        " for over 10 minutes between 6 and 22 h",
    ),
    _STATION,
    _DAY,
    Column("since", datetime, False, "Start, inclusive"),
    Column(
        "until", datetime, False, "End, exclusive; cut at midnight, where the view episodes_joined joins the pieces"
    ),
    _count("seconds", "Length in seconds"),
    Column("open_start", bool, False, "Its start was not seen: nothing is known just before, or it is cut there"),
    Column("open_end", bool, False, "Its end was not seen: nothing is known just after, or it is cut there"),
    Column("zone", str, False, "Zone of the station"),
)
"""Table `episodes`: one row per episode and day."""

COMPUTED_DAYS: Final = (
    Column("asset", str, False, "station_stats, zone_stats, empty_stations or full_stations"),
    _DAY,
    _count("day_seconds", "Length of the day: 86,400 or, when clocks change, 82,800 or 90,000"),
    _count("network_seconds", "Longest known time of any station on that day"),
    _count("spells", "Spells that were counted"),
    _count("archived_bytes", "Committed length of the day's file at that time: a longer one means late rows"),
    Column("computed_at", datetime, False, "When the rows of the day were written"),
)
"""Table `computed_days`: one row per asset and day, how far the statistics are."""

DAYS_IN_DOUBT: Final = (
    _DAY,
    Column("since", datetime, False, "When its numbers were first in doubt"),
    Column("tried_at", datetime, False, "The newest try; the next is due an hour later, then two, four, … a day"),
    _count("tries", "Failed tries with this length and program"),
    _count("archived_bytes", "Committed length of the day's file at the newest try: a longer one is tried at once"),
    Column("program", str, False, "What computed it: version, and a hash of the code; another one tries at once"),
    Column("reason", str, False, "What was found wrong"),
)
"""Table `days_in_doubt`: one row per day whose statistics could not be proved; its older rows stay as they were."""

"""What is read from the long-term statistics: tables, views, functions over days, and the meaning of each column.

The tables' columns are those of `day_columns.py`; the views' are defined here and, with their formulas, in
`docs/statistics.md`. Every COMMENT comes from here; the statements themselves stand in `migrations/`.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

from velib_dagster.events.records import Column
from velib_dagster.store.columns import IN_SERVICE, MEANS, WINDOW_SUMS, Relation
from velib_dagster.store.day_columns import (
    CELL_DAYS,
    COMPUTED_DAYS,
    DAYS_IN_DOUBT,
    EPISODES,
    STATION_DAYS,
    STATION_HOURS,
    ZONE_DAYS,
    ZONE_HOURS,
)

_OF_SPLIT: Final = "of the time in service whose split is known"
_OF_DOCKS: Final = "of the time in service whose free docks are known"
_ONLY_IF_COMPUTED: Final = "NULL unless every day of the range has its episodes"


def _int(name: str, description: str) -> Column:
    return Column(name, int, False, description)


def _float(name: str, description: str) -> Column:
    return Column(name, float, True, description)


def _text(name: str, description: str) -> Column:
    return Column(name, str, False, description)


def _extremes(value: str) -> tuple[Column, ...]:
    return tuple(c for c in WINDOW_SUMS if c.name in {f"{value}_min", f"{value}_max"})


_MEAN: Final = {column.name: column for column in MEANS}
_SECONDS: Final = WINDOW_SUMS[0]
_IN_SERVICE: Final = WINDOW_SUMS[1]
_EMPTY: Final = WINDOW_SUMS[2]
_FULL: Final = WINDOW_SUMS[3]
_STATION: Final = _text("station_code", "Public code of the station")
_NAME: Final = _text("name", "Name of the station, the newest of the range")
_STATION_ZONE: Final = _text("zone", "Zone of the station, the newest of the range")
_ZONE: Final = _text("zone", "Arrondissement in Paris, commune elsewhere, or a zone of the file VELIB_ZONES")
_CELL: Final = _text("cell", "H3 cell of resolution 8, about 0.74 km²")
_DAYS: Final = _int("days", "Days that have a row")
_MOVES: Final = tuple(column for column in STATION_DAYS if column.name in {"rentals", "returns"})
_BALANCE: Final = _int("balance", "Returns − rentals: above 0, more bikes come than go")

_FIGURES: Final = (
    _MEAN["bikes_mean"],
    *_extremes("bikes"),
    _MEAN["mechanical_mean"],
    *_extremes("mechanical"),
    _MEAN["ebike_mean"],
    *_extremes("ebike"),
    _MEAN["docks_mean"],
    *_extremes("docks"),
    _MEAN["occupancy_mean"],
    _IN_SERVICE,
    _int("seconds_out_of_service", "Known station-seconds not in service"),
    _MEAN["empty_share"],
    _MEAN["full_share"],
    _float("low_bikes_share", "Share of the time in service with at most 2 bikes; NULL if never in service"),
    _float("low_docks_share", f"Share {_OF_DOCKS} with at most 2; NULL if none"),
    _float("ebike_only_share", f"Share {_OF_SPLIT} with e-bikes and no mechanical bike; NULL if none"),
    _float("mechanical_only_share", f"Share {_OF_SPLIT} with mechanical bikes and no e-bike; NULL if none"),
    _float(
        "unusable_docks_mean", f"Mean docks a station that hold no bike and are not free {IN_SERVICE}; NULL if none"
    ),
    _float("overflow_mean", f"Mean bikes and free docks a station beyond the capacity {IN_SERVICE}; NULL if none"),
    *_MOVES,
)


def _episodes(kind: str) -> tuple[Column, ...]:
    end = "open ends count as seen, a lower bound; NULL without one"
    return (
        _float(f"{kind}_episode_median_seconds", f"Median length of the {kind} episodes; {end}"),
        _float(f"{kind}_episode_p90_seconds", f"Length that 9 of 10 {kind} episodes do not exceed; {end}"),
        Column(f"{kind}_episode_longest_seconds", int, True, f"Longest {kind} episode; {end}"),
    )


def _count_of_episodes(kind: str) -> Column:
    return Column(
        f"{kind}_episodes", int, True, f"{kind.capitalize()} episodes, joined over midnight; {_ONLY_IF_COMPUTED}"
    )


def _peak(kind: str, when: str) -> Column:
    hours = "7 to 10 h" if when == "morning" else "16 to 20 h"
    of = "time in service" if kind == "empty" else "time in service whose free docks are known"
    return _float(f"{kind}_share_{when}", f"Share of the {of} that is {kind}, Monday to Friday {hours}; NULL if none")


_PEAKS: Final = tuple(_peak(kind, when) for when in ("morning", "evening") for kind in ("empty", "full"))

STATION_STATS: Final = (
    _STATION,
    _NAME,
    _STATION_ZONE,
    *_FIGURES,
    Column("capacity", int, True, "Docks that the operator declares, the newest of the range"),
    _text("cell", "H3 cell of resolution 8, the newest of the range"),
    _float("lat", "Latitude, degrees WGS84, the newest of the range"),
    _float("lon", "Longitude, degrees WGS84, the newest of the range"),
    _DAYS,
    _int("frozen_days", "Days with 8 h or more in service between 6 and 22 h and not one change in them"),
    _SECONDS,
    _int("silent_seconds", "Sum over its days of the best known station's known seconds − its own"),
    _float("coverage", "Known seconds / length of the range between the first and the last computed day"),
    *(_count_of_episodes(kind) for kind in ("empty", "full")),
    *_episodes("empty"),
    *_episodes("full"),
    _BALANCE,
    _EMPTY,
    _FULL,
)
"""Columns of `station_stats`: one row per station that has a known second in the range."""

STATION_PEAKS: Final = (_STATION, *_PEAKS)


def _outages(kind: str) -> tuple[Column, ...]:
    what = f"outages: a station and all others within 300 m {kind} for over 10 minutes between 6 and 22 h"
    return (
        Column(f"{kind}_outages", int, True, f"Cluster {what}, one per station; {_ONLY_IF_COMPUTED}"),
        _float(f"{kind}_outage_hours", f"Hours of those {kind} cluster outages, summed over stations"),
    )


_RATIOS: Final = (
    _float("ebike_share", f"Share of e-bikes among the bikes {IN_SERVICE} whose split is known; NULL if none"),
    _float("bikes_per_dock", f"Bikes / capacity {IN_SERVICE}, capacity above 0, summed before dividing; NULL if none"),
    _float("bikes_per_dock_rule", "bikes_per_dock / (1 / 2.25): 1 is one bike for 2.25 docks; NULL if none"),
)


def _area_stats(key: Column, *, peaks: bool) -> tuple[Column, ...]:
    of = key.name
    return (
        key,
        _int("stations", "Most stations with a known second on one day"),
        *_FIGURES,
        _BALANCE,
        _float(f"{of}_bikes_mean", f"Mean bikes in the whole {of} at once, over the seconds covered; NULL if none"),
        _float(
            f"{of}_docks_mean", f"Mean free docks in the whole {of} at once, over the seconds covered; NULL if none"
        ),
        _float("no_bike_share", f"Share of the seconds served in which no station of the {of} in service has a bike"),
        _float("no_dock_share", f"Share of the seconds served in which no station of the {of} has a free dock"),
        *_RATIOS,
        *_outages("empty"),
        *_outages("full"),
        *(_PEAKS if peaks else ()),
        _DAYS,
        _SECONDS,
        *(column for column in ZONE_DAYS if column.name in {"seconds_covered", "seconds_served"}),
        _float("coverage", "Seconds covered / length of the range between the first and the last computed day"),
        _EMPTY,
        _FULL,
    )


ZONE_STATS: Final = _area_stats(_ZONE, peaks=True)
CELL_STATS: Final = _area_stats(_CELL, peaks=False)

NETWORK_STATS: Final = (
    _int("zones", "Zones with a row"),
    _int("stations", "Most stations with a known second on one day; one that moved between zones counts in both"),
    *_FIGURES,
    _BALANCE,
    _float("network_bikes_mean", "Mean bikes in the whole network at once, over the network's known time"),
    _float("network_docks_mean", "Mean free docks in the whole network at once, over the network's known time"),
    *_RATIOS,
    *_outages("empty"),
    *_outages("full"),
    _float("bikes_per_dock_gini", "Gini coefficient over zones of bikes_per_dock: 0 is equal, near 1 all in one zone"),
    _float("empty_share_gini", "Gini coefficient over zones of empty_share: 0 is equal, near 1 all in one zone"),
    _int("days", "Days computed"),
    _SECONDS,
    _int("network_seconds", "Sum over the days of the longest known time of any station"),
    _float("coverage", "Network seconds / length of the range between the first and the last computed day"),
    _EMPTY,
    _FULL,
)


def _often(kind: str) -> tuple[Column, ...]:
    of = "in service" if kind == "empty" else "in service, docks known,"
    return (
        _STATION,
        _NAME,
        _STATION_ZONE,
        _EMPTY if kind == "empty" else _FULL,
        _MEAN[f"{kind}_share"],
        _IN_SERVICE,
        Column("episodes", int, True, _count_of_episodes(kind).description),
        *(
            Column(column.name.removeprefix(f"{kind}_"), column.type, True, column.description)
            for column in _episodes(kind)
        ),
        Column("by_hour", list, True, f"24 shares: of the time {of} in the hours 0 to 23, how much is {kind}"),
        *(_peak(kind, when) for when in ("morning", "evening")),
        next(column for column in STATION_STATS if column.name == "frozen_days"),
        next(column for column in STATION_STATS if column.name == "coverage"),
    )


EMPTY_STATIONS: Final = _often("empty")
FULL_STATIONS: Final = _often("full")

_PROFILE: Final = (
    _int("hour", "Hour of day in the feed's time zone, 0 to 23"),
    Column("weekend", bool, False, "Saturday or Sunday"),
    _DAYS,
    *(_MEAN[f"{value}_mean"] for value in ("bikes", "mechanical", "ebike", "docks")),
    _MEAN["empty_share"],
    _MEAN["full_share"],
    *_MOVES,
    _SECONDS,
    _IN_SERVICE,
)

EPISODES_JOINED: Final = (
    EPISODES[0],
    _STATION,
    EPISODES[3],
    Column("until", EPISODES[4].type, False, "End, exclusive"),
    EPISODES[5],
    Column("open_start", bool, False, "Its start was not seen, or lies before the range: it was longer"),
    Column("open_end", bool, False, "Its end was not seen, or lies after the range: it was longer"),
    _text("zone", "Zone of the station when it began"),
    Column("first_day", date, False, "Day of its start in the feed's time zone"),
    Column("last_day", date, False, "Day of its last piece in the feed's time zone"),
)


def _over_days(name: str, description: str, columns: tuple[Column, ...]) -> Relation:
    return Relation(name, description, columns, view=True, over_days=True)


STATISTICS: Final = (
    Relation("station_days", "Sums of each station and day", STATION_DAYS),
    Relation("station_hours", "Sums of each station and hour", STATION_HOURS),
    Relation("zone_days", "Sums of each zone and day", ZONE_DAYS),
    Relation("zone_hours", "Sums of each zone and hour", ZONE_HOURS),
    Relation("cell_days", "Sums of each H3 cell and day", CELL_DAYS),
    Relation("episodes", "Times a station, or all within 300 m of it, was empty or full, cut at midnight", EPISODES),
    Relation("computed_days", "How far the statistics are: one row per asset and day", COMPUTED_DAYS),
    Relation("days_in_doubt", "Days whose statistics could not be proved, and when that was tried", DAYS_IN_DOUBT),
    _over_days("episodes_joined", "Episodes with the pieces that midnight cut joined", EPISODES_JOINED),
    _over_days("station_stats", "Each station: means, extremes, shares, episodes and coverage", STATION_STATS),
    _over_days("station_peaks", "Each station: empty and full shares of the weekday peaks", STATION_PEAKS),
    _over_days("zone_stats", "Each zone: means, shares, outages, balance and coverage", ZONE_STATS),
    _over_days("cell_stats", "Each H3 cell: means, shares, outages, balance and coverage", CELL_STATS),
    _over_days("network_stats", "The whole network, one row, and how unequal its zones are", NETWORK_STATS),
    _over_days("empty_stations", "Stations that are at times empty, the longest empty first", EMPTY_STATIONS),
    _over_days("full_stations", "Stations that are at times full, the longest full first", FULL_STATIONS),
    _over_days("station_profile", "Each station by hour of day, weekdays and weekends", (_STATION, *_PROFILE)),
    _over_days("zone_profile", "Each zone by hour of day, weekdays and weekends", (_ZONE, *_PROFILE)),
    _over_days("network_hours", "The whole network by hour of day, weekdays and weekends", _PROFILE),
)
"""Tables and views of the statistics, in the order of the documentation."""


@dataclass(frozen=True)
class Function:
    """A function of the schema without a view of its name."""

    name: str
    arguments: tuple[str, ...]
    description: str


FUNCTIONS: Final = (
    Function(
        "open_episodes_joined",
        ("date", "date"),
        "The part of episodes_joined that had an open piece, which is all that can be joined",
    ),
    Function(
        "percentile_of",
        ("_int4", "_int4", "float8"),
        "percentile_cont over the numbers of two arrays, each in ascending order; NULL if both are empty",
    ),
    Function(
        "computed_span",
        ("text", "date", "date"),
        "Of an asset and a range of days: its length between the first and the last computed day, the days computed,"
        " the network's known seconds, and whether every one of them has its empty and its full episodes",
    ),
)

"""What each table, view and column of the database means: the one definition behind every COMMENT.

Fields of records are taken from `events.records`; columns of windows are defined here and used by the
streaming query, the upserts and the comments alike. No statement is run here.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from velib_dagster.events.records import Column, PollRecord, StationState, columns

IN_SERVICE: Final = "while in service (installed, renting and returning)"


def _sum(name: str, description: str) -> Column:
    return Column(name, int, False, description)


def _extreme(name: str, description: str) -> Column:
    return Column(name, int, True, f"{description} {IN_SERVICE}; NULL if never in service or never known")


_STATION: Final = Column("station_code", str, False, "Public code of the station")
_PLACE: Final = (
    Column("name", str, False, "Name of the station"),
    Column("zone", str, False, "Zone of the station: arrondissement in Paris, commune elsewhere"),
    Column("cell", str, False, "H3 cell of the station, resolution 8, about 0.74 km²"),
)
_SPAN: Final = (
    Column("window_start", datetime, False, "Start of the window, inclusive"),
    Column("window_end", datetime, False, "End of the window, exclusive"),
)

WINDOW_SUMS: Final = (
    _sum("seconds", "Station-seconds whose state is known"),
    _sum("seconds_in_service", "Known station-seconds in service (installed, renting and returning)"),
    _sum("seconds_empty", "Station-seconds in service with no bike"),
    _sum("seconds_full", "Station-seconds in service with no free dock"),
    _sum("seconds_docks_known", "Station-seconds in service whose free docks are known"),
    _sum("seconds_split_known", "Station-seconds in service whose mechanical and e-bikes are both known"),
    _sum("seconds_occupancy_known", "Station-seconds in service whose capacity is known and not 0"),
    _sum("bikes_seconds", f"Sum of seconds × bikes {IN_SERVICE}"),
    _sum("mechanical_seconds", f"Sum of seconds × mechanical bikes {IN_SERVICE} and the split is known"),
    _sum("ebike_seconds", f"Sum of seconds × e-bikes {IN_SERVICE} and the split is known"),
    _sum("docks_seconds", f"Sum of seconds × free docks {IN_SERVICE} and the docks are known"),
    Column(
        "occupancy_seconds", float, False, f"Sum of seconds × bikes / capacity {IN_SERVICE} and the capacity is above 0"
    ),
    _extreme("bikes_min", "Fewest bikes"),
    _extreme("bikes_max", "Most bikes"),
    _extreme("mechanical_min", "Fewest mechanical bikes"),
    _extreme("mechanical_max", "Most mechanical bikes"),
    _extreme("ebike_min", "Fewest e-bikes"),
    _extreme("ebike_max", "Most e-bikes"),
    _extreme("docks_min", "Fewest free docks"),
    _extreme("docks_max", "Most free docks"),
)

WINDOW_KEY: Final = (_STATION, *_SPAN, *_PLACE)
WINDOW_COLUMNS: Final = (
    *WINDOW_KEY,
    *WINDOW_SUMS,
    Column("newest_since", datetime, False, "Start of the newest spell counted: says which name and place is newest"),
)
"""Columns of the table `windows`: those of the streaming query's result, in order."""

STATE_COLUMNS: Final = (
    *columns(StationState),
    Column("poll", str, True, "Snapshot of the poll that told this; NULL in rows of earlier versions"),
)
"""Columns of the table `station_states`: those of the record, and which poll it is of."""

PROGRESS_COLUMNS: Final = (
    Column("query", str, False, "Query of the streaming job: windows, states or polls"),
    Column("batch_id", int, False, "Number of the newest finished batch"),
    Column("input_rows", int, False, "Records that the batch read"),
    Column("rows_per_second", float, False, "Records a second in that batch"),
    Column("position", dict, False, "Kafka offsets read so far (next offset), by topic and partition"),
    Column("watermark", datetime, True, "Spells that began before it are too late to be counted; NULL without one"),
    Column("batch_seconds", float, False, "Duration of the batch, seconds"),
    Column("updated_at", datetime, False, "When this row was written; seconds ago while the query lives"),
)

ABSENCE_COLUMNS: Final = (
    _STATION,
    Column("since", datetime, False, "First usable poll that lacked the station"),
    Column("until", datetime, True, "The poll that had it again; NULL while it is absent"),
)

VERSION_COLUMNS: Final = (
    Column("version", int, False, "Number of the migration"),
    Column("name", str, False, "File of the migration"),
    Column("applied_at", datetime, False, "When it was applied"),
)

HOME_COLUMNS: Final = (
    Column("id", str, False, "Id of the home, as in its home.json"),
    Column("folder", str, False, "Where the home lies, on its own machine"),
    Column("since", datetime, False, "Since when it writes here"),
)


def _mean(name: str, of: str) -> Column:
    return Column(name, float, True, f"Mean {of} over the time in service where it is known; NULL if there is none")


COMPLETE: Final = Column(
    "complete", bool, False, "A usable poll at or after the end was processed: before that the means are biased"
)

MEANS: Final = (
    _mean("bikes_mean", "number of bikes a station"),
    _mean("mechanical_mean", "number of mechanical bikes a station"),
    _mean("ebike_mean", "number of e-bikes a station"),
    _mean("docks_mean", "number of free docks a station"),
    _mean("occupancy_mean", "bikes / capacity"),
    Column("empty_share", float, True, "Share of the time in service with no bike, 0 to 1; NULL if never in service"),
    Column("full_share", float, True, "Share of the time in service, docks known, with no free dock; NULL if none"),
)

_EXTREMES: Final = tuple(column for column in WINDOW_SUMS if column.name.endswith(("_min", "_max")))
_STATIONS: Final = Column("stations", int, False, "Stations with at least one known second")
_WINDOWS: Final = Column("windows", int, False, "10-minute windows of the hour that have a row, 1 to 6")
_ZONE: Final = (Column("zone", str, False, "Arrondissement in Paris, commune elsewhere"),)
_CELL: Final = (Column("cell", str, False, "H3 cell of resolution 8, about 0.74 km²"),)
_FIGURES: Final = (COMPLETE, *WINDOW_SUMS[:2], *MEANS, *_EXTREMES)


@dataclass(frozen=True)
class Relation:
    """A table or view, its meaning and its columns in order."""

    name: str
    description: str
    columns: tuple[Column, ...]
    view: bool = False
    over_days: bool = False
    """A function of the same name and columns gives it for a range of days."""


def _means_of(prefix: str, key: tuple[Column, ...], of: str, stations: bool) -> tuple[Relation, Relation]:
    return (
        Relation(
            f"{prefix}_windows",
            f"Means of each {of} over 10-minute windows, weighted by seconds in service",
            (*key, *_SPAN, *_FIGURES, *((_STATIONS,) if stations else ())),
            view=True,
        ),
        Relation(
            f"{prefix}_hours_sliding",
            f"Means of each {of} over the hour that slides by 10 minutes: exact sums of six windows",
            (*key, *_SPAN, *_FIGURES, *((_STATIONS,) if stations else ()), _WINDOWS),
            view=True,
        ),
    )


RELATIONS: Final = (
    Relation("schema_version", "Migrations applied to this database, one row each", VERSION_COLUMNS),
    Relation("home", "The home that writes this database; others are refused. One row", HOME_COLUMNS),
    Relation("station_states", "Recent states of the stations: one row per change", STATE_COLUMNS),
    Relation("absences", "When usable polls lacked a station, one row each time; until it left", ABSENCE_COLUMNS),
    Relation("station_now", "The newest state of each station of the network", columns(StationState), view=True),
    Relation(
        "windows",
        "Sums of each station over 10-minute windows, a row for each name and place it had; the views give means",
        WINDOW_COLUMNS,
    ),
    *_means_of("station", (_STATION, *_PLACE), "station", stations=False),
    *_means_of("zone", _ZONE, "zone", stations=True),
    *_means_of("cell", _CELL, "H3 cell", stations=True),
    Relation("polls", "One row for each try to poll the feed, answered or not", columns(PollRecord)),
    Relation(
        "frozen_spans",
        "Freezes of the feed: usable polls in a row in which no station changed, where at least 10 changes were due",
        (
            Column("since", datetime, False, "First poll of the freeze (UTC)"),
            Column("until", datetime, False, "Last poll of the freeze so far (UTC)"),
        ),
    ),
    Relation(
        "frozen_days",
        "How long the feed was frozen on each day on which it was",
        (
            Column("day", date, False, "Day of the feed's time zone"),
            Column("frozen_seconds", int, False, "Seconds of the day within freezes"),
        ),
        view=True,
    ),
    Relation("stream_progress", "Where each query of the streaming job is; one row a query", PROGRESS_COLUMNS),
)
"""Tables and views of the schema and of the streaming job; those of the statistics are in `statistics_columns`."""

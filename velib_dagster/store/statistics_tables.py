"""The long-term statistics for people: tables for the terminal, CSV files, and words where there are none.

The command `velib stats` calls it. What is read stands in `statistics_reads.py`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
import psycopg
from rich.table import Table

from velib_dagster.files import write_atomically
from velib_dagster.settings import CREDIT, Settings, VelibError
from velib_dagster.store.connect import connect
from velib_dagster.store.statistics_reads import (
    ASSET,
    AreaFigures,
    ComputedDay,
    Days,
    StationFigures,
    Subject,
    TroubledStation,
    cell_figures,
    computed_days,
    statement_of,
    station_figures,
    troubled_stations,
    zone_figures,
)
from velib_dagster.store.terminal import plain
from velib_dagster.store.upsert import Connection

USUAL_TOP: Final = 20
"""Rows that the terminal shows unless told otherwise."""

Row = tuple[str, ...]
_STATION_HEAD: Final = (
    "station", "zone", "bikes", "mechanical", "e-bikes", "free docks", "occupancy", "empty", "full", "in − out",
    "frozen days", "coverage",
)  # fmt: skip
_AREA_HEAD: Final = (
    "stations", "bikes a station", "bikes at once", "free docks", "occupancy", "empty", "full", "no bike anywhere",
    "bikes per dock × 2.25", "in − out", "coverage",
)  # fmt: skip
_TROUBLE_HEAD: Final = (
    "station", "zone", "hours", "share", "episodes", "median", "9 of 10", "longest", "7–10 h", "16–20 h", "frozen days",
    "coverage",
)  # fmt: skip


@dataclass(frozen=True)
class Written:
    """A CSV file of statistics."""

    path: Path
    rows: int


def subject_named(text: str) -> Subject:
    """What `velib stats` is asked about.

    Raises:
        VelibError: it is none of the subjects.
    """
    try:
        return Subject(text)
    except ValueError:
        raise VelibError(f"stats {text}: one of {', '.join(Subject)}") from None


def statement(subject: Subject, days: Days | None, top: int | None) -> str:
    """The PostgreSQL statement that gives all columns, ready to paste."""
    return f"{statement_of(subject, days, top).as_string()};"


def write_csv(settings: Settings, subject: Subject, path: Path, days: Days | None, top: int | None) -> Written:
    """Write all columns of a subject as CSV: UTF-8, header, comma; arrays as JSON, unknown values empty.

    Raises:
        VelibError: no day of the range is computed.
    """
    with connect(settings, readonly=True) as connection:
        _computed(connection, settings, subject, days)
        cursor = connection.execute(statement_of(subject, days, top))
        names = [column.name for column in cursor.description or ()]
        rows = [[json.dumps(value) if isinstance(value, list) else value for value in row] for row in cursor.fetchall()]
    # As objects: pandas would turn whole numbers into floats wherever one is unknown.
    frame = pd.DataFrame(rows, columns=names, dtype=object)
    write_atomically(path, frame.to_csv(index=False, lineterminator="\n").encode())
    return Written(path, len(rows))


def table(settings: Settings, subject: Subject, days: Days | None, top: int | None) -> Table:
    """The chief columns of a subject, the worst first.

    Raises:
        VelibError: no day of the range is computed.
    """
    with connect(settings, readonly=True) as connection:
        computed = _computed(connection, settings, subject, days)
        head, rows = _rows(connection, subject, days)
    shown = rows[: top or USUAL_TOP]
    simulated = settings.feed.simulated
    what = {Subject.EMPTY: "stations at times empty", Subject.FULL: "stations at times full"}.get(
        subject, subject.value
    )
    made = Table(
        title=f"{'SIMULATED ' if simulated else ''}{settings.feed.name}: {len(rows)} {what}, {_span(computed)}",
        caption=_caption(len(shown), len(rows), simulated=simulated),
    )
    for number, name in enumerate(head):
        made.add_column(name, justify="left" if number == 0 or name == "zone" else "right")
    for row in shown:
        made.add_row(*(plain(text) for text in row))
    return made


def _computed(connection: Connection, settings: Settings, subject: Subject, days: Days | None) -> list[ComputedDay]:
    asset = ASSET[subject]
    none_yet = (
        f"{settings.feed.name} has no statistics yet: materialise the asset {asset} in Dagster, or send recordings "
        "with velib backfill"
    )
    try:
        known = computed_days(connection, asset)
    except psycopg.errors.UndefinedTable:
        raise VelibError(none_yet) from None
    if not known:
        raise VelibError(none_yet)
    asked = [day for day in known if days is None or days.first <= day.day <= days.last]
    if not asked and days is not None:
        msg = (
            f"no day from {days.first} to {days.last} has statistics: {asset} has {len(known)} from {known[0].day} to "
            f"{known[-1].day}; materialise its days in Dagster"
        )
        raise VelibError(msg)
    return asked


def _rows(connection: Connection, subject: Subject, days: Days | None) -> tuple[tuple[str, ...], list[Row]]:
    match subject:
        case Subject.STATIONS:
            return _STATION_HEAD, [_station(found) for found in station_figures(connection, days)]
        case Subject.ZONES:
            return ("zone", *_AREA_HEAD), [_area(found) for found in zone_figures(connection, days)]
        case Subject.CELLS:
            return ("cell", *_AREA_HEAD), [_area(found) for found in cell_figures(connection, days)]
        case Subject.EMPTY | Subject.FULL:
            return _TROUBLE_HEAD, [_trouble(found) for found in troubled_stations(connection, subject, days)]


def _station(found: StationFigures) -> Row:
    return (
        f"{found.station_code} {found.name}",
        found.zone,
        *(_number(v) for v in (found.bikes_mean, found.mechanical_mean, found.ebike_mean, found.docks_mean)),
        *(_share(v) for v in (found.occupancy_mean, found.empty_share, found.full_share)),
        f"{found.returns - found.rentals:+}",
        str(found.frozen_days),
        _share(found.coverage),
    )


def _area(found: AreaFigures) -> Row:
    return (
        found.key,
        str(found.stations),
        *(_number(v) for v in (found.bikes_mean, found.area_bikes_mean, found.docks_mean)),
        *(_share(v) for v in (found.occupancy_mean, found.empty_share, found.full_share, found.no_bike_share)),
        "–" if found.bikes_per_dock_rule is None else f"{found.bikes_per_dock_rule:.2f}",
        f"{found.balance:+}",
        _share(found.coverage),
    )


def _trouble(found: TroubledStation) -> Row:
    return (
        f"{found.station_code} {found.name}",
        found.zone,
        f"{found.seconds / 3600:.1f}",
        _share(found.share),
        "–" if found.episodes is None else str(found.episodes),
        *(_length(v) for v in (found.episode_median_seconds, found.episode_p90_seconds, found.episode_longest_seconds)),
        *(_share(v) for v in (found.share_morning, found.share_evening)),
        str(found.frozen_days),
        _share(found.coverage),
    )


def _span(computed: list[ComputedDay]) -> str:
    first, last = computed[0].day, computed[-1].day
    if first == last:
        return f"{first}"
    missing = (last - first).days + 1 - len(computed)
    return f"{first} to {last}" + (f" ({missing} days between them not computed)" if missing else "")


def _caption(shown: int, found: int, *, simulated: bool) -> str | None:
    parts = [f"{shown} of {found}: --top N shows more, --csv FILE all columns"] if shown < found else []
    return "\n".join([*parts, *([] if simulated else [CREDIT])]) or None


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _length(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

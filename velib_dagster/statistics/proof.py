"""The tables of days in a row from the archive, and whether two independent ways give the same.

Called by Dagster's assets; writing rows is the store's affair. Spark plans the tables as long for one day as for many,
so that days with few spells are computed together.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession

from velib_dagster.archive.errors import EmptyArchiveError
from velib_dagster.archive.reader import SCHEMA, committed_files
from velib_dagster.statistics import tables, twins
from velib_dagster.statistics.compare import differences
from velib_dagster.statistics.days import SPELLS_AT_ONCE, Days, day_seconds
from velib_dagster.statistics.reading import day_spells_table, spells_frame
from velib_dagster.statistics.recount import COUNTED, recounting
from velib_dagster.statistics.tables import TABLES

Differences = dict[date, dict[str, list[str]]]
"""Day → table → what is wrong, one sentence each; nothing of days that are right."""

_RECOUNT_NAMES: Final = ("Spark", "the recount by DuckDB")
_TWIN_NAMES: Final = ("the DataFrame API", "Spark SQL")


@dataclass(frozen=True)
class ArchivedDay:
    """What the archive has of one day: `spells`, the committed length of its file when it was read, and the longest
    known time of any station, seconds.
    """

    spells: int
    archived_bytes: int
    network_seconds: int


@dataclass(frozen=True)
class Spells:
    """The archive's spells of days in a row, with those of the day before that reach the first one's start."""

    days: Days
    table: pa.Table
    by_day: dict[date, ArchivedDay]

    @property
    def number(self) -> int:
        """The days' own spells."""
        return sum(day.spells for day in self.by_day.values())


def stretches(archive: Path, days: Iterable[date], timezone: str) -> Iterator[Days]:
    """Days, in order, as those in a row that are computed together.

    Raises:
        ArchiveError: the commit file is damaged, or a day file is missing or shorter than committed.
    """
    rows = {file.day: file.rows for file in committed_files(archive)}
    stretch: list[date] = []
    for day in sorted(days):
        together = sum(rows.get(one, 0) for one in (*stretch, day))
        if stretch and (day - stretch[-1] > timedelta(days=1) or together > SPELLS_AT_ONCE):
            yield Days(stretch[0], stretch[-1], timezone)
            stretch = []
        stretch.append(day)
    if stretch:
        yield Days(stretch[0], stretch[-1], timezone)


def read(archive: Path, days: Days) -> Spells:
    """The committed spells of the days; none where nothing of them is archived.

    Raises:
        ArchiveError: a malformed row, or a day file that was changed.
    """
    # Before the rows: what is appended in between makes the day due once more, and nothing is missed.
    lengths = {file.day: file.length for file in committed_files(archive, (days.first, days.last))}
    try:
        table = day_spells_table(archive, days)
    except EmptyArchiveError:
        table = SCHEMA.empty_table()
    by_day = {}
    for day in days:
        own = _between(table, Days.one(day, days.timezone))
        known = own.group_by("station_code").aggregate([("seconds", "sum")])["seconds_sum"]
        by_day[day] = ArchivedDay(own.num_rows, lengths.get(day, 0), int(pc.max(known).as_py() or 0))
    return Spells(days, table, by_day)


def _between(spells: pa.Table, days: Days) -> pa.Table:
    """The days' own spells."""
    start, end = (pa.scalar(at, spells.schema.field("since").type) for at in (days.start, days.end))
    return spells.filter(pc.and_(pc.greater_equal(spells["since"], start), pc.less(spells["since"], end)))


def of_day(table: pa.Table, day: date) -> pa.Table:
    """A table's rows of one day."""
    return table.filter(pc.field("day") == day)


def frame_of(session: SparkSession, spells: Spells) -> DataFrame:
    """The spells in Spark."""
    return spells_frame(session, spells.table)


def compute(frame: DataFrame, days: Days, names: Collection[str]) -> dict[str, pa.Table]:
    """The tables named, by the DataFrame API."""
    with tables.kept_statistics(frame, days) as found:
        return {name: found[name].toArrow() for name in names}


def compute_twins(frame: DataFrame, days: Days, names: Collection[str]) -> dict[str, pa.Table]:
    """The tables named, by Spark SQL."""
    with twins.kept_statistics(frame, days) as found:
        return {name: found[name].toArrow() for name in names}


def computed_twice(
    frame: DataFrame, days: Days, names: Collection[str]
) -> tuple[dict[str, pa.Table], dict[str, pa.Table]]:
    """The tables named by the DataFrame API and by Spark SQL, side by side: Spark plans a query on one core."""
    with ThreadPoolExecutor(1, "statistics by SQL") as beside:
        twin = beside.submit(compute_twins, frame, days, names)
        found = compute(frame, days, names)
        return found, twin.result()


def twin_differences(days: Days, found: dict[str, pa.Table], twin: dict[str, pa.Table]) -> Differences:
    """What Spark SQL gives otherwise: rows, keys, or numbers by more than 1e-9."""
    return _by_day(days, found, twin.__getitem__, lambda _: None, _TWIN_NAMES)


def recount_differences(spells: Spells, found: dict[str, pa.Table]) -> Differences:
    """What a recount by DuckDB from the archive's rows gives otherwise, of the tables and columns that it counts."""
    counted = {name: table for name, table in found.items() if name in COUNTED}
    with recounting(spells.table, spells.days) as recount:
        return _by_day(spells.days, counted, recount.table, COUNTED.__getitem__, _RECOUNT_NAMES)


def seconds_beyond(days: Days, found: dict[str, pa.Table]) -> Differences:
    """Stations with more known seconds than the day is long: 86,400, or 82,800 and 90,000 when clocks change."""
    wrong: Differences = {}
    for row in found["station_days"].to_pylist() if "station_days" in found else ():
        length = day_seconds(row["day"], days.timezone)
        if row["seconds"] > length:
            words = f"station_code {row['station_code']} has {row['seconds']} known seconds of {length}"
            wrong.setdefault(row["day"], {}).setdefault("station_days", []).append(words)
    return wrong


def _by_day(
    days: Days,
    found: dict[str, pa.Table],
    again: Callable[[str], pa.Table],
    columns: Callable[[str], Sequence[str] | None],
    names: tuple[str, str],
) -> Differences:
    wrong: Differences = {}
    for name, table in found.items():
        other = again(name)

        def compared(first: pa.Table, second: pa.Table, name: str = name) -> list[str]:
            return differences(first, second, TABLES[name].key, columns(name), names)

        whole = compared(table, other)
        if whole:
            of_days = {day: compared(of_day(table, day), of_day(other, day)) for day in days}
            for day in days:
                # What differs on no day by itself, as a row of none of them, is a doubt about all.
                if words := of_days[day] if any(of_days.values()) else whole:
                    wrong.setdefault(day, {})[name] = words
    return dict(sorted(wrong.items()))

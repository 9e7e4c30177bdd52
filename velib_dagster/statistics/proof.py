"""The tables of days in a row from the archive, and whether two independent ways give the same.

Called by Dagster's assets; writing rows is the store's affair. Spark plans the tables as long for one day as for many,
so that days with few spells are computed together.
"""

from collections.abc import Collection, Iterable, Iterator
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
from velib_dagster.statistics.days import Days
from velib_dagster.statistics.reading import day_spells_table, spells_frame
from velib_dagster.statistics.recount import COUNTED, recounting
from velib_dagster.statistics.tables import TABLES

Differences = dict[str, list[str]]
"""Table → what differs, one sentence each; empty where the results are equal."""

SPELLS_AT_ONCE: Final = 450_000
"""As many spells are computed together, unless one day has more: a driver with 1 GB holds them."""
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
    files = {file.day: file for file in committed_files(archive, (days.first, days.last))}
    try:
        table = day_spells_table(archive, days)
    except EmptyArchiveError:
        table = SCHEMA.empty_table()
    by_day = {
        day: ArchivedDay(file.rows, file.length, _network_seconds(table, Days.one(day, days.timezone)))
        if (file := files.get(day))
        else ArchivedDay(0, 0, 0)
        for day in days
    }
    return Spells(days, table, by_day)


def _network_seconds(spells: pa.Table, day: Days) -> int:
    start, end = (pa.scalar(at, spells.schema.field("since").type) for at in (day.start, day.end))
    own = spells.filter(pc.and_(pc.greater_equal(spells["since"], start), pc.less(spells["since"], end)))
    known = own.group_by("station_code").aggregate([("seconds", "sum")])
    return int(pc.max(known["seconds_sum"]).as_py() or 0)


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


def twin_differences(found: dict[str, pa.Table], twin: dict[str, pa.Table]) -> Differences:
    """What Spark SQL gives otherwise: rows, keys, or numbers by more than 1e-9."""
    return {name: differences(table, twin[name], TABLES[name].key, names=_TWIN_NAMES) for name, table in found.items()}


def recount_differences(spells: Spells, found: dict[str, pa.Table]) -> Differences:
    """What a recount by DuckDB from the archive's rows gives otherwise, of the tables and columns that it counts."""
    with recounting(spells.table, spells.days) as recount:
        return {
            name: differences(table, recount.table(name), TABLES[name].key, COUNTED[name], _RECOUNT_NAMES)
            for name, table in found.items()
            if name in COUNTED
        }

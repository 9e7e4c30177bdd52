"""One day's tables from the archive, and whether two independent ways give the same.

Called by Dagster's assets and by `velib backfill`; writing rows is the store's affair.
"""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
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

_RECOUNT_NAMES: Final = ("Spark", "the recount by DuckDB")
_TWIN_NAMES: Final = ("the DataFrame API", "Spark SQL")


@dataclass(frozen=True)
class DaySpells:
    """The archive's spells of one day, with those of the day before that reach its start.

    `rows` are the day's own; `archived_bytes` the committed length of its file when it was read.
    """

    days: Days
    table: pa.Table
    rows: int
    archived_bytes: int

    @property
    def day(self) -> date:
        """The day."""
        return self.days.first


def read_day(archive: Path, day: date, timezone: str) -> DaySpells:
    """The committed spells of one day; none where nothing of it is archived.

    Raises:
        ArchiveError: a malformed row, or a day file that was changed.
    """
    days = Days.one(day, timezone)
    # Before the rows: what is appended in between makes the day due once more, and nothing is missed.
    file = next(iter(committed_files(archive, (day, day))), None)
    try:
        table = day_spells_table(archive, days)
    except EmptyArchiveError:
        table = SCHEMA.empty_table()
    return DaySpells(days, table, file.rows if file else 0, file.length if file else 0)


def frame_of(session: SparkSession, spells: DaySpells) -> DataFrame:
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


def recount_differences(spells: DaySpells, found: dict[str, pa.Table]) -> Differences:
    """What a recount by DuckDB from the archive's rows gives otherwise, of the tables and columns that it counts."""
    with recounting(spells.table, spells.days) as recount:
        return {
            name: differences(table, recount.table(name), TABLES[name].key, COUNTED[name], _RECOUNT_NAMES)
            for name, table in found.items()
            if name in COUNTED
        }


def network_seconds(spells: DaySpells) -> int:
    """The longest known time of any station on the day, seconds."""
    own = spells.table.filter(pc.greater_equal(spells.table["since"], _instant(spells)))
    if own.num_rows == 0:
        return 0
    known = own.group_by("station_code").aggregate([("seconds", "sum")])
    return int(pc.max(known["seconds_sum"]).as_py())


def _instant(spells: DaySpells) -> pa.Scalar:
    return pa.scalar(spells.days.start, spells.table.schema.field("since").type)

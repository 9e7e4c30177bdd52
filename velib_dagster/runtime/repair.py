"""The archive and the live windows judged by what may stand there once, and brought back to it.

Polls that Kafka held twice were archived and summed twice by earlier versions. The archive's own rows are judged and
mended by `archive/doubled.py`; windows are then compared with the archive. Called by `velib archive --check` and
`--repair`.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from operator import attrgetter
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from velib_dagster.archive.commit import read_commit
from velib_dagster.archive.doubled import Doubled
from velib_dagster.archive.reader import spells_table
from velib_dagster.archive.rows import utc_text
from velib_dagster.runtime.java import java_home
from velib_dagster.settings import Settings
from velib_dagster.store.connect import connect
from velib_dagster.store.upsert import Connection, upsert_windows

_WINDOW_SECONDS: Final = 600
_EXAMPLES: Final = 3


class OverCounted(msgspec.Struct, frozen=True, order=True):
    """A station's window that counts more seconds than the archive has spells for."""

    window_start: datetime
    station_code: str
    seconds: int
    archived: int


@dataclass(frozen=True)
class Windows:
    """The windows that count too much, of how many were compared."""

    compared: int
    wrong: tuple[OverCounted, ...]


def over_counted_windows(settings: Settings) -> Windows:
    """Windows in PostgreSQL that count more seconds than the archive has, rows that stand there twice taken once.

    Only those that are archived to their end are compared.

    Raises:
        ArchiveError: the archive is damaged.
        StoreError: PostgreSQL can't be read.
    """
    commit = read_commit(settings.archive)
    if commit is None or not commit.files or commit.through is None:
        return Windows(0, ())
    first = datetime.combine(min(commit.files), datetime.min.time(), settings.feed.zone_info)
    with connect(settings) as connection:
        rows = connection.execute(
            "SELECT station_code, window_start, sum(seconds)::bigint FROM windows"
            " WHERE window_start >= %s AND window_end <= %s GROUP BY 1, 2",
            (first, commit.through),
        ).fetchall()
    counted = {(str(code), start): int(str(seconds)) for code, start, seconds in rows if isinstance(start, datetime)}
    if not counted:
        return Windows(0, ())
    archived = _archived_seconds(settings, min(start for _, start in counted))
    wrong = (
        OverCounted(start, code, seconds, archived.get((code, start), 0))
        for (code, start), seconds in counted.items()
        if seconds > archived.get((code, start), 0)
    )
    return Windows(len(counted), tuple(sorted(wrong)))


def in_words(rows: Sequence[Doubled], windows: Windows, *, repaired: bool) -> str:
    """What was found: rows by day with examples, windows by day with examples; what a repair did with them."""
    words = []
    for day, of_day in groupby(rows, key=attrgetter("day")):
        found = list(of_day)
        twice = sum(row.twice for row in found)
        examples = "; ".join(
            f"station {row.spell.station_code} {utc_text(row.spell.since)} → {utc_text(row.spell.until)}"
            for row in found[:_EXAMPLES]
        )
        words.append(f"{day}: {twice} rows twice, {len(found) - twice} that overlap others ({examples})")
    done = ", now in its folder removed" if rows and repaired else ""
    words.append(f"{len(rows)} rows too many in the archive{done}")
    examples = "; ".join(
        f"station {window.station_code} {utc_text(window.window_start)}: {window.seconds} s, of which the archive has "
        f"{window.archived} s"
        for window in windows.wrong[:_EXAMPLES]
    )
    done = ", counted anew" if windows.wrong and repaired else ""
    told = f" ({examples})" if examples else ""
    words.append(f"{len(windows.wrong)} of {windows.compared} live windows count too much{told}{done}")
    return "\n".join(words)


def recount_windows(settings: Settings, wrong: Sequence[OverCounted]) -> None:
    """Replace windows by what the archive has for them, all in one transaction; by Spark, whose sums they are.

    Raises:
        ArchiveError: the archive is damaged.
        StoreError: PostgreSQL can't be reached.
    """
    keys = {(window.station_code, window.window_start) for window in wrong}
    if not keys:
        return
    spells = _spells_of(settings, keys)
    rows = _sums(settings, spells) if spells.num_rows else []
    with connect(settings) as connection:
        _replace(connection, keys, rows)


def _sums(settings: Settings, spells: pa.Table) -> list[tuple[object, ...]]:
    from velib_dagster.streaming.job import session  # noqa: PLC0415 - with Spark
    from velib_dagster.streaming.windows import window_sums  # noqa: PLC0415

    os.environ["JAVA_HOME"] = str(java_home())
    spark = session(settings)
    try:
        sums = window_sums(spark.createDataFrame(spells), settings.feed.max_hold_seconds).toArrow()
    finally:
        spark.stop()
    return list(zip(*(column.to_pylist() for column in sums.columns), strict=True))


def _replace(connection: Connection, keys: Iterable[tuple[str, datetime]], rows: Iterable[Sequence[object]]) -> None:
    codes, starts = zip(*sorted(keys), strict=True)
    with connection.transaction():
        connection.execute(
            "DELETE FROM windows AS w USING unnest(%s::text[], %s::timestamptz[]) AS k (code, start)"
            " WHERE w.station_code = k.code AND w.window_start = k.start",
            (list(codes), list(starts)),
        )
        upsert_windows(connection, rows)


def _archived_seconds(settings: Settings, first: datetime) -> dict[tuple[str, datetime], int]:
    """Seconds by station and window, from the day of `first` on."""
    found: dict[tuple[str, datetime], int] = {}
    for day in sorted(_days(settings)):
        if day < first.astimezone(settings.feed.zone_info).date():
            continue
        rows = spells_table(settings.archive, (day, day)).group_by(["station_code", "since"])
        table = rows.aggregate([("seconds", "max")])  # a row that stands there twice counts once
        sums = table.append_column("start", _starts(table)).group_by(["station_code", "start"])
        for row in sums.aggregate([("seconds_max", "sum")]).to_pylist():
            key = (row["station_code"], datetime.fromtimestamp(row["start"], UTC))
            found[key] = found.get(key, 0) + row["seconds_max_sum"]
    return found


def _spells_of(settings: Settings, keys: set[tuple[str, datetime]]) -> pa.Table:
    wanted = pa.table(
        {
            "station_code": pa.array([code for code, _ in keys], pa.string()),
            "start": pa.array([int(start.timestamp()) for _, start in keys], pa.int64()),
        }
    )
    days = {start.astimezone(settings.feed.zone_info).date() for _, start in keys}
    tables = []
    for day in sorted(days & set(_days(settings))):
        table = spells_table(settings.archive, (day, day))
        keyed = table.append_column("start", _starts(table))
        tables.append(keyed.join(wanted, ["station_code", "start"], join_type="inner").select(table.column_names))
    return pa.concat_tables(tables) if tables else pa.table({"station_code": pa.array([], pa.string())})


def _days(settings: Settings) -> tuple[date, ...]:
    """Days of the archive."""
    commit = read_commit(settings.archive)
    return tuple(commit.files) if commit else ()


def _starts(table: pa.Table) -> pa.ChunkedArray:
    """The start of each spell's window, seconds since the epoch."""
    since = pc.cast(table["since"], pa.int64())
    return pc.multiply(pc.divide(since, _WINDOW_SECONDS), _WINDOW_SECONDS)

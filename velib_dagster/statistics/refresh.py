"""A refresh of days: computed by Spark in two ways, proved, and written to PostgreSQL where nothing is in doubt.

What is computed stands in `tables.py`, the proof in `proof.py`, how rows are replaced in `store/days.py`. Called by
`velib backfill` and by Dagster's assets, each with a turn of `turns.py`.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
from pyspark.sql import SparkSession

from velib_dagster.archive.errors import ArchiveError
from velib_dagster.archive.reader import committed_files
from velib_dagster.settings import Settings
from velib_dagster.statistics import proof
from velib_dagster.statistics.days import Days, day_seconds
from velib_dagster.statistics.outcome import ASSETS, CHECKS_OF, RECOUNT, TWIN, WITHIN, DayOutcome, Wrong, reason_of
from velib_dagster.statistics.program import program
from velib_dagster.statistics.proof import ArchivedDay, Differences, of_day, stretches
from velib_dagster.statistics.schemas import empty_table
from velib_dagster.statistics.tables import TABLES
from velib_dagster.statistics.turns import Turn
from velib_dagster.store.connect import connect
from velib_dagster.store.days import TABLES as TABLES_OF
from velib_dagster.store.days import own_rows, replace_day
from velib_dagster.store.doubts import clear_doubts, put_in_doubt
from velib_dagster.store.migrate import migrate
from velib_dagster.store.upsert import Connection

Session = Callable[[], SparkSession]
"""Gives the Spark session; it is asked for once there are spells to compute, for a first session starts Java."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class _Computed:
    """Days in a row: their tables, and what each check found wrong, by its name."""

    days: Days
    archived: dict[date, ArchivedDay]
    tables: dict[str, pa.Table]
    found: dict[str, Differences]

    def wrong(self, day: date) -> Wrong:
        """What is wrong with one day: check → table → sentences."""
        return {check: of_days[day] for check, of_days in self.found.items() if day in of_days}


def refresh(
    turn: Turn, days: Iterable[date], session: Session, say: Say, assets: Sequence[str] = ASSETS
) -> Iterator[DayOutcome]:
    """Compute, prove and write the days, in order; one outcome a day, as soon as it is written or noted as in doubt.

    Days in a row with few spells are computed together. A file that can't be read puts its day in doubt, and the next
    one where spells reach over midnight; it holds no other day up. Days told before an error are written. A doubt about
    a day is forgotten once all assets are proved. `say` is told how far it is.

    Raises:
        ArchiveError: the commit file is damaged.
        StoreError: PostgreSQL is away, or another home writes the database.
    """
    settings = turn.settings
    names = list(dict.fromkeys(name for asset in assets for name in TABLES_OF[asset]))
    waiting = list(stretches(settings.archive, days, settings.feed.timezone))
    while waiting:
        stretch = waiting.pop(0)
        try:
            computed = _compute(settings, session, stretch, names, say)
        except ArchiveError as error:
            if stretch.first != stretch.last:
                waiting = [Days.one(day, stretch.timezone) for day in stretch] + waiting
                continue
            computed = _unreadable(settings, stretch, names, error)
        yield from _keep(settings, assets, computed)


def _compute(settings: Settings, session: Session, days: Days, names: list[str], say: Say) -> _Computed:
    began = time.monotonic()
    spells = proof.read(settings.archive, days)
    say(f"{spells.number} spells of {days}")
    if not spells.number:
        return _Computed(days, spells.by_day, _empty(names), {})
    frame = proof.frame_of(session(), spells)
    tables, by_sql = proof.computed_twice(frame, days, names)
    say(f"computed by DataFrames and by SQL after {time.monotonic() - began:.1f} s")
    found = {
        TWIN: proof.twin_differences(days, tables, by_sql),
        RECOUNT: proof.recount_differences(spells, tables),
        WITHIN: proof.seconds_beyond(days, tables),
    }
    say(f"proved after {time.monotonic() - began:.1f} s")
    return _Computed(days, spells.by_day, tables, found)


def _unreadable(settings: Settings, day: Days, names: list[str], error: ArchiveError) -> _Computed:
    """One day whose rows can't be read: nothing is computed, and every check says why."""
    lengths = {file.day: file.length for file in committed_files(settings.archive)}
    archived = {day.first: ArchivedDay(0, lengths.get(day.first, 0), 0)}
    found: Differences = {day.first: {name: [str(error)] for name in names}}
    checks = dict.fromkeys(check for checks in CHECKS_OF.values() for check in checks)
    return _Computed(day, archived, _empty(names), dict.fromkeys(checks, found))


def _empty(names: list[str]) -> dict[str, pa.Table]:
    return {name: empty_table(TABLES[name].columns) for name in names}


def _keep(settings: Settings, assets: Sequence[str], computed: _Computed) -> Iterator[DayOutcome]:
    """Replace the days that are in no doubt, and note the others."""
    migrate(settings)
    with connect(settings) as connection:
        for day in computed.days:
            wrong = computed.wrong(day)
            rows = {name: of_day(table, day).num_rows for name, table in computed.tables.items()}
            if wrong:
                length = computed.archived[day].archived_bytes
                doubt = put_in_doubt(connection, day, length, program(), reason_of(wrong))
                yield DayOutcome(day, rows, wrong, doubt)
                continue
            for asset in assets:
                _write(connection, asset, computed, day)
            if set(assets) == set(ASSETS):  # fewer prove fewer tables
                with connection.transaction():
                    clear_doubts(connection, [day])
            yield DayOutcome(day, rows, wrong)


def _write(connection: Connection, asset: str, computed: _Computed, day: date) -> None:
    archived = computed.archived[day]
    replace_day(
        connection,
        asset,
        day,
        {name: own_rows(asset, of_day(computed.tables[name], day)) for name in TABLES_OF[asset]},
        day_seconds=day_seconds(day, computed.days.timezone),
        network_seconds=archived.network_seconds,
        spells=archived.spells,
        archived_bytes=archived.archived_bytes,
    )

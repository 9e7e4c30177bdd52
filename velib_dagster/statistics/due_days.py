"""Which days' statistics are due: what the archive has against what is computed.

A day is due when its file has grown since, today once an hour, a day never computed at once; a day in doubt after a
pause that doubles with each try. Called by `velib backfill` and by Dagster's schedule; where the days of Dagster's
partitions begin is told here too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from velib_dagster.archive.commit import read_commit
from velib_dagster.settings import Settings
from velib_dagster.statistics.days import SPELLS_AT_ONCE

if TYPE_CHECKING:
    from velib_dagster.store.doubts import DayInDoubt

TODAY_EVERY: Final = timedelta(minutes=55)
"""Today is computed again once it was computed so long ago: hourly, with ticks every ten minutes."""
EMPTY_ARCHIVE_DAYS: Final = 7
"""Where nothing is archived yet, partitions begin so many days ago: history may come in by a backfill."""
FIRST_TRY_AGAIN: Final = timedelta(hours=1)
LAST_TRY_AGAIN: Final = timedelta(hours=24)
"""A day in doubt is tried again after an hour, two, four, … at most a day."""
MOST_DAYS: Final = 7
"""Days of one run at most: it ends well before its longest time, and the next tick goes on."""


@dataclass(frozen=True)
class Computed:
    """One asset's statistics of one day: the committed length of the day's file that they were computed from."""

    asset: str
    day: date
    archived_bytes: int
    at: datetime


def first_day(settings: Settings, now: datetime) -> date:
    """The day that the partitions begin with: the archive's first.

    Raises:
        ArchiveError: the archive is damaged.
    """
    commit = read_commit(settings.archive)
    today = now.astimezone(settings.feed.zone_info).date()
    return min(commit.files) if commit and commit.files else today - timedelta(days=EMPTY_ARCHIVE_DAYS)


@dataclass(frozen=True)
class Doubt:
    """A day whose numbers could not be proved: how often that was tried, when last, on what, by which program."""

    day: date
    tried_at: datetime
    tries: int
    archived_bytes: int
    program: str

    @property
    def next_try(self) -> datetime:
        """When it is tried again, unless its file grows or the program changes before."""
        doublings = min(max(self.tries - 1, 0), 10)
        return self.tried_at + min(FIRST_TRY_AGAIN * (1 << doublings), LAST_TRY_AGAIN)

    def waits(self, archived_bytes: int, program: str, now: datetime, today: date) -> bool:
        """Whether the day is left alone now. Today's file grows all the time: it is tried once an hour at most."""
        if program != self.program:
            return False
        grown = archived_bytes != self.archived_bytes
        if grown and not (self.day == today and now - self.tried_at < TODAY_EVERY):
            return False
        return self.tried_at <= now < self.next_try


def doubt_of(row: "DayInDoubt") -> Doubt:
    """What decides about a day in doubt, of its row."""
    return Doubt(row.day, row.tried_at, row.tries, row.archived_bytes, row.program)


def due_days(
    archived: Mapping[date, int],
    computed: Iterable[Computed],
    assets: Sequence[str],
    now: datetime,
    today: date,
    doubts: Iterable[Doubt] = (),
    program: str = "",
) -> list[date]:
    """The days to compute, newest first. `archived` has the committed bytes of each day's file."""
    doubted = {doubt.day: doubt for doubt in doubts}
    known = {(row.day, row.asset): row for row in computed}
    due = []
    for day, length in archived.items():
        rows = [known.get((day, asset)) for asset in assets]
        stale = [row for row in rows if row is None or row.archived_bytes != length]
        settled = day == today and all(row is not None and now - row.at < TODAY_EVERY for row in stale)
        waits = day in doubted and doubted[day].waits(length, program, now, today)
        if stale and not settled and not waits:
            due.append(day)
    return sorted(due, reverse=True)


def newest_stretch(due: Sequence[date], spells: Mapping[date, int]) -> list[date]:
    """Of the days that are due, newest first, the newest ones in a row that one run may take; oldest first."""
    stretch: list[date] = []
    for day in due:
        together = sum(spells.get(one, 0) for one in (*stretch, day))
        in_a_row = not stretch or stretch[-1] - day == timedelta(days=1)
        if stretch and (not in_a_row or len(stretch) == MOST_DAYS or together > SPELLS_AT_ONCE):
            break
        stretch.append(day)
    return stretch[::-1]


def due_now(settings: Settings, assets: Sequence[str], now: datetime, *, doubts_wait: bool = False) -> list[date]:
    """The days to compute now, newest first, by what the archive and PostgreSQL say.

    Days in doubt are among them, unless `doubts_wait`: then as soon as they are to be tried again.

    Raises:
        ArchiveError: the archive is damaged.
        StoreError: PostgreSQL can't be read.
    """
    from psycopg.errors import UndefinedTable  # noqa: PLC0415 - psycopg takes a third of a second

    from velib_dagster.statistics.program import program  # noqa: PLC0415
    from velib_dagster.store.connect import StoreError, connect  # noqa: PLC0415
    from velib_dagster.store.doubts import days_in_doubt  # noqa: PLC0415
    from velib_dagster.store.statistics_reads import computed_days  # noqa: PLC0415

    commit = read_commit(settings.archive)
    if commit is None or not commit.files:
        return []  # a new home may have no database yet
    archived = {day: length.bytes for day, length in commit.files.items()}
    try:
        with connect(settings) as connection:
            computed = [
                Computed(row.asset, row.day, row.archived_bytes, row.computed_at) for row in computed_days(connection)
            ]
            doubts = [doubt_of(row) for row in (days_in_doubt(connection) if doubts_wait else ())]
    except UndefinedTable as error:
        msg = f"the schema of {settings.database} is not made yet: the streaming job, or velib prepare, makes it"
        raise StoreError(msg) from error
    today = now.astimezone(settings.feed.zone_info).date()
    return due_days(archived, computed, assets, now, today, doubts, program())


def archived_spells(settings: Settings) -> dict[date, int]:
    """How many spells each archived day has.

    Raises:
        ArchiveError: the archive is damaged.
    """
    commit = read_commit(settings.archive)
    return {day: length.rows for day, length in commit.files.items()} if commit else {}

"""Finished spells from Kafka into one CSV file a day, each exactly once.

Rows are appended, their data brought to disk, and then one commit file is replaced that holds the next offset
and each file's length: whatever ends the process in between is cut back at the next start, and the result is
byte for byte that of an undisturbed run. Called by `velib archive` and the asset `csv_archive`.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from velib_dagster.archive.commit import (
    Commit,
    FileLength,
    Source,
    append,
    check_lengths,
    cut_back,
    day_path,
    finish_replacing,
    only_writer,
    read_commit,
    sync_file,
    write_commit,
)
from velib_dagster.archive.errors import ArchiveError, KafkaAwayError
from velib_dagster.archive.frozen import mark_freezes
from velib_dagster.archive.rows import HEADER_LINE, csv_line
from velib_dagster.archive.source import KafkaTopic, Record, Topic
from velib_dagster.events.records import Spell, decode_spell
from velib_dagster.settings import Settings

STEP_ROWS: Final = 200_000
STEP_BYTES: Final = 64 << 20
"""A commit at least so often: what a crash makes the next run do again."""
FOLLOW_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """What one run did.

    `files` are the day files that got rows, `rows` how many; `next_offset` is where the next run begins, `lag`
    how many offsets were written behind it, committed or not (0: all is archived), `through` the latest end of
    any archived spell, None while there is none. `repeated` counts records of polls that were archived before.
    """

    files: tuple[Path, ...]
    rows: int
    next_offset: int
    lag: int
    through: datetime | None
    repeated: int = 0


Progress = Callable[[int, int], None]
"""Told after each batch: offsets done, offsets to do."""


def archive_once(settings: Settings, *, on_progress: Progress | None = None, accept_missing: bool = False) -> Archived:
    """Archive every finished spell up to the last stable offset at the time of the call.

    `accept_missing` goes on behind records that retention deleted before they were archived; without it that is
    an error, since nothing may be lost silently.

    Raises:
        KafkaAwayError: Kafka does not answer.
        ArchiveHeldError: another process writes this archive.
        ArchiveError: another Kafka than before, records deleted before they were archived, a day file shorter
            than committed, a full disk, no permission, a record that is no spell.
    """
    with only_writer(settings.archive):
        return _archive(settings, on_progress, accept_missing)


def follow(
    settings: Settings,
    stop: threading.Event,
    on_progress: Callable[[Archived], None] | None = None,
    *,
    every_seconds: float = FOLLOW_SECONDS,
) -> None:
    """Archive every few seconds until `stop` is set; holds the archive all that time.

    `on_progress` is told of each round that brought rows. While Kafka is away it waits and says so once.

    Raises:
        ArchiveError: as `archive_once`, except that an absent Kafka is waited for.
    """
    away = False
    with only_writer(settings.archive):
        while True:
            try:
                archived = _archive(settings, None, accept_missing=False)
            except KafkaAwayError as error:
                if not away:
                    _log.warning("%s", error)
                away = True
            else:
                away = False
                if archived.rows and on_progress is not None:
                    on_progress(archived)
            if stop.wait(every_seconds):
                return


def _archive(settings: Settings, on_progress: Progress | None, accept_missing: bool) -> Archived:
    with KafkaTopic(settings, "spells") as topic:
        if not topic.exists():
            if read_commit(settings.archive) is None:
                return Archived(files=(), rows=0, next_offset=0, lag=0, through=None)
            msg = (
                f"Kafka at {settings.kafka} has no topic {topic.name}, from which {settings.archive} was made: "
                "give the address of the Kafka that has it (VELIB_KAFKA), or start a new home with --home"
            )
            raise ArchiveError(msg)
        topic.settle()
        archived = archive_topic(
            settings.archive,
            topic,
            settings.feed.timezone,
            on_progress=on_progress,
            accept_missing=accept_missing,
        )
    with KafkaTopic(settings, "polls") as polls:
        if polls.exists():
            mark_freezes(settings.archive, polls)
    return archived


def archive_topic(
    folder: Path,
    topic: Topic,
    timezone: str,
    *,
    on_progress: Progress | None = None,
    accept_missing: bool = False,
    step_rows: int = STEP_ROWS,
) -> Archived:
    """Archive a topic's spells into a folder that this process holds (`only_writer`).

    Kafka is asked before anything is cut back, so that uncommitted rows go only where they can be read again.
    """
    commit = read_commit(folder)
    source = topic.source
    first, end = topic.bounds()
    if commit is None:
        commit = Commit(source=source, timezone=timezone, next_offset=0)
        start = _start(folder, commit, source, timezone, first, end, accept_missing)
        # Before the first row: day files without a commit file are then always a lost commit file.
        commit = msgspec.structs.replace(commit, next_offset=start)
        write_commit(folder, commit)
    else:
        commit = finish_replacing(folder, commit)
        check_lengths(folder, commit)
        start = _start(folder, commit, source, timezone, first, end, accept_missing)
    cut_back(folder, commit, HEADER_LINE)
    step = _Step(folder, commit, ZoneInfo(timezone), step_rows)
    for batch in topic.read(start, end):
        for poll, records in groupby(batch, key=attrgetter("poll")):
            # Only between polls: one that comes again is then there whole or not at all.
            if step.is_full and (poll is None or poll != step.poll):
                step.commit()
            step.add(poll, tuple(records))
        if on_progress is not None:
            on_progress(batch[-1].offset + 1 - start, end - start)
    step.reach(end)
    step.commit()
    if on_progress is not None and end > start:
        on_progress(end - start, end - start)
    if step.repeated:
        _log.warning(
            "%s: %d records of polls that are archived already came again and were passed over",
            source.topic,
            step.repeated,
        )
    return Archived(
        files=tuple(day_path(folder, day) for day in sorted(step.written)),
        rows=step.done.rows - commit.rows,
        next_offset=end,
        lag=topic.written() - end,
        through=step.done.through,
        repeated=step.repeated,
    )


def _start(
    folder: Path, commit: Commit, source: Source, timezone: str, first: int, end: int, accept_missing: bool
) -> int:
    """Where to go on, or in words why not. `first` and `end` are the topic's bounds."""
    if source != commit.source:
        msg = (
            f"{folder} was made from the topic {_in_words(commit.source)}, and Kafka now has "
            f"{_in_words(source)}: offsets mean nothing there. Give the address of the first one (VELIB_KAFKA), "
            "or start a new home with --home"
        )
        raise ArchiveError(msg)
    if timezone != commit.timezone:
        msg = (
            f"{folder} has days of {commit.timezone}, and the feed's time zone is now {timezone}: "
            "set VELIB_TIMEZONE back, or start a new home with --home"
        )
        raise ArchiveError(msg)
    if end < commit.next_offset:
        msg = (
            f"{source.topic} ends at offset {end}, and everything below {commit.next_offset} is archived in "
            f"{folder}: Kafka has lost its newest records, or runs on an older copy; restore it, or start a new "
            "home with --home"
        )
        raise ArchiveError(msg)
    missing = first - commit.next_offset
    if missing <= 0:
        return commit.next_offset
    what = (
        f"{missing} offsets of {source.topic} ({commit.next_offset} to {first - 1}) were deleted by retention "
        "before they were archived"
    )
    if accept_missing:
        _log.warning("%s: going on behind them", what)
        return first
    msg = f"{what}: restore them, or go on without them (--accept-missing)"
    raise ArchiveError(msg)


def _in_words(source: Source) -> str:
    return f"{source.topic} (id {source.topic_id}) of the cluster {source.cluster_id}"


def _spells(records: Iterable[Record], topic: str) -> Iterator[Spell]:
    for record in records:
        if record.value is None:
            continue  # it only closes a transaction
        try:
            yield decode_spell(record.value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            msg = (
                f"the record at offset {record.offset} of {topic} is no spell ({error}): something else wrote it, "
                "or another version of this program; archive with the program that wrote it"
            )
            raise ArchiveError(msg) from error


class _Step:
    """Rows appended since the last commit, and that commit."""

    def __init__(self, folder: Path, commit: Commit, zone: ZoneInfo, most_rows: int) -> None:
        self.done = commit
        self.written: set[date] = set()
        self.repeated = 0
        self.poll = commit.poll
        self._most_rows = most_rows
        self._folder = folder
        self._zone = zone
        self._days: dict[datetime, date] = {}
        self._files = dict(commit.files)
        self._touched: set[date] = set()
        self._through = commit.through
        self._next_offset = commit.next_offset
        self._rows = 0
        self._bytes = 0
        self._of_poll: set[tuple[str, datetime]] = set()
        """Station and start of what was appended of the poll in progress."""

    @property
    def is_full(self) -> bool:
        """Whether enough was appended for a commit."""
        return self._rows >= self._most_rows or self._bytes >= STEP_BYTES

    def add(self, poll: str | None, records: Sequence[Record]) -> None:
        """Append records of one poll, of None where their writer named none, as far as they are not there yet."""
        spells = list(_spells(records, self.done.source.topic))
        if poll is not None:
            spells = self._new_of(poll, spells)
        self._append(spells)
        self._next_offset = records[-1].offset + 1

    def _new_of(self, poll: str, spells: Sequence[Spell]) -> list[Spell]:
        if self.poll is None or poll > self.poll:
            self.poll = poll
            self._of_poll = set()
        found = []
        if poll == self.poll and poll != self.done.poll:
            for spell in spells:
                key = (spell.station_code, spell.since)
                if key not in self._of_poll:
                    self._of_poll.add(key)
                    found.append(spell)
        self.repeated += len(spells) - len(found)
        return found

    def _append(self, spells: Iterable[Spell]) -> None:
        lines: defaultdict[date, list[str]] = defaultdict(list)
        through = self._through
        for spell in spells:
            lines[self._day(spell.since)].append(csv_line(spell))
            if through is None or spell.until > through:
                through = spell.until
        for day, rows in lines.items():
            before = self._files.get(day)
            data = "".join(rows).encode()
            if before is None:
                before = FileLength(0, 0)
                data = HEADER_LINE + data
            append(day_path(self._folder, day), data)
            self._files[day] = FileLength(before.bytes + len(data), before.rows + len(rows))
            self._touched.add(day)
            self._rows += len(rows)
            self._bytes += len(data)
        self._through = through

    def reach(self, offset: int) -> None:
        """Nothing is left below this offset."""
        self._next_offset = max(self._next_offset, offset)

    def commit(self) -> None:
        """Make all that was appended count."""
        if self._next_offset == self.done.next_offset:
            return
        for day in self._touched:
            sync_file(day_path(self._folder, day))
        self.done = msgspec.structs.replace(
            self.done,
            next_offset=self._next_offset,
            through=self._through,
            poll=self.poll,
            files=dict(self._files),
        )
        write_commit(self._folder, self.done)
        self.written |= self._touched
        self._touched.clear()
        self._days.clear()
        self._rows = self._bytes = 0

    def _day(self, since: datetime) -> date:
        """The feed-timezone day of an instant; few instants occur, and the conversion is slow."""
        day = self._days.get(since)
        if day is None:
            day = self._days[since] = since.astimezone(self._zone).date()
        return day

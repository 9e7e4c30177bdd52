"""Finished spells from Kafka into one CSV file a day, each exactly once.

Rows are appended, their data brought to disk, and then one commit file is replaced that holds the next offset
and each file's length: whatever ends the process in between is cut back at the next start, and the result is
byte for byte that of an undisturbed run. Called by `velib archive` and the asset `csv_archive`.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from velib_dagster.archive.commit import (
    Commit,
    Source,
    check_lengths,
    cut_back,
    day_path,
    finish_replacing,
    only_writer,
    read_commit,
    write_commit,
)
from velib_dagster.archive.errors import ArchiveError, KafkaAwayError
from velib_dagster.archive.frozen import mark_freezes
from velib_dagster.archive.rows import HEADER_LINE
from velib_dagster.archive.source import KafkaTopic, Topic
from velib_dagster.archive.step import Step
from velib_dagster.archive.unreadable import check_unreadable, cut_back_unreadable
from velib_dagster.archive.voids import take_out
from velib_dagster.events.accepted import read_accepted
from velib_dagster.events.memory import newest_poll
from velib_dagster.events.readable import NewerVersionError, UnreadableError
from velib_dagster.events.records import Void
from velib_dagster.events.topics import KafkaError
from velib_dagster.settings import Settings

STEP_ROWS: Final = 200_000
"""A commit at least so often, and for so many bytes (`step.py`)."""
FOLLOW_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """What one run did.

    `files` are the day files that got rows, `rows` how many; `next_offset` is where the next run begins, `lag`
    how many offsets were written behind it, committed or not (0: all is archived), `through` the latest end of
    any archived spell, None while there is none. `repeated` counts records of polls that were archived before, and
    `unreadable` those that can't be read and were set aside.
    """

    files: tuple[Path, ...]
    rows: int
    next_offset: int
    lag: int
    through: datetime | None
    repeated: int = 0
    unreadable: int = 0


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
            than committed, a full disk, no permission, a record of a newer version, or more records in a row that
            can't be read than may be set aside.
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
        with KafkaTopic(settings, "polls") as polls:
            has_polls = polls.exists()
        archived = archive_topic(
            settings.archive,
            topic,
            settings.feed.timezone,
            on_progress=on_progress,
            accept_missing=accept_missing,
            accepted=read_accepted(settings).offsets.get("spells", 0),
            voids=_voids(settings) if has_polls else (),
        )
    if has_polls:
        with KafkaTopic(settings, "polls") as polls:
            mark_freezes(settings.archive, polls)
    return archived


def _voids(settings: Settings) -> tuple[Void, ...]:
    """What the newest poll says of a clock that was ahead."""
    try:
        newest = newest_poll(settings)
    except KafkaError as error:
        raise KafkaAwayError(str(error)) from error
    except (UnreadableError, NewerVersionError) as error:
        raise ArchiveError(str(error)) from error
    return (newest.voids or ()) if newest else ()


def archive_topic(
    folder: Path,
    topic: Topic,
    timezone: str,
    *,
    on_progress: Progress | None = None,
    accept_missing: bool = False,
    step_rows: int = STEP_ROWS,
    accepted: int = 0,
    voids: Sequence[Void] = (),
) -> Archived:
    """Archive a topic's spells into a folder that this process holds (`only_writer`).

    Records below the offset `accepted` may be set aside however many can't be read in a row; `voids` are spans of time
    whose spells don't count.
    Kafka is asked before anything is cut back, so that uncommitted rows go only where they can be read again.
    """
    commit = read_commit(folder)
    source = topic.source
    first, end = topic.bounds()
    if commit is None:
        commit = Commit(source=source, timezone=timezone, next_offset=0, voids=tuple(voids))
        start = _start(folder, commit, source, timezone, first, end, accept_missing)
        # Before the first row: day files without a commit file are then always a lost commit file.
        commit = msgspec.structs.replace(commit, next_offset=start)
        write_commit(folder, commit)
    else:
        commit = finish_replacing(folder, commit)
        check_lengths(folder, commit)
        check_unreadable(folder, commit)
        start = _start(folder, commit, source, timezone, first, end, accept_missing)
    commit = take_out(folder, commit, topic, voids)
    cut_back(folder, commit, HEADER_LINE)
    cut_back_unreadable(folder, commit)
    step = Step(folder, commit, ZoneInfo(timezone), step_rows, accepted)
    for batch in topic.read(start, end):
        for poll, records in groupby(batch, key=attrgetter("told.poll")):
            if step.is_full and step.is_between_polls(poll):
                step.commit()
            try:
                step.add(poll, tuple(records))
            except (UnreadableError, NewerVersionError) as error:
                if step.is_between_polls(poll):
                    step.commit()
                raise ArchiveError(str(error)) from error
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
    for record in step.reading.passed_over:
        _log.warning("%s: the record at offset %d can't be read: %s", record.topic, record.offset, record.reason)
    return Archived(
        files=tuple(day_path(folder, day) for day in sorted(step.written)),
        rows=step.done.rows - commit.rows,
        next_offset=end,
        lag=topic.written() - end,
        through=step.done.through,
        repeated=step.repeated,
        unreadable=len(step.reading.passed_over),
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

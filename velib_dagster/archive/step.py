"""Rows that were appended to the archive's day files since the last commit, and that commit.

Which records are handed in, and from where, is `writer.py`'s affair.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from velib_dagster.archive.commit import Commit, FileLength, append, day_path, sync_file, write_commit
from velib_dagster.archive.rows import HEADER_LINE, csv_line
from velib_dagster.archive.source import Record
from velib_dagster.archive.unreadable import UNREADABLE_FILE, set_aside
from velib_dagster.archive.voids import is_void
from velib_dagster.events.readable import Reading
from velib_dagster.events.records import Spell, decode_spell

STEP_BYTES: Final = 64 << 20
"""A commit at least so often: what a crash makes the next run do again."""


class Step:
    """Rows appended since the last commit, and that commit."""

    def __init__(self, folder: Path, commit: Commit, zone: ZoneInfo, most_rows: int, accepted: int = 0) -> None:
        self.done = commit
        self.reading = Reading(commit.source.topic, accepted=accepted, in_a_row=commit.unreadable_in_a_row)
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
        self._aside = commit.unreadable
        self._in_a_row = commit.unreadable_in_a_row
        self._rows = 0
        self._bytes = 0
        self._of_poll: set[tuple[str, datetime]] = set()
        """Station and start of what was appended of the poll in progress."""

    @property
    def is_full(self) -> bool:
        """Whether enough was appended for a commit."""
        return self._rows >= self._most_rows or self._bytes >= STEP_BYTES

    def is_between_polls(self, poll: str | None) -> bool:
        """Whether no part of the poll that comes next was appended: one that comes again must be there whole or not at
        all. Behind a record of an unknown poll, more of the last one may come."""
        return self.poll is None if poll is None else poll != self.poll

    def add(self, poll: str | None, records: Sequence[Record]) -> None:
        """Append records of one poll, of None where their writer named none, as far as they are not there yet.

        Raises:
            UnreadableError: more records in a row can't be read than may be set aside; nothing of these is appended.
            NewerVersionError: a newer program wrote one; nothing of these is appended.
            ArchiveError: a full disk, no permission.
        """
        spells = self._spells(records)
        if poll is not None and spells:
            spells = self._new_of(poll, spells)
        self._append(spells)
        self._next_offset = records[-1].offset + 1
        self._in_a_row = self.reading.in_a_row

    def _spells(self, records: Sequence[Record]) -> list[Spell]:
        """The spells that can be read; the others go to the file of those set aside."""
        before = len(self.reading.passed_over)
        voids = self.done.voids
        found = []
        for record in records:
            value = record.value
            if value is None:
                continue  # it only closes a transaction
            spell = self.reading.read(record.offset, value, record.told, partial(decode_spell, value))
            if spell is not None and not (voids and is_void(record.offset, spell, voids)):
                found.append(spell)
        self._aside = set_aside(self._folder, self._aside, self.reading.passed_over[before:])
        return found

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
        if self._aside != self.done.unreadable:
            sync_file(self._folder / UNREADABLE_FILE)
        self.done = msgspec.structs.replace(
            self.done,
            next_offset=self._next_offset,
            through=self._through,
            poll=self.poll,
            files=dict(self._files),
            unreadable=self._aside,
            unreadable_in_a_row=self._in_a_row,
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

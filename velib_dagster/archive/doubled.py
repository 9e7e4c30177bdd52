"""Archived spells that stand there twice, or overlap what was archived before them: found, and taken out.

Earlier versions archived a poll again that had been sent again. Of a station's spells of a day those count that begin
no earlier than the ones before them ended, in the order of the file, which is that of the polls. Called by `velib
archive --check` and `--repair`.
"""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import msgspec

from velib_dagster.archive.commit import (
    check_lengths,
    finish_replacing,
    only_writer,
    read_commit,
)
from velib_dagster.archive.reader import DayFile, committed_files, spells_of
from velib_dagster.archive.replace import without_rows
from velib_dagster.events.records import Spell


class Doubled(msgspec.Struct, frozen=True):
    """A row too many: its day, and the spell. `twice`: one with the same start stands before it, else it overlaps."""

    day: date
    spell: Spell
    twice: bool


def doubled_rows(folder: Path) -> Iterator[Doubled]:
    """The rows too many of the whole archive, day by day in the order of the file.

    Raises:
        ArchiveError: a malformed row (file and line are named), a day file is missing or shorter than committed.
    """
    for file in committed_files(folder):
        for spell, doubled in _judged(file):
            if doubled is not None:
                yield Doubled(file.day, spell, doubled)


def remove_doubled_rows(folder: Path) -> list[Doubled]:
    """Write the day files that have rows too many anew without them; returns the rows, kept in `removed/` as well.

    Raises:
        ArchiveHeldError: another process writes this archive.
        ArchiveError: as `doubled_rows`; a row that this program would write otherwise; a full disk, no permission.
    """
    with only_writer(folder):
        commit = read_commit(folder)
        if commit is None:
            return []
        commit = finish_replacing(folder, commit)
        check_lengths(folder, commit)
        removed = list(doubled_rows(folder))
        without_rows(folder, commit, lambda file: ((spell, twice is None) for spell, twice in _judged(file)))
        return removed


def _judged(file: DayFile) -> Iterator[tuple[Spell, bool | None]]:
    """Each spell of a day: None where it counts, else whether its start stands there before."""
    ends: dict[str, datetime] = {}
    starts: set[tuple[str, datetime]] = set()
    for spell in spells_of(file):
        code = spell.station_code
        if (code, spell.since) in starts:
            yield spell, True
        elif code in ends and spell.since < ends[code]:
            yield spell, False
        else:
            starts.add((code, spell.since))
            ends[code] = spell.until
            yield spell, None

"""Archived spells that stand there twice, or overlap what was archived before them: found, and taken out.

Earlier versions archived a poll again that had been sent again. Of a station's spells of a day those count that begin
no earlier than the ones before them ended, in the order of the file, which is that of the polls. Called by `velib
archive --check` and `--repair`.
"""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Final

import msgspec

from velib_dagster.archive.commit import (
    FileLength,
    append,
    check_lengths,
    finish_replacing,
    new_path,
    only_writer,
    read_commit,
    sync_file,
    write_commit,
)
from velib_dagster.archive.errors import ArchiveError, disk_trouble
from velib_dagster.archive.reader import DayFile, committed_files, spells_of
from velib_dagster.archive.rows import HEADER_LINE, csv_line
from velib_dagster.events.records import Spell

REMOVED_FOLDER: Final = "removed"
"""Beside the day files: the rows that were taken out of each, kept for whoever wants to look."""


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

    New files are whole on disk before the commit file names them, and take their places after that: whatever ends the
    process in between, the next start of any writer finishes it.

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
        removed: list[Doubled] = []
        files = dict(commit.files)
        for file in committed_files(folder):
            found = [Doubled(file.day, spell, twice) for spell, twice in _judged(file) if twice is not None]
            if found:
                files[file.day] = _write_without(folder, file)
                _keep(folder, file.day, found)
                removed += found
        if removed:
            days = tuple(sorted({row.day for row in removed}))
            commit = msgspec.structs.replace(commit, files=files, replacing=days)
            write_commit(folder, commit)
            finish_replacing(folder, commit)
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


def _write_without(folder: Path, file: DayFile) -> FileLength:
    target = new_path(folder, file.day)
    try:
        target.unlink(missing_ok=True)
    except OSError as error:
        raise disk_trouble("writing", target, error) from error
    kept, whole, rows = [HEADER_LINE], [HEADER_LINE], 0
    for spell, doubled in _judged(file):
        line = csv_line(spell).encode()
        whole.append(line)
        if doubled is None:
            kept.append(line)
            rows += 1
    try:
        before = file.path.read_bytes()[: file.length]
    except OSError as error:
        raise disk_trouble("reading", file.path, error) from error
    if b"".join(whole) != before:
        msg = f"{file.path} has rows that this program would write otherwise: it was changed; restore it from a backup"
        raise ArchiveError(msg)
    content = b"".join(kept)
    append(target, content)
    sync_file(target)
    return FileLength(len(content), rows)


def _keep(folder: Path, day: date, rows: list[Doubled]) -> None:
    path = folder / REMOVED_FOLDER / f"{day.isoformat()}.csv"
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise disk_trouble("writing", path, error) from error
    header = b"" if path.exists() else HEADER_LINE
    append(path, header + "".join(csv_line(row.spell) for row in rows).encode())

"""Day files written anew without some of their rows, which are kept in `removed/`, all in one commit.

New files are whole on disk before the commit file names them, and take their places after that: whatever ends the
process in between, the next start of any writer finishes it. Called by `doubled.py` and `voids.py`.
"""

from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Final

import msgspec

from velib_dagster.archive.commit import Commit, FileLength, append, finish_replacing, new_path, sync_file, write_commit
from velib_dagster.archive.errors import ArchiveError, disk_trouble
from velib_dagster.archive.reader import DayFile, committed_files
from velib_dagster.archive.rows import HEADER_LINE, csv_line
from velib_dagster.events.records import Spell

REMOVED_FOLDER: Final = "removed"
"""Beside the day files: the rows that were taken out of each, kept for whoever wants to look."""

Judged = Callable[[DayFile], Iterable[tuple[Spell, bool]]]
"""Each spell of a day file, in its order, and whether it stays."""


def without_rows(
    folder: Path, commit: Commit, judged: Judged, change: Callable[[Commit], Commit] = lambda commit: commit
) -> Commit:
    """The state of the archive without the rows that don't stay, once it is committed; it must be this process's alone.

    Day files without a row left are no longer part of it. What else `change` changes is committed with it.

    Raises:
        ArchiveError: a file has rows that this program would write otherwise; a full disk, no permission.
    """
    lengths = dict(commit.files)
    replaced: list[date] = []
    for file in committed_files(folder):
        removed = [spell for spell, stays in judged(file) if not stays]
        if removed:
            lengths[file.day] = _write_without(folder, file, judged)
            _keep(folder, file.day, removed)
            replaced.append(file.day)
    left = {day: length for day, length in lengths.items() if length.rows}
    done = change(msgspec.structs.replace(commit, files=left, replacing=tuple(sorted(replaced))))
    if done != commit:
        write_commit(folder, done)
    return finish_replacing(folder, done)


def _write_without(folder: Path, file: DayFile, judged: Judged) -> FileLength:
    target = new_path(folder, file.day)
    try:
        target.unlink(missing_ok=True)
    except OSError as error:
        raise disk_trouble("writing", target, error) from error
    kept, whole, rows = [HEADER_LINE], [HEADER_LINE], 0
    for spell, stays in judged(file):
        line = csv_line(spell).encode()
        whole.append(line)
        if stays:
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


def _keep(folder: Path, day: date, rows: list[Spell]) -> None:
    path = folder / REMOVED_FOLDER / f"{day.isoformat()}.csv"
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise disk_trouble("writing", path, error) from error
    header = b"" if path.exists() else HEADER_LINE
    append(path, header + "".join(csv_line(row) for row in rows).encode())

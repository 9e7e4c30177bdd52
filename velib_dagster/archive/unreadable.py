"""`unreadable.jsonl`, beside the day files: the records of spells that could not be read, with their bytes.

One line a record, which counts once the commit file says so. Written by `step.py`; the streaming job passes over what
stands here, so that its windows are those of the archive.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from velib_dagster.archive.commit import Commit, FileLength, append, read_commit
from velib_dagster.archive.errors import ArchiveError, disk_trouble
from velib_dagster.events.readable import PassedOver

UNREADABLE_FILE: Final = "unreadable.jsonl"
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(PassedOver)


def set_aside(folder: Path, before: FileLength, records: Sequence[PassedOver]) -> FileLength:
    """Append records to the file, which has this length; returns its new one.

    Raises:
        ArchiveError: a full disk, no permission.
    """
    if not records:
        return before
    data = b"".join(_ENCODER.encode(record) + b"\n" for record in records)
    append(folder / UNREADABLE_FILE, data)
    return FileLength(before.bytes + len(data), before.rows + len(records))


def records_set_aside(folder: Path) -> list[PassedOver]:
    """The records that an archive has set aside, in order; none where nothing is archived yet.

    Raises:
        ArchiveError: the commit file or the file itself is damaged, shorter than committed or missing.
    """
    commit = read_commit(folder)
    if commit is None or not commit.unreadable.rows:
        return []
    check_unreadable(folder, commit)
    path = folder / UNREADABLE_FILE
    try:
        return _DECODER.decode_lines(path.read_bytes()[: commit.unreadable.bytes])
    except (OSError, msgspec.MsgspecError) as error:
        msg = f"{path} can't be read ({error}): let this user read it, or restore it from a backup"
        raise ArchiveError(msg) from error


def check_unreadable(folder: Path, commit: Commit) -> None:
    """Compare the file with its committed length.

    Raises:
        ArchiveError: it is missing or shorter.
    """
    path = folder / UNREADABLE_FILE
    found = _size(path)
    if found < commit.unreadable.bytes:
        msg = (
            f"{path} has {found} bytes, and {commit.unreadable.bytes} were written: it was cut or removed by something "
            "else; restore it from a backup"
        )
        raise ArchiveError(msg)


def cut_back_unreadable(folder: Path, commit: Commit) -> None:
    """Take away what an interrupted run wrote beyond its last commit.

    Raises:
        ArchiveError: it can't be cut.
    """
    path = folder / UNREADABLE_FILE
    if _size(path) > commit.unreadable.bytes:
        try:
            with path.open("r+b") as file:
                file.truncate(commit.unreadable.bytes)
        except OSError as error:
            raise disk_trouble("cutting back", path, error) from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

"""What of the archive counts: the commit file, the day files' committed lengths, and the lock of the one writer.

A row is archived once `commit.json` says so; all bytes beyond the lengths it names are cut back before more is
written. No Kafka and no CSV here. The writer and the reader call it.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Final

import msgspec

from velib_dagster.archive.errors import ArchiveError, ArchiveHeldError, disk_trouble
from velib_dagster.events.records import Void
from velib_dagster.files import sync_folder, write_atomically
from velib_dagster.locks import HeldError, hold

COMMIT_FILE: Final = "commit.json"
LOCK_FILE: Final = ".lock"
_DAY_FILE: Final = re.compile(r"\d{4}-\d{2}-\d{2}\.csv")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Which topic of which Kafka the archive is made from: offsets mean nothing in another."""

    topic: str
    cluster_id: str
    topic_id: str


class FileLength(msgspec.Struct, frozen=True):
    """How much of a day file is committed: bytes, header included, and rows."""

    bytes: int
    rows: int


class Commit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """State of the archive: every record below `next_offset` is in `files` once, and nothing else is.

    `through` is the latest end of an archived spell. `timezone` decides which day a spell belongs to. `poll` is the
    newest poll (by the records' header) whose spells are archived, all of them: what comes of it or of an earlier one
    behind `next_offset` is there already. `unreadable` is the length of the file of records that could not be read
    (`unreadable.py`), and `unreadable_in_a_row` how many of them came just before `next_offset`. `voids` is what
    of a clock that was ahead has been taken out. `replacing` names days whose file of that length is still `new_path`,
    on its way to its place.
    """

    source: Source
    timezone: str
    next_offset: int
    through: datetime | None = None
    poll: str | None = None
    files: dict[date, FileLength] = {}
    replacing: tuple[date, ...] = ()
    unreadable: FileLength = FileLength(0, 0)
    unreadable_in_a_row: int = 0
    voids: tuple[Void, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of the whole archive."""
        return sum(length.rows for length in self.files.values())


def day_path(folder: Path, day: date) -> Path:
    """The file of one day of the feed's time zone."""
    return folder / f"{day.isoformat()}.csv"


def new_path(folder: Path, day: date) -> Path:
    """The file that is to take the place of a day's."""
    return folder / f"{day.isoformat()}.csv.new"


def committed_path(folder: Path, day: date, commit: Commit) -> Path:
    """Where the committed file of a day is."""
    new = new_path(folder, day)
    return new if day in commit.replacing and new.exists() else day_path(folder, day)


def finish_replacing(folder: Path, commit: Commit) -> Commit:
    """Bring new files of days to their places, as far as an interrupted run left it; returns the state after that.

    Raises:
        ArchiveError: a file can't be moved.
    """
    if not commit.replacing:
        return commit
    for day in commit.replacing:
        new = new_path(folder, day)
        try:
            if new.exists():
                new.replace(day_path(folder, day))
        except OSError as error:
            raise disk_trouble("replacing", day_path(folder, day), error) from error
    done = msgspec.structs.replace(commit, replacing=())
    write_commit(folder, done)
    return done


def read_commit(folder: Path) -> Commit | None:
    """The archive's state, or None where nothing was ever committed.

    Raises:
        ArchiveError: the commit file can't be read, or it is missing beside day files.
    """
    path = folder / COMMIT_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        found = day_files(folder)
        if path.exists():  # the first writer began in between
            return read_commit(folder)
        if found:
            msg = (
                f"{path} is missing, but {folder} holds {len(found)} day files ({found[0].name} …): which rows "
                "count can't be known. Restore commit.json from a backup, or move the day files away and archive anew"
            )
            raise ArchiveError(msg) from None
        return None
    except OSError as error:
        msg = f"{path} can't be read ({error.strerror}): let this user read it"
        raise ArchiveError(msg) from error
    try:
        return msgspec.json.decode(content, type=Commit)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = (
            f"{path} is damaged ({error}): restore it from a backup, "
            "or move the archive folder away and archive anew from what Kafka still holds"
        )
        raise ArchiveError(msg) from error


def write_commit(folder: Path, commit: Commit) -> None:
    """Make the state count, durably. The day files' data must be on disk before."""
    try:
        sync_folder(folder)
        write_atomically(folder / COMMIT_FILE, msgspec.json.format(msgspec.json.encode(commit), indent=1))
    except OSError as error:
        raise disk_trouble("writing", folder / COMMIT_FILE, error) from error


def day_files(folder: Path) -> list[Path]:
    """Files named like a day, committed or not, in order."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _is_day_file(path))


def _is_day_file(path: Path) -> bool:
    if not _DAY_FILE.fullmatch(path.name):
        return False
    try:
        date.fromisoformat(path.stem)
    except ValueError:
        return False
    return True


def check_lengths(folder: Path, commit: Commit) -> None:
    """Nothing committed may be missing.

    Raises:
        ArchiveError: a day file is gone, or shorter than committed.
    """
    for day, length in commit.files.items():
        path = committed_path(folder, day, commit)
        try:
            found = path.stat().st_size
        except FileNotFoundError:
            msg = f"{path} is missing, and {length.rows} archived rows with it: restore it from a backup"
            raise ArchiveError(msg) from None
        if found < length.bytes:
            msg = (
                f"{path} has {found} bytes, and {length.bytes} were archived: it was cut or changed by something "
                "else; restore it from a backup"
            )
            raise ArchiveError(msg)


def cut_back(folder: Path, commit: Commit, header: bytes) -> None:
    """Take away what an interrupted run wrote beyond its last commit: bytes of day files, and new day files.

    Raises:
        ArchiveError: a file named like a day was not made by the archive (it starts otherwise than `header`).
    """
    for path in day_files(folder):
        length = commit.files.get(date.fromisoformat(path.stem))
        try:
            if length is None:
                _remove_uncommitted(path, header)
            elif path.stat().st_size > length.bytes:
                os.truncate(path, length.bytes)
        except OSError as error:
            raise disk_trouble("cutting back", path, error) from error


def _remove_uncommitted(path: Path, header: bytes) -> None:
    with path.open("rb") as file:
        start = file.read(len(header))
    if not header.startswith(start):
        msg = f"{path} is not a file of this archive (its header is another): move it elsewhere"
        raise ArchiveError(msg)
    path.unlink()


def append(path: Path, data: bytes) -> None:
    """Add bytes to a day file; they count from the next commit on."""
    try:
        with path.open("ab", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
    except OSError as error:
        raise disk_trouble("writing", path, error) from error


def sync_file(path: Path) -> None:
    """Wait until the file's data is on disk."""
    try:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise disk_trouble("writing", path, error) from error


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the archive for this process alone.

    Raises:
        ArchiveHeldError: another writer holds it; the message says which process, since when.
    """
    path = folder / LOCK_FILE
    try:
        lock = hold(path)
    except HeldError as holder:
        msg = f"{folder} is being written by {holder}: one writer at a time; wait for it, or stop it"
        raise ArchiveHeldError(msg) from None
    except OSError as error:
        raise disk_trouble("opening", path, error) from error
    with lock:
        yield

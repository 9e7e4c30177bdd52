"""Recorded answers in a folder: which there are, when each was taken, and their bytes, read once and in order.

Files `.json`, `.json.gz` and the members of `.tar.xz`, `.tar.gz`, `.tgz`, `.tar`, at the top of the folder and one
level below. No HTTP here: `replay.py` serves them.
"""

import gzip
import lzma
import re
import tarfile
import zlib
from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from velib_dagster.feed.answers import ANSWER, STATION_INFORMATION, STATION_STATUS
from velib_dagster.feed.errors import RecordingError

PARIS: Final = ZoneInfo("Europe/Paris")
_UTC_TIME: Final = re.compile(r"(\d{8})T(\d{6})Z")
_LOCAL_TIME: Final = re.compile(r"(\d{8})[_-](\d{6})(?!\d)")
_ARCHIVES: Final = (".tar.xz", ".tar.gz", ".tgz", ".tar")
_FILES: Final = (".json", ".json.gz")
_UNREADABLE: Final = (OSError, EOFError, tarfile.TarError, lzma.LZMAError, zlib.error)


@dataclass(frozen=True)
class Part:
    """Where one recorded answer lies: a file, or the `index`-th member of an archive."""

    path: Path
    index: int
    name: str


@dataclass(frozen=True)
class Recording:
    """What one recorded poll brought: its time (UTC) and its answers by role."""

    time: datetime
    name: str
    parts: dict[str, Part] = field(hash=False)


def list_recordings(folder: Path, zone: ZoneInfo = PARIS) -> list[Recording]:
    """The recordings of a folder in the order of their times, the same time twice included.

    A name with `20241107T074501Z` is UTC; one with `20241107_084501` is local time in `zone`. The hour that an
    autumn night has twice is its second pass where an archive's members went back in local time before, else its first.
    GBFS is recorded as names with `station_status` and `station_information`; a status goes with the information
    of the same time, else with the last one before it, else with the first. Names without a time are left out.

    Raises:
        RecordingError: the folder is none, has no recording, or has a file that can't be read.
    """
    if not folder.is_dir():
        msg = f"{folder} is no folder"
        raise RecordingError(msg)
    answers: list[Recording] = []
    status: list[Recording] = []
    information: list[tuple[datetime, Part]] = []
    for path in _files(folder):
        for part, time in _times(_parts(path), zone):
            if STATION_INFORMATION in part.name:
                information.append((time, part))
            elif STATION_STATUS in part.name:
                status.append(Recording(time, part.name, {STATION_STATUS: part}))
            else:
                answers.append(Recording(time, part.name, {ANSWER: part}))
    found = answers + _joined(status, information)
    if not found:
        msg = (
            f"{folder} has no recording: expected names like velib_data_20241107_084501.json or "
            f"20241107T074501Z.json, as .json, .json.gz or members of {', '.join(_ARCHIVES)}"
        )
        raise RecordingError(msg)
    return sorted(found, key=lambda recording: recording.time)


class RecordingReader:
    """Bytes of recordings. Reading them in their listed order unpacks each archive once; another order works, slowly.

    Used by one thread at a time.
    """

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self._wanted: dict[Path, list[int]] = {}
        for recording in recordings:
            for part in recording.parts.values():
                self._wanted.setdefault(part.path, []).append(part.index)
        self._open: dict[Path, _ArchiveReader] = {}

    def read(self, recording: Recording) -> dict[str, bytes]:
        """The recorded answers by role.

        Raises:
            RecordingError: one can't be read.
        """
        return {role: self._read(part) for role, part in recording.parts.items()}

    def close(self) -> None:
        """Close the archives that are open."""
        for reader in self._open.values():
            reader.close()
        self._open.clear()

    def _read(self, part: Part) -> bytes:
        if not _is_archive(part.path):
            return _read_file(part.path)
        reader = self._open.get(part.path)
        if reader is None or not reader.can_still_read(part.index):
            reader = self._open[part.path] = _ArchiveReader(part.path, self._wanted[part.path])
        data = reader.read(part.index)
        if reader.finished:
            self._open.pop(part.path).close()
        return data


class _ArchiveReader:
    """One pass through an archive. A member that is passed by before it is asked for is kept until then."""

    def __init__(self, path: Path, wanted: Sequence[int]) -> None:
        self._path = path
        self._left = set(wanted)
        self._kept: dict[int, bytes] = {}
        self._position = -1
        self._members = _members(path)
        self._reusable = {index for index in self._left if wanted.count(index) > 1}

    @property
    def finished(self) -> bool:
        return not self._left

    def can_still_read(self, index: int) -> bool:
        return index in self._kept or index > self._position

    def read(self, index: int) -> bytes:
        while self._position < index:
            try:
                self._position, _, body = next(self._members)
            except StopIteration:
                msg = f"{self._path} has changed: member {index} is gone"
                raise RecordingError(msg) from None
            if self._position in self._left:
                self._kept[self._position] = body()
        if index in self._reusable:
            return self._kept[index]
        self._left.discard(index)
        return self._kept.pop(index)

    def close(self) -> None:
        self._members.close()


def _files(folder: Path) -> list[Path]:
    """Files that may hold recordings, by name, the folder's own before those one level below."""
    try:
        folders = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
        return [
            path
            for place in folders
            for path in sorted(place.iterdir())
            if path.name.endswith(_ARCHIVES + _FILES) and path.is_file() and not path.name.startswith(".")
        ]
    except OSError as error:
        msg = f"{error.filename or folder} can't be listed: {error.strerror}"
        raise RecordingError(msg) from error


def _parts(path: Path) -> Iterator[Part]:
    if not _is_archive(path):
        yield Part(path, 0, path.name)
        return
    for index, name, _ in _members(path):
        if name.endswith(_FILES):
            yield Part(path, index, name)


def _members(path: Path) -> Generator[tuple[int, str, "_Body"]]:
    """Members of an archive in one forward pass: index, file name, and their bytes if asked for before the next one."""
    try:
        # Unpacked here rather than by tarfile: its own streams take a cut archive for one that ends there.
        compressed = _unpacked(path)
        with compressed, tarfile.open(fileobj=compressed, mode="r|") as tar:
            for index, member in enumerate(tar):
                if member.isfile():
                    yield index, Path(member.name).name, _Body(tar, member, path)
            while compressed.read(2**20):
                pass
    except _UNREADABLE as error:
        msg = f"{path} can't be read as an archive ({error}): restore it, or move it away"
        raise RecordingError(msg) from error


@dataclass(frozen=True)
class _Body:
    """Bytes of a member of an archive that is being passed through."""

    tar: tarfile.TarFile
    member: tarfile.TarInfo
    path: Path

    def __call__(self) -> bytes:
        try:
            file = self.tar.extractfile(self.member)
            data = file.read() if file is not None else b""
            return gzip.decompress(data) if self.member.name.endswith(".gz") else data
        except _UNREADABLE as error:
            msg = f"{self.path}: {self.member.name} can't be read ({error}): restore the archive, or move it away"
            raise RecordingError(msg) from error


def _unpacked(path: Path) -> lzma.LZMAFile | gzip.GzipFile | BufferedReader:
    if path.name.endswith(".xz"):
        return lzma.open(path)
    if path.name.endswith((".gz", ".tgz")):
        return gzip.open(path)
    return path.open("rb")


def _read_file(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    except _UNREADABLE as error:
        msg = f"{path} can't be read ({error}): restore it, or move it away"
        raise RecordingError(msg) from error


def _is_archive(path: Path) -> bool:
    return path.name.endswith(_ARCHIVES)


def _times(parts: Iterator[Part], zone: ZoneInfo) -> Iterator[tuple[Part, datetime]]:
    """Parts whose name carries a time, with that time; `parts` are those of one file, in its order."""
    before: datetime | None = None
    for part in parts:
        try:
            if found := _UTC_TIME.search(part.name):
                yield part, datetime.strptime("".join(found.groups()), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
                continue
            if not (found := _LOCAL_TIME.search(part.name)):
                continue
            local = datetime.strptime("".join(found.groups()), "%Y%m%d%H%M%S").replace(tzinfo=zone)
        except ValueError:
            msg = f"{part.path}: the name {part.name} carries no possible time"
            raise RecordingError(msg) from None
        time = local.astimezone(UTC)
        later = local.replace(fold=1).astimezone(UTC)
        if before is not None and time < before <= later:
            time = later
        before = time
        yield part, time


def _joined(status: list[Recording], information: list[tuple[datetime, Part]]) -> list[Recording]:
    ordered = sorted(information, key=lambda pair: pair[0])
    times = [time for time, _ in ordered]
    found: list[Recording] = []
    for recording in status:
        if ordered:
            _, part = ordered[max(bisect_right(times, recording.time) - 1, 0)]
            found.append(Recording(recording.time, recording.name, {**recording.parts, STATION_INFORMATION: part}))
        else:
            found.append(recording)
    return found

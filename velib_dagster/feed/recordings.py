"""Recorded answers in a folder: which there are, when each was taken, and their bytes, read once and in order.

Files `.json`, `.json.gz` and the members of `.tar.xz`, `.tar.gz`, `.tgz`, `.tar`, at the top of the folder and one
level below. No HTTP here: `replay.py` serves them.
"""

import gzip
import lzma
import tarfile
import zlib
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from velib_dagster.feed import names
from velib_dagster.feed.answers import (
    ANSWER,
    STATION_INFORMATION,
    STATION_STATUS,
    SYSTEM_REGIONS,
    VEHICLE_TYPES,
    Answer,
)
from velib_dagster.feed.decode import shape_of
from velib_dagster.feed.errors import RecordingError

PARIS: Final = ZoneInfo("Europe/Paris")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BESIDE: Final = (STATION_INFORMATION, VEHICLE_TYPES, SYSTEM_REGIONS)
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


def list_recordings(folder: Path, zone: ZoneInfo = PARIS, left_out: list[str] | None = None) -> list[Recording]:
    """The recordings of a folder in the order of their times, the same time twice included.

    Times are read from names (`names.py`), a file's folder included where its own name has none: with a Z or an offset
    as they say, else as local time in `zone`. The hour
    that an autumn night has twice is its second pass where an archive's members went back in local time before, else
    its first. Which of GBFS's documents a file is its name tells, else the rows of the first file named alike. A status
    goes with the information of the same time, else with the last one before it, else with the first; one without a
    time goes with every status that has no other. Names of other files without a time are added to `left_out`.

    Raises:
        RecordingError: the folder is none, has no recording, or has a file that can't be read.
    """
    if not folder.is_dir():
        msg = f"{folder} is no folder"
        raise RecordingError(msg)
    answers: list[Recording] = []
    status: list[Recording] = []
    beside: dict[str, list[tuple[datetime, Part]]] = {role: [] for role in _BESIDE}
    untimed: dict[str, list[Part]] = {role: [] for role in _BESIDE}
    outside: list[str] = [] if left_out is None else left_out
    roles: dict[tuple[Path, str], str] = {}
    for path in _files(folder):
        above = path.parent.name if path.parent != folder else ""
        for part, time, role in _read_names(_parts(path), zone, roles, above):
            if time is None:
                if role in untimed:
                    untimed[role].append(part)
                else:
                    outside.append(part.name)
            elif role in beside:
                beside[role].append((time, part))
            elif role == STATION_STATUS:
                status.append(Recording(time, part.name, {STATION_STATUS: part}))
            else:
                answers.append(Recording(time, part.name, {ANSWER: part}))
    for role, parts in untimed.items():
        outside += [part.name for part in (parts if beside[role] or not status else parts[1:])]
        if parts and not beside[role]:
            beside[role].append((status[0].time if status else _EPOCH, parts[0]))
    found = answers + _joined(status, beside)
    if not found:
        msg = (
            f"{folder} has no recording: expected names like velib_data_20241107_084501.json, "
            f"20241107T074501Z.json or station_status_2024-11-07-08-45.json, as .json, .json.gz or members of "
            f"{', '.join(_ARCHIVES)}"
        )
        raise RecordingError(msg + (f"; {len(outside)} files have no time in their names" if outside else ""))
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


def _parts(path: Path) -> Iterator[tuple[Part, Callable[[], bytes]]]:
    """What a file holds, each with a way to its bytes that works until the next one is asked for."""
    if not _is_archive(path):
        yield Part(path, 0, path.name), lambda: _read_file(path)
        return
    for index, name, body in _members(path):
        if name.endswith(_FILES):
            yield Part(path, index, name), body


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


def _read_names(
    parts: Iterator[tuple[Part, Callable[[], bytes]]], zone: ZoneInfo, roles: dict[tuple[Path, str], str], above: str
) -> Iterator[tuple[Part, datetime | None, str]]:
    """Parts with the time that their name carries, None where it carries none, and their role.

    `parts` are those of one file, in its order; `roles` are those of names alike in one folder or archive; `above` is
    the name of the file's folder, where it doesn't lie at the top.
    """
    before: datetime | None = None
    for part, body in parts:
        alike = (part.path if _is_archive(part.path) else part.path.parent), names.without_numbers(part.name)
        if alike not in roles:
            roles[alike] = names.role_in(part.name) or _role_of(part, body)
        try:
            read = names.time_in(part.name, zone) or names.time_in(f"{above}_{part.name}", zone)
        except ValueError:
            msg = f"{part.path}: the name {part.name} carries no possible time"
            raise RecordingError(msg) from None
        if read is None:
            yield part, None, roles[alike]
            continue
        time, is_local = read
        if is_local:
            later = time.astimezone(zone).replace(fold=1).astimezone(UTC)
            if before is not None and time < before <= later:
                time = later
            before = time
        yield part, time, roles[alike]


def _role_of(part: Part, body: Callable[[], bytes]) -> str:
    """What a recorded answer is by its rows; one that can't be read now is told when its turn comes."""
    try:
        words, _ = shape_of(Answer(role=ANSWER, url=part.name, status=200, headers={}, body=body()))
    except RecordingError:
        return ANSWER
    return words.removeprefix("GBFS ") if words.startswith("GBFS ") else ANSWER


def _joined(status: list[Recording], beside: dict[str, list[tuple[datetime, Part]]]) -> list[Recording]:
    """Each status with the other documents of its time."""
    found: list[Recording] = []
    ordered = {role: sorted(parts, key=lambda pair: pair[0]) for role, parts in beside.items() if parts}
    times = {role: [time for time, _ in parts] for role, parts in ordered.items()}
    for recording in status:
        joined = dict(recording.parts)
        for role, parts in ordered.items():
            joined[role] = parts[max(bisect_right(times[role], recording.time) - 1, 0)][1]
        found.append(Recording(recording.time, recording.name, joined))
    return found

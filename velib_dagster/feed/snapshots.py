"""The raw store: every poll's answers, verbatim and durable, under names that sort in the order of the polls.

Files only, no meaning: `<root>/YYYY-MM-DD/<name>.<role>.gz` and, written last, `<name>.json`; a snapshot exists once
that last file does. Names and days begin with the letters of their era where a clock was ahead once (`name_of`).
Written by `poll.py`, read by the producer; several processes may add at once.
"""

import fcntl
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import msgspec

from velib_dagster.feed.answers import Answer, Fetched, Snapshot
from velib_dagster.feed.errors import CorruptSnapshotError, SnapshotError
from velib_dagster.feed.poll_time import HISTORY, Dated, PollTime, Reading, is_ahead, provisional_time, time_of_poll
from velib_dagster.files import sync_folder, write_atomically

_NAME: Final = re.compile(r"(z*[a-y]?)(\d{8}T\d{6}Z)-([a-z]?)(\d+)")
_DAY: Final = re.compile(r"(z*[a-y]?)(\d{4}-\d{2}-\d{2})")
_TIME: Final = "%Y%m%dT%H%M%SZ"


class _AnswerMeta(msgspec.Struct, frozen=True, kw_only=True):
    role: str
    url: str
    status: int
    headers: dict[str, str]
    bytes: int
    truncated: bool = False


class _Meta(msgspec.Struct, frozen=True, kw_only=True):
    poll_time: datetime
    fetched_at: datetime
    answers: tuple[_AnswerMeta, ...]
    error: str | None = None
    clock_offset_seconds: int | None = None
    quota_reset: datetime | None = None
    reading: Reading | None = None
    told: PollTime | None = None
    followed: tuple[str, ...] = ()


_META: Final = msgspec.json.Decoder(_Meta)


def name_of(time: datetime, number: int, era: str = "") -> str:
    """The name of the `number`-th snapshot of a second.

    A letter before numbers of two and more digits says how many digits follow, so that names sort as plain text
    however often the same second comes (a feed may repeat its Date for hours). `era` goes before the time: letters,
    which sort after digits, from the first poll on after a clock that was ahead, so that names need not stay ahead.
    """
    digits = str(number)
    letter = "" if len(digits) == 1 else chr(ord("a") + len(digits) - 2)
    return f"{era}{time.astimezone(UTC):{_TIME}}-{letter}{digits}"


def next_era(era: str) -> str:
    """The era after: "", a … y, z, za … zy, zz, …, which sort in this order before any digits."""
    rest = era.lstrip("z")
    if not rest:
        return f"{era}a"
    return era[:-1] + chr(ord(rest) + 1)


def time_and_number(name: str) -> tuple[datetime, int]:
    """The time and the number that a snapshot's name carries.

    Raises:
        SnapshotError: it isn't a name of this store.
    """
    _, time, number = _parts(name)
    return time, number


def _parts(name: str) -> tuple[str, datetime, int]:
    found = _NAME.fullmatch(name)
    if found is None:
        msg = f"{name!r} is no snapshot's name (20241107T074501Z-0)"
        raise SnapshotError(msg)
    return found[1], datetime.strptime(found[2], _TIME).replace(tzinfo=UTC), int(found[4])


class SnapshotStore:
    """Snapshots below one folder, which is made when the first one is added."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, fetched: Fetched) -> Snapshot:
        """Keep what one poll brought; on return it is on disk under a name greater than every other.

        The name tells the poll time, unless a snapshot as late as that is already there: then the newest name's time
        is counted on, so that names strictly increase even where poll times don't. What the clocks say is judged by the
        polls that are kept (`poll_time.py`). A time that isn't confirmed gives
        no name, since later ones would have to follow it; and where the newest name turns out to be ahead of what time
        it is, a new era begins.

        Raises:
            SnapshotError: it can't be written; nothing of it is left behind.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with self._locked():
                return self._write(fetched)
        except OSError as error:
            msg = (
                f"the poll of {fetched.poll_time:%Y-%m-%d %H:%M:%S} UTC can't be kept below {self.root} "
                f"({error.strerror or error}): free space there or make it writable; nothing of it is left behind"
            )
            raise SnapshotError(msg) from error

    def names_after(self, name: str | None) -> list[str]:
        """Names of the snapshots after `name` (all for None), in order; lists only the folders from its day on."""
        first_day = "" if name is None else _day(name)
        names: list[str] = []
        for day in self._days():
            if day >= first_day:
                names.extend(self._names_of(day))
        return sorted(names) if name is None else sorted(found for found in names if found > name)

    def newest(self) -> str | None:
        """Name of the newest snapshot, None where there is none."""
        return next(reversed(self.newest_names(1)), None)

    def newest_names(self, count: int) -> list[str]:
        """Names of the newest snapshots, at most `count`, in order; lists no more folders than it needs."""
        found: list[str] = []
        for day in reversed(self._days()):
            found = sorted(self._names_of(day))[-(count - len(found)) :] + found
            if len(found) >= count:
                break
        return found

    def history(self, count: int = HISTORY) -> list[Dated]:
        """The times and clocks of the newest snapshots, oldest first; one whose description is damaged is left out."""
        return self.dated(self.newest_names(count))

    def dated(self, names: Iterable[str]) -> list[Dated]:
        """The times and clocks of the snapshots named; one whose description is damaged is left out."""
        found: list[Dated] = []
        for name in names:
            try:
                meta = self._meta(name)
            except CorruptSnapshotError:  # its reader says so; a poll must not be lost for it
                continue
            found.append(Dated(time=meta.poll_time, reading=meta.reading, told=meta.told))
        return found

    def read(self, name: str) -> Snapshot:
        """The snapshot of that name, as it was added.

        Raises:
            CorruptSnapshotError: a file of it is missing or not what was written.
            SnapshotError: the disk doesn't give it now; it may later.
        """
        meta = self._meta(name)
        answers = tuple(
            Answer(
                role=kept.role,
                url=kept.url,
                status=kept.status,
                headers=kept.headers,
                body=_unzip(self._body_path(name, kept.role), kept.bytes),
                truncated=kept.truncated,
            )
            for kept in meta.answers
        )
        return Snapshot(
            name=name,
            poll_time=meta.poll_time,
            fetched_at=meta.fetched_at,
            answers=answers,
            error=meta.error,
            clock_offset_seconds=meta.clock_offset_seconds,
            quota_reset=meta.quota_reset,
            reading=meta.reading,
            told=meta.told,
            followed=meta.followed,
        )

    def quota_reset(self, name: str) -> datetime | None:
        """When the quota opens again by what that poll was told, None if it wasn't spent.

        Raises:
            CorruptSnapshotError: the snapshot's description is missing or not what was written.
        """
        return self._meta(name).quota_reset

    def fetched_at(self, name: str) -> datetime:
        """When that poll was made, by this machine's clock; of a damaged snapshot, when its file was written."""
        try:
            return self._meta(name).fetched_at
        except CorruptSnapshotError:
            try:
                return datetime.fromtimestamp(self.path(name).stat().st_mtime, UTC)
            except OSError:
                return time_and_number(name)[0]

    def path(self, name: str) -> Path:
        """The file that describes a snapshot; its bodies lie beside it."""
        return self.root / _day(name) / f"{name}.json"

    def times(self) -> Counter[datetime]:
        """How many snapshots there are of each poll time; of a damaged one, the time that its name tells."""
        found: Counter[datetime] = Counter()
        for name in self.names_after(None):
            time, number = time_and_number(name)
            if number:  # only a name that had to count on may tell another time than the poll's
                with suppress(CorruptSnapshotError):
                    time = self._meta(name).poll_time
            found[time] += 1
        return found

    def remove_before(self, day: date) -> int:
        """Delete the snapshots of the days (UTC, by name) before `day` and return how many.

        The newest snapshot's day stays, however old: names go on from it. Days of an earlier era that lie after the
        newest snapshot's were never real: they go with the day on which the clock was set right.
        """
        newest = self.newest()
        if newest is None:
            return 0
        era, last, _ = _parts(newest)
        began = min(date_of for folder_era, date_of in map(_era_and_day, self._days()) if folder_era == era)
        removed = 0
        for folder in self._days():
            folder_era, date_of = _era_and_day(folder)
            unreal = folder_era != era and date_of > last.date()
            if folder == _day(newest) or (began if unreal else date_of) >= day:
                continue
            with self._locked():
                for path in sorted((self.root / folder).iterdir(), key=lambda path: path.suffix != ".json"):
                    removed += path.suffix == ".json"
                    path.unlink()
                (self.root / folder).rmdir()
        return removed

    def _write(self, fetched: Fetched) -> Snapshot:
        if fetched.reading is not None:
            # Judged anew: between the request and this moment another process may have kept a poll.
            before = self.history()
            told = time_of_poll(fetched.reading, before)
            fetched = msgspec.structs.replace(fetched, told=told, poll_time=provisional_time(told, before))
        name = self._next_name(fetched)
        folder = self.root / _day(name)
        if not folder.exists():
            folder.mkdir()
            sync_folder(self.root)
        written: list[Path] = []
        try:
            for answer in fetched.answers:
                path = self._body_path(name, answer.role)
                written.append(path)
                write_atomically(path, gzip.compress(answer.body, compresslevel=6, mtime=0))
            written.append(self.path(name))
            write_atomically(self.path(name), msgspec.json.format(msgspec.json.encode(_meta_of(fetched)), indent=1))
        except OSError:
            for path in reversed(written):
                path.unlink(missing_ok=True)
            raise
        return Snapshot(name=name, **{field: getattr(fetched, field) for field in Fetched.__struct_fields__})

    def _next_name(self, fetched: Fetched) -> str:
        newest, told = self.newest(), fetched.told
        doubtful = told is not None and not told.confirmed
        if newest is None:
            return name_of(min(fetched.poll_time, fetched.fetched_at) if doubtful else fetched.poll_time, 0)
        era, newest_time, number = _parts(newest)
        if told is not None and told.confirmed and is_ahead(newest_time, told.now):
            return name_of(fetched.poll_time, 0, next_era(era))
        if fetched.poll_time > newest_time and not doubtful:
            return name_of(fetched.poll_time, 0, era)
        return name_of(newest_time, number + 1, era)

    def _meta(self, name: str) -> _Meta:
        path = self.path(name)
        try:
            return _META.decode(path.read_bytes())
        except FileNotFoundError:
            raise CorruptSnapshotError(path, "it is missing") from None
        except OSError as error:
            raise _unreadable(path, error) from error
        except (RecursionError, msgspec.MsgspecError, ValueError) as error:
            raise CorruptSnapshotError(path, str(error)) from error

    def _body_path(self, name: str, role: str) -> Path:
        return self.root / _day(name) / f"{name}.{role}.gz"

    def _days(self) -> list[str]:
        return sorted(path.name for path in _listed(self.root) if _DAY.fullmatch(path.name))

    def _names_of(self, day: str) -> list[str]:
        # A day that was listed may be gone: retention removes days.
        paths = _listed(self.root / day)
        return [path.stem for path in paths if path.suffix == ".json" and _NAME.fullmatch(path.stem)]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.root / ".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _listed(folder: Path) -> list[Path]:
    """What a folder holds, nothing where it doesn't exist."""
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        msg = f"{folder} can't be listed ({error.strerror}): make it a folder that this user may read"
        raise SnapshotError(msg) from error


def _meta_of(fetched: Fetched) -> _Meta:
    return _Meta(
        poll_time=fetched.poll_time,
        fetched_at=fetched.fetched_at,
        answers=tuple(
            _AnswerMeta(
                role=answer.role,
                url=answer.url,
                status=answer.status,
                headers=answer.headers,
                bytes=len(answer.body),
                truncated=answer.truncated,
            )
            for answer in fetched.answers
        ),
        error=fetched.error,
        clock_offset_seconds=fetched.clock_offset_seconds,
        quota_reset=fetched.quota_reset,
        reading=fetched.reading,
        told=fetched.told,
        followed=fetched.followed,
    )


def _day(name: str) -> str:
    era, time, _ = _parts(name)
    return f"{era}{time:%Y-%m-%d}"


def _era_and_day(folder: str) -> tuple[str, date]:
    found = _DAY.fullmatch(folder)
    if found is None:
        msg = f"{folder!r} is no folder of a day"
        raise SnapshotError(msg)
    return found[1], date.fromisoformat(found[2])


def _unreadable(path: Path, error: OSError) -> SnapshotError:
    """The words for a disk that doesn't give a file now; what it holds is not known to be damaged."""
    return SnapshotError(f"{path} can't be read ({error.strerror or error}): let this user read it, or mend the disk")


def _unzip(path: Path, size: int) -> bytes:
    try:
        body = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise CorruptSnapshotError(path, "it is missing") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CorruptSnapshotError(path, str(error)) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(body) != size:
        raise CorruptSnapshotError(path, f"{len(body)} bytes instead of {size}")
    return body

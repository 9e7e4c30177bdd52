"""The archive as one CSV file for other people's tools: spells, or one row a station and poll; plain or for Excel.

It reads through `reader.py` alone (and the polls topic for rows by poll) and writes nothing but the target, which
appears whole or not at all. Called by `velib export`.
"""

import contextlib
import csv
import os
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Final, Literal

import msgspec

from velib_dagster.archive.errors import ArchiveError, disk_trouble
from velib_dagster.archive.polls import PollTimes, usable_poll_times
from velib_dagster.archive.reader import Days, committed_files, read_spells
from velib_dagster.archive.rows import LINE_END, utc_text
from velib_dagster.archive.spreadsheet import SHEET_ROWS, TOO_LONG, Value, cell
from velib_dagster.events.records import CSV_HEADER, Spell
from velib_dagster.files import sync_folder
from velib_dagster.settings import CREDIT, Settings

Rows = Literal["spells", "polls"]

_OF_THE_SPELL: Final = ("since", "until", "seconds")
POLLS_HEADER: Final = (
    "station_code",
    "poll_time",
    *(name for name in CSV_HEADER if name not in {"station_code", *_OF_THE_SPELL}),
)
"""Columns of an export by poll: those of a spell, with the poll's time in place of since, until and seconds."""
_TELL_EVERY: Final = 10_000


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written; `credit` is the line that must stand where the data is shown or passed on."""

    rows: int
    path: Path
    credit: str = CREDIT


def export(
    settings: Settings,
    target: Path,
    *,
    days: Days | None = None,
    station: str | None = None,
    rows: Rows = "spells",
    excel: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> Exported:
    """Write the archive, or some days or one station of it, to one CSV file, replacing it if it exists.

    `spells` gives one row a spell, in the order and columns of the archive. `polls` gives one row a station and
    usable poll within [since, until) of a spell, in the order of the spells. `excel` writes what a French Excel
    opens by a double click: semicolons, a byte order mark, and cells that stay what they are (`spreadsheet.py`);
    times are UTC in both. `on_progress` is told spells read, spells to read. `warn` is told, with `excel`, that the
    rows are more than a sheet holds: before the first row is written where their number is known by then.

    Raises:
        EmptyArchiveError: the archive has no row yet.
        KafkaAwayError: `polls`, and Kafka does not answer.
        ArchiveError: no row matches, polls no longer known, a malformed row, a target that can't be written or
            lies in the archive.
    """
    if target.absolute().parent.resolve() == settings.archive.resolve():
        msg = f"{target} lies in the archive itself, whose files only the archive writes: name a file elsewhere"
        raise ArchiveError(msg)
    warn_of_excel = warn if excel else None
    every_spell = rows == "spells" and station is None
    if warn_of_excel and every_spell and _archived_rows(settings, days) >= SHEET_ROWS:
        warn_of_excel(TOO_LONG)
    spells = _told(settings, days, station, on_progress)
    if rows == "polls":
        header, values = POLLS_HEADER, _poll_rows(spells, usable_poll_times(settings))
    else:
        header, values = CSV_HEADER, _spell_rows(spells)
    with _appearing_whole(target) as file:
        # Excel takes the file for Windows-1252 without the mark.
        file.write("\ufeff" if excel else "")
        text = cell if excel else _text
        out = csv.writer(file, delimiter=";" if excel else ",", lineterminator=LINE_END)
        out.writerow(header)
        count = 0
        for row in values:
            out.writerow([text(value) for value in row])
            count += 1
            if warn_of_excel and not every_spell and count == SHEET_ROWS:
                warn_of_excel(TOO_LONG)
        if count == 0:
            raise ArchiveError(_nothing(settings, days, station))
    return Exported(rows=count, path=target)


def _archived_rows(settings: Settings, days: Days | None) -> int:
    return sum(file.rows for file in committed_files(settings.archive, days))


def _told(
    settings: Settings, days: Days | None, station: str | None, on_progress: Callable[[int, int], None] | None
) -> Iterator[Spell]:
    """The spells asked for, telling now and then how many of all were read."""
    total = _archived_rows(settings, days)
    for done, spell in enumerate(read_spells(settings.archive, days), start=1):
        if on_progress is not None and (done % _TELL_EVERY == 0 or done == total):
            on_progress(done, total)
        if station is None or spell.station_code == station:
            yield spell


def _spell_rows(spells: Iterable[Spell]) -> Iterator[Iterable[Value]]:
    return (msgspec.structs.astuple(spell) for spell in spells)


def _poll_rows(spells: Iterable[Spell], polls: PollTimes) -> Iterator[Iterable[Value]]:
    """One row a station and usable poll p with since <= p < until."""
    times = polls.times
    for spell in spells:
        if not polls.whole and (not times or spell.since < times[0]):
            msg = (
                f"Kafka no longer knows the polls before {utc_text(times[0]) if times else 'now'}, and spells since "
                f"{utc_text(spell.since)} are asked for: export later --days, or spells"
            )
            raise ArchiveError(msg)
        fields = msgspec.structs.asdict(spell)
        for time in times[bisect_left(times, spell.since) : bisect_left(times, spell.until)]:
            fields["poll_time"] = time
            yield [fields[name] for name in POLLS_HEADER]


def _text(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return utc_text(value)
    return value if isinstance(value, str) else repr(value)


def _nothing(settings: Settings, days: Days | None, station: str | None) -> str:
    files = committed_files(settings.archive)
    asked = "" if station is None else f" of station {station}"
    if days is not None:
        asked += f" in the days {days[0] or '…'} to {days[1] or '…'}"
    return f"no row{asked}: the archive {settings.archive} has {files[0].day} to {files[-1].day}"


@contextlib.contextmanager
def _appearing_whole(target: Path) -> Iterator[IO[str]]:
    """A text file that takes the target's place when all went well, and leaves no trace otherwise."""
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except FileNotFoundError as error:
        msg = f"{target.parent} does not exist: make it, or name another file"
        raise ArchiveError(msg) from error
    except OSError as error:
        raise disk_trouble("writing", target, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="", buffering=1 << 20) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise disk_trouble("writing", target, error) from error
    finally:
        temporary.unlink(missing_ok=True)

"""Reading the archive: the one place where its files are opened, and only their committed bytes.

A writer may be appending at the same time: what `commit.json` does not name yet is not there. Statistics,
forecasts, pages and the export come through here; nothing is written, and Kafka is not needed.
"""

import csv
import io
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import pyarrow as pa
import pyarrow.csv

from velib_dagster.archive.commit import check_lengths, committed_path, read_commit
from velib_dagster.archive.errors import ArchiveError, EmptyArchiveError
from velib_dagster.archive.rows import parse_row
from velib_dagster.events.records import CSV_HEADER, Spell, columns

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

Days = tuple[date | None, date | None]
"""First and last day, both included; None leaves that end open. Days are days of the feed's time zone."""

_ARROW: Final = {
    str: pa.string(),
    float: pa.float64(),
    int: pa.int64(),
    bool: pa.bool_(),
    datetime: pa.timestamp("s", tz="UTC"),
}
SCHEMA: Final = pa.schema(
    [pa.field(column.name, _ARROW[column.type], nullable=column.nullable) for column in columns(Spell)]
)
"""Arrow schema of the archive, from the one definition of a spell."""


class DayFile(msgspec.Struct, frozen=True):
    """The committed part of one day's file: its first `length` bytes, header included, with `rows` rows."""

    day: date
    path: Path
    length: int
    rows: int


def committed_files(folder: Path, days: Days | None = None) -> list[DayFile]:
    """The archive's day files in order, each with its committed length; none where nothing is archived yet.

    Raises:
        ArchiveError: the commit file is damaged or missing, a day file is missing or shorter than committed.
    """
    commit = read_commit(folder)
    if commit is None:
        return []
    check_lengths(folder, commit)
    first, last = days or (None, None)
    return [
        DayFile(day, committed_path(folder, day, commit), length.bytes, length.rows)
        for day, length in sorted(commit.files.items())
        if (first is None or first <= day) and (last is None or day <= last)
    ]


def archived_through(folder: Path) -> datetime | None:
    """Latest end of an archived spell, None while there is none."""
    commit = read_commit(folder)
    return None if commit is None else commit.through


def read_spells(folder: Path, days: Days | None = None, station: str | None = None) -> Iterator[Spell]:
    """Archived spells in the order of the archive: day by day, as they ended within a day.

    Raises:
        EmptyArchiveError: there is no row yet.
        ArchiveError: a malformed row (file and line are named), or as `committed_files`.
    """
    _refuse_empty(folder)
    for file in committed_files(folder, days):
        for spell in spells_of(file):
            if station is None or spell.station_code == station:
                yield spell


def spells_table(folder: Path, days: Days | None = None) -> pa.Table:
    """Archived spells as an Arrow table of `SCHEMA`, one row a spell, in the order of the archive.

    Raises:
        EmptyArchiveError: there is no row yet.
        ArchiveError: a malformed row (file and line are named), or as `committed_files`.
    """
    _refuse_empty(folder)
    tables = [_table_of(file) for file in committed_files(folder, days)]
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


def _refuse_empty(folder: Path) -> None:
    commit = read_commit(folder)
    if commit is None or not commit.files:
        raise EmptyArchiveError(folder)


def spells_of(file: DayFile) -> Iterator[Spell]:
    """The committed spells of one day, in the order of the file.

    Raises:
        ArchiveError: a malformed row; file and line are named.
    """
    with io.TextIOWrapper(_open(file), encoding="utf-8", newline="") as text:
        rows = csv.reader(text, strict=True)
        line = 1
        try:
            header = next(rows, [])
            if tuple(header) != CSV_HEADER:
                msg = f"the header is {','.join(header)!r}"
                raise ValueError(msg)  # noqa: TRY301 - one place words all that is malformed
            line = rows.line_num + 1
            for fields in rows:
                yield parse_row(fields)
                line = rows.line_num + 1
        except (ValueError, csv.Error, msgspec.ValidationError) as error:
            msg = f"{file.path}, line {line}: {error}. The file was changed: restore it from a backup"
            raise ArchiveError(msg) from error


def _table_of(file: DayFile) -> pa.Table:
    try:
        with pa.PythonFile(_open(file), mode="r") as source:
            table = pa.csv.read_csv(
                source,
                read_options=pa.csv.ReadOptions(use_threads=False),
                parse_options=pa.csv.ParseOptions(newlines_in_values=True),
                convert_options=pa.csv.ConvertOptions(
                    column_types=SCHEMA,
                    null_values=[""],
                    strings_can_be_null=False,
                    true_values=["true"],
                    false_values=["false"],
                    timestamp_parsers=[pa.csv.ISO8601],
                ),
            )
        if tuple(table.column_names) != CSV_HEADER:
            return _name_malformed(file, f"the header is {table.column_names}")
        empty = [field.name for field in SCHEMA if not field.nullable and table.column(field.name).null_count > 0]
        if empty or table.num_rows != file.rows:
            return _name_malformed(file, f"no value in {empty}" if empty else f"{table.num_rows} rows")
        return table.cast(SCHEMA)
    except pa.ArrowInvalid as error:
        return _name_malformed(file, str(error))


def _name_malformed(file: DayFile, why: str) -> pa.Table:
    """Arrow names neither file nor line: the row reader finds the first malformed row and raises."""
    for _ in spells_of(file):
        pass
    msg = f"{file.path}: {why}. The file was changed: restore it from a backup"
    raise ArchiveError(msg)


class _Committed(io.RawIOBase):
    """The first `length` bytes of a day file, as a file."""

    def __init__(self, file: DayFile) -> None:
        super().__init__()
        self._rest = file.length
        self._file = file.path.open("rb", buffering=0)

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        """Fill the buffer as far as committed bytes go."""
        count = self._file.readinto(memoryview(buffer)[: self._rest])
        self._rest -= count
        return count

    def close(self) -> None:
        """Close the day file."""
        self._file.close()
        super().close()


def _open(file: DayFile) -> io.BufferedReader:
    try:
        return io.BufferedReader(_Committed(file), 1 << 20)
    except OSError as error:
        msg = f"{file.path} can't be read ({error.strerror}): let this user read it, or restore it from a backup"
        raise ArchiveError(msg) from error

r"""The text of one archive row: a spell to a CSV line and back.

RFC 4180 with CRLF line ends. Python's csv, DuckDB, PostgreSQL and Spark read it without an option; pandas needs
`dtype={'station_code': str}` and Arrow `column_types={'station_code': pa.string()}`, since they take codes for numbers
and drop leading zeros; a name that holds a line break needs Spark's `multiLine`, and one with quotes its `escape='"'`.
Times are UTC like 2024-11-07T08:00:00Z, booleans true and false, an unknown value is an empty field.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec

from velib_dagster.events.records import CSV_HEADER, Spell, columns

LINE_END: Final = "\r\n"
HEADER_LINE: Final = (",".join(CSV_HEADER) + LINE_END).encode()
"""The first line of each day file."""

_NULLABLE: Final = frozenset(column.name for column in columns(Spell) if column.nullable)
_MUST_BE_QUOTED: Final = re.compile(r'[",\r\n]')


@lru_cache(maxsize=16_384)
def quoted(text: str) -> str:
    """A text as one CSV field: in quotes only where it holds a quote, a comma or a line break."""
    if _MUST_BE_QUOTED.search(text) is None:
        return text
    return '"' + text.replace('"', '""') + '"'


@lru_cache(maxsize=65_536)
def utc_text(time: datetime) -> str:
    """An instant as 2024-11-07T08:00:00Z."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def csv_line(spell: Spell) -> str:
    """The spell's row, line end included. Written by hand: the csv module takes three times as long."""
    s = spell
    capacity = "" if s.capacity is None else s.capacity
    mechanical = "" if s.mechanical is None else s.mechanical
    ebike = "" if s.ebike is None else s.ebike
    docks = "" if s.docks is None else s.docks
    last_reported = "" if s.last_reported is None else utc_text(s.last_reported)
    return (
        f"{quoted(s.station_code)},{quoted(s.name)},{quoted(s.zone)},{quoted(s.cell)},{s.lat!r},{s.lon!r},"
        f"{capacity},{utc_text(s.since)},{utc_text(s.until)},{s.seconds},{s.bikes},{mechanical},{ebike},{docks},"
        f"{_flag(s.is_installed)},{_flag(s.is_renting)},{_flag(s.is_returning)},{last_reported}{LINE_END}"
    )


def _flag(value: bool) -> str:
    return "true" if value else "false"


def parse_row(fields: Sequence[str]) -> Spell:
    """The spell of one row's fields.

    Raises:
        ValueError: a field too many or too few, one of another type, or seconds that are not until - since.
    """
    if len(fields) != len(CSV_HEADER):
        msg = f"{len(fields)} fields instead of {len(CSV_HEADER)}"
        raise ValueError(msg)
    values = {
        name: None if value == "" and name in _NULLABLE else value
        for name, value in zip(CSV_HEADER, fields, strict=True)
    }
    spell = msgspec.convert(values, Spell, strict=False)
    if spell.since.tzinfo is None or spell.until.tzinfo is None:
        msg = "a time without its Z"
        raise ValueError(msg)
    if (spell.until - spell.since).total_seconds() != spell.seconds:
        msg = f"{spell.seconds} seconds between {utc_text(spell.since)} and {utc_text(spell.until)}"
        raise ValueError(msg)
    return spell

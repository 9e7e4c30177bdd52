"""One value of a feed as what it certainly means, else None, with every mend counted.

A field may cost itself, never its station. Only a code or a flag that says nothing raises, since a row without them is
no report. No row and no format here; `explore.py`, `gbfs.py` and `vehicles.py` call it field by field.
"""

import re
from collections import Counter
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeAlias

from velib_dagster.feed.reports import Refusal

Mends: TypeAlias = Counter[str]
"""How many values were mended, by `<field>_<what was wrong>`."""

LARGEST_COUNT: Final = 10_000
"""Bikes, docks or a capacity. Stations of events reach 1,600; sums of seconds × count are kept in 64 bits."""

_NUMBER: Final = re.compile(r"[+-]?\d{1,20}(\.\d{0,20})?([eE][+-]?\d{1,2})?", re.ASCII)
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d{1,3},\d{1,20}", re.ASCII)
_ZONE_NAME: Final = re.compile(r"\[[^\]]*\]$")
_TRUE: Final = frozenset({"oui", "o", "true", "t", "yes", "y", "1", "1.0"})
_FALSE: Final = frozenset({"non", "n", "false", "f", "no", "0", "0.0"})
_USUAL_FLAGS: Final[dict[object, bool]] = {"OUI": True, "NON": False, 1: True, 0: False}
_NOTHING: Final = frozenset({"", "null", "none"})
_FIRST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(2100, 1, 1, tzinfo=UTC)
_FIRST_EPOCH: Final = _FIRST.timestamp()
_LAST_EPOCH: Final = _LAST.timestamp()
"""No bike-share station reported before 2000, and one that reports from 2100 on says nothing."""


class RowRefusedError(Exception):
    """One row is no report; the rest of the answer goes on."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason


LONGEST_TEXT: Final = 255
"""Characters of a code or a name: PostgreSQL's indexes take keys of 2,704 bytes, and some hold code, name and zone."""


def code_of(value: object) -> str | None:
    """A code or an id as a string without surrounding blanks, None where it is null or blank.

    A suffix stays as it is (`7101_relais`): it marks another station.

    Raises:
        RowRefusedError: it is neither text nor a whole number, or has a NUL, which no database takes, or is
            longer than `LONGEST_TEXT`.
    """
    match value:
        case None:
            return None
        case str():
            text = value.strip()
        case int() if not isinstance(value, bool) and abs(value) < 2**64:
            text = str(value)
        case float() if value.is_integer() and abs(value) < 2**53:
            text = str(int(value))
        case _:
            raise RowRefusedError(Refusal.BAD_TYPE)
    if len(text) > LONGEST_TEXT:
        raise RowRefusedError(Refusal.BAD_TYPE)
    if "\x00" in text:
        raise RowRefusedError(Refusal.BAD_TYPE)
    return text or None


def count_of(value: object, field: str, mends: Mends) -> int | None:
    """A count from 0 to `LARGEST_COUNT`; None where it is missing, negative, absurd or no whole number."""
    if type(value) is int:  # the usual case first: this runs several times for each station of each poll
        number: float = value
    elif value is None or (isinstance(value, str) and value.strip().lower() in _NOTHING):
        return None
    else:
        read = _number(value)
        if read is None or not read.is_integer():
            mends[f"{field}_unreadable"] += 1
            return None
        number = read
    if 0 <= number <= LARGEST_COUNT:
        if type(value) is not int:
            mends[f"{field}_{'as_text' if isinstance(value, str) else 'with_decimals'}"] += 1
        return int(number)
    mends[f"{field}_{'negative' if number < 0 else 'out_of_range'}"] += 1
    return None


def bikes_of(values: tuple[object, ...], mends: Mends) -> int:
    """The bikes: the first of several fields that says how many.

    Raises:
        RowRefusedError: none of them does.
    """
    if type(values[0]) is int and 0 <= values[0] <= LARGEST_COUNT:  # the usual case first
        return values[0]
    own: Mends = Counter()
    for value in values:
        count = count_of(value, "bikes", own)
        if count is not None:
            mends.update(own)
            return count
    if own["bikes_negative"]:
        raise RowRefusedError(Refusal.NEGATIVE_COUNT)
    raise RowRefusedError(Refusal.BAD_TYPE if own else Refusal.MISSING_COUNT)


def split_of(bikes: int, mechanical: object, ebike: object, mends: Mends) -> tuple[int | None, int | None]:
    """Mechanical bikes and e-bikes; neither where a part can't be read or they don't add up to the bikes."""
    if type(mechanical) is int and type(ebike) is int and mechanical >= 0 <= ebike and mechanical + ebike == bikes:
        return mechanical, ebike  # the usual case first
    own: Mends = Counter()
    parts = count_of(mechanical, "mechanical", own), count_of(ebike, "ebike", own)
    mends.update(own)
    lost = any(not name.endswith(("_as_text", "_with_decimals")) for name in own)
    if lost:
        return None, None
    given = [part for part in parts if part is not None]
    if sum(given) > bikes or (len(given) == 2 and sum(given) != bikes):
        mends["split_disagrees"] += 1
        return None, None
    return parts


def flags_of(is_installed: object, is_renting: object, is_returning: object, mends: Mends) -> tuple[bool, bool, bool]:
    """The three flags: OUI/NON, 1/0, true/false, also as text. A station that rents and returns is on the street.

    Raises:
        RowRefusedError: is_renting or is_returning is missing (guessing would count a closed station as empty), or one
            of the three says nothing.
    """
    renting, returning = _flag(is_renting), _flag(is_returning)
    if renting is None or returning is None:
        raise RowRefusedError(Refusal.BAD_FLAG)
    installed = _flag(is_installed)
    if installed is None:
        mends["is_installed_missing"] += 1
        installed = True
    return installed, renting, returning


def place_of(lat: object, lon: object, mends: Mends) -> tuple[float | None, float | None]:
    """Latitude and longitude in degrees; both None where one is missing or no place of a station, as (0, 0) is none."""
    if type(lat) is float and type(lon) is float and 0 < abs(lat) <= 90 and abs(lon) <= 180:
        return lat, lon  # the usual case first
    if lat is None and lon is None:
        return None, None
    found = _degrees(lat, mends), _degrees(lon, mends)
    if found[0] is None or found[1] is None or abs(found[0]) > 90 or abs(found[1]) > 180 or found == (0, 0):
        mends["place_unreadable"] += 1
        return None, None
    return found


def time_of(value: object, mends: Mends) -> datetime | None:
    """A time stamp as UTC, to the second; None where it is null, blank, 0 or can't be one of a station.

    An epoch may be in seconds, milli-, micro- or nanoseconds, also as text; a date-time one of RFC 3339 or of HTTP,
    with the name of a zone behind it or without. One without an offset is UTC, as Explore's are unless the URL asks for
    another zone.
    """
    if value is None:
        return None
    number = _number(value)
    if number == 0 or (isinstance(value, str) and value.strip().lower() in _NOTHING):
        return None
    if number is not None:
        found, how = _from_epoch(number), "as_text" if isinstance(value, str) else ""
        if abs(number) > _LAST_EPOCH and found is not None:
            how = "in_milliseconds"
    elif isinstance(value, str):
        found, how = _from_text(value.strip()), ""
    else:
        found, how = None, ""
    if found is None:
        how = "unreadable"
    if how:
        mends[f"last_reported_{how}"] += 1
    return found


def text_of(value: object, field: str, mends: Mends) -> str | None:
    """A text of the feed, None where it is blank or none; a NUL in it, which no database takes, is left out."""
    if type(value) is str and "\x00" not in value and len(value) <= LONGEST_TEXT:  # the usual case first
        return value if value and not value.isspace() else None
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        mends[f"{field}_as_number"] += 1
        return f"{value:g}" if isinstance(value, float) else str(value)
    if not isinstance(value, str):
        mends[f"{field}_unreadable"] += 1
        return None
    if "\x00" in value:
        mends[f"{field}_with_nul"] += 1
        value = value.replace("\x00", "")
    if len(value) > LONGEST_TEXT:
        mends[f"{field}_cut"] += 1
        value = value[:LONGEST_TEXT]
    return value if value.strip() else None


def _number(value: object) -> float | None:
    """A finite number, also as text, else None; true and false are none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return float(value) if len(value) < 60 and _NUMBER.fullmatch(value.strip()) else None
    if isinstance(value, int | float) and abs(value) < 1e30:  # also refuses nan
        return float(value)
    return None


def _flag(value: object) -> bool | None:
    """True, False, or None where it is missing."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str | int) and value in _USUAL_FLAGS:
        return _USUAL_FLAGS[value]
    text = "" if value is None else str(value).strip().lower() if isinstance(value, str | int | float) else "?"
    if text in _NOTHING:
        return None
    if text not in _TRUE and text not in _FALSE:
        raise RowRefusedError(Refusal.BAD_FLAG)
    return text in _TRUE


def _degrees(value: object, mends: Mends) -> float | None:
    if isinstance(value, str):
        text = value.strip()
        number = _number(text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text)
        if number is not None:
            mends["place_as_text"] += 1
        return number
    return _number(value)


def _from_epoch(number: float) -> datetime | None:
    for divisor in (1, 1e3, 1e6, 1e9):
        if _FIRST_EPOCH <= number / divisor < _LAST_EPOCH:
            return datetime.fromtimestamp(int(number / divisor), UTC)
    return None


def _from_text(text: str) -> datetime | None:
    if text.endswith(("]", "UTC")):
        text = _ZONE_NAME.sub("", text).removesuffix(" UTC")
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            parsed = parse(text)
            found = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        except (ValueError, OverflowError, IndexError, TypeError):
            continue
        return found.replace(microsecond=0) if _FIRST <= found < _LAST else None
    return None

"""What all formats share when one row becomes a report: codes, flags, places, times, counts, and why a row is refused.

No format of any API belongs here; `explore.py` and `gbfs.py` call it row by row.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from velib_dagster.feed.reports import DecodedPoll, PollKind, Refusal, Report

Count = Annotated[int, Meta(le=10_000)]
"""Bikes, docks or a capacity. Stations of events reach 1,600; sums of seconds × count are kept in 64 bits."""
UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises over bytes that a feed can send: bad JSON or types, bad UTF-8, nesting without end."""
Flag = bool | int | str | None
Code = str | int | None

_FLAGS: Final[dict[str, bool]] = {"oui": True, "non": False, "true": True, "false": False, "1": True, "0": False}
_KEYS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LAST_EPOCH: Final = 253_402_300_799  # 9999-12-31
_MANY_NULL_CODES: Final = 0.5
"""Share of rows without a code above which the answer is one of the network-wide broken ones."""


class RowRefusedError(Exception):
    """One row is no report; the rest of the answer goes on."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason


def code_of(value: Code) -> str | None:
    """The public code as a string without surrounding blanks, None where it is null or blank.

    A suffix stays as it is (`7101_relais`): it marks another station.
    """
    text = str(value).strip() if value is not None else ""
    if "\x00" in text:
        raise RowRefusedError(Refusal.BAD_TYPE)
    return text or None


def text_of(value: str | None) -> str | None:
    """A text of the feed, None where it is blank; one with a NUL, which no database takes, refuses the row."""
    if value is not None and "\x00" in value:
        raise RowRefusedError(Refusal.BAD_TYPE)
    return value if value and value.strip() else None


def flag_of(value: Flag) -> bool:
    """OUI/NON, 1/0, true/false, also as text. A flag that is missing refuses the row."""
    found = _FLAGS.get(str(value).strip().lower())
    if found is None:
        raise RowRefusedError(Refusal.BAD_FLAG)
    return found


def place_of(lat: float | None, lon: float | None) -> tuple[float | None, float | None]:
    """Latitude and longitude in degrees, both None where both are missing; (0, 0) is no place of a station."""
    if lat is None and lon is None:
        return None, None
    if lat is None or lon is None or not (-90 <= lat <= 90 and -180 <= lon <= 180) or (lat == 0 and lon == 0):
        raise RowRefusedError(Refusal.BAD_PLACE)
    return lat, lon


def time_of(value: str | float | None) -> datetime | None:
    """A time stamp (RFC 3339 or epoch seconds) as UTC, to the second; None where it is null, blank or 0.

    One without an offset is UTC, as Explore's are unless the URL asks for another zone.
    """
    if value is None or value in {0, ""}:
        return None
    try:
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value.strip())
            found = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        elif math.isfinite(value) and 0 < value <= _LAST_EPOCH:
            found = datetime.fromtimestamp(value, UTC)
        else:
            raise RowRefusedError(Refusal.BAD_TIME)
    except (ValueError, OverflowError):
        raise RowRefusedError(Refusal.BAD_TIME) from None
    return found.replace(microsecond=0)


def check_counts(bikes: int | None, *others: int | None) -> int:
    """The bikes; refuses the row where they are missing or any count is negative."""
    if bikes is None:
        raise RowRefusedError(Refusal.MISSING_COUNT)
    if any(count is not None and count < 0 for count in (bikes, *others)):
        raise RowRefusedError(Refusal.NEGATIVE_COUNT)
    return bikes


def check_split(bikes: int, mechanical: int | None, ebike: int | None) -> None:
    """Refuses the row where a split into exactly mechanical and e-bikes doesn't add up."""
    if mechanical is not None and ebike is not None and bikes != mechanical + ebike:
        raise RowRefusedError(Refusal.SPLIT_DISAGREES)


def is_object(row: msgspec.Raw) -> bool:
    """Whether a row is a JSON object at all."""
    return bytes(row).lstrip()[:1] == b"{"


def keys_of(row: msgspec.Raw) -> frozenset[str]:
    """Keys of a row, none where it isn't a readable object."""
    try:
        return frozenset(_KEYS.decode(row))
    except UNDECODABLE:
        return frozenset()


def decode_rows(
    rows: Iterable[msgspec.Raw],
    report_of: Callable[[msgspec.Raw], Report],
    *,
    total_count: int | None = None,
    refused: Counter[Refusal] | None = None,
    reason: str = "",
) -> DecodedPoll:
    """Reports of the rows, one by one; of several rows with one code the first counts.

    `refused` are rows that were given up before. Where more than half of the rows have no code, or none is
    valid, the poll fails as a whole.
    """
    refusals = refused if refused is not None else Counter[Refusal]()
    reports: dict[str, Report] = {}
    count = refusals.total()
    for row in rows:
        count += 1
        try:
            if not is_object(row):
                raise RowRefusedError(Refusal.NOT_A_ROW)  # noqa: TRY301 - one place counts refusals
            report = report_of(row)
            if report.station_code in reports:
                raise RowRefusedError(Refusal.DUPLICATE_STATION)  # noqa: TRY301 - as above
        except RowRefusedError as error:
            refusals[error.reason] += 1
        except UNDECODABLE:
            refusals[Refusal.BAD_TYPE] += 1
        else:
            reports[report.station_code] = report
    failure: PollKind | None = None
    no_code = refusals[Refusal.NULL_STATIONCODE]
    if count == 0:
        failure, reason = PollKind.EMPTY, "the answer has no row"
    elif no_code > count * _MANY_NULL_CODES:
        failure, reason = PollKind.NULL_STATIONCODE, f"{no_code} of {count} rows have no station code"
    elif not reports:
        words = ", ".join(f"{number} {name}" for name, number in sorted(refusals.items()) if number)
        failure, reason = PollKind.EMPTY, f"none of {count} rows is valid: {words}"
    return DecodedPoll(
        failure=failure,
        reason=reason,
        reports=() if failure else tuple(reports.values()),
        refused={name: number for name, number in sorted(refusals.items()) if number},
        rows=count,
        total_count=total_count,
    )

"""What the feed says of a station and what one poll brought: the shapes that all adapters decode into.

No format of any API belongs here (`explore.py`, `gbfs.py`), and no judgement that needs memory (`events/`).
"""

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec


class PollKind(StrEnum):
    """What became of one try to poll the feed."""

    USABLE = "usable"
    REPAIRED = "repaired"
    NO_ANSWER = "no_answer"
    NOT_JSON = "not_json"
    TRUNCATED = "truncated"
    ERROR_PAYLOAD = "error_payload"
    NULL_STATIONCODE = "null_stationcode"
    SHORT = "short"
    EMPTY = "empty"
    REPEATED = "repeated"
    OUTDATED = "outdated"
    SET_ASIDE = "set_aside"

    @property
    def usable(self) -> bool:
        """Whether the poll's reports count: they were good, or became so by carrying known values forward."""
        return self in {PollKind.USABLE, PollKind.REPAIRED}


class Refusal(StrEnum):
    """Why one row of an answer is not a report."""

    NULL_STATIONCODE = "null_stationcode"
    NOT_A_ROW = "not_a_row"
    BAD_TYPE = "bad_type"
    MISSING_COUNT = "missing_count"
    NEGATIVE_COUNT = "negative_count"
    BAD_FLAG = "bad_flag"
    DUPLICATE_STATION = "duplicate_station"
    NO_STATUS = "no_status"
    UNKNOWN_PLACE = "unknown_place"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One station in one answer, validated: one row of the feed.

    Name, place and capacity are None where the answer lacks them (a null referential); they are then carried
    from what was known (`events.advance`). A capacity of 0 stays 0 here: Vélib' lists a dozen stations so.
    `commune` is what the feed names the station's town or region, None where it names none. `velib_code` says that
    the code is one of Vélib's public ones, which tell the arrondissement; another operator's numbers don't.
    """

    station_code: str
    name: str | None
    commune: str | None
    lat: float | None
    lon: float | None
    capacity: int | None
    bikes: int
    mechanical: int | None
    ebike: int | None
    docks: int | None
    is_installed: bool
    is_renting: bool
    is_returning: bool
    last_reported: datetime | None
    velib_code: bool = True


class DecodedPoll(msgspec.Struct, frozen=True, kw_only=True):
    """All that one poll brought, before anything that needs memory is judged.

    `failure` is the kind that the answer alone decides (not JSON, truncated, an error payload, no answer, all
    station codes null, no row at all), else None. `rows` counts the stations of the answer, refused ones included,
    each once however often it is listed; stations that only station_information knows are none. `mended` counts the
    values that were read although they are not as they should be, or given up alone, by `<field>_<what was wrong>`.
    """

    failure: PollKind | None
    reason: str
    reports: tuple[Report, ...]
    refused: dict[Refusal, int]
    rows: int
    total_count: int | None
    mended: dict[str, int] = {}


NOTHING: Final = DecodedPoll(
    failure=PollKind.EMPTY, reason="the answer has no row", reports=(), refused={}, rows=0, total_count=None
)

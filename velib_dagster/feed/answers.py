"""What HTTP brought: one answer, what one poll fetched, and that same thing once it is kept under a name.

Bytes and headers only; what they mean is decided in `decode.py`. Made by `client.py`, kept by `snapshots.py`.
"""

from datetime import datetime
from typing import Final

import msgspec

from velib_dagster.feed.poll_time import Dated, PollTime, Reading

ANSWER: Final = "answer"
STATION_STATUS: Final = "station_status"
STATION_INFORMATION: Final = "station_information"
VEHICLE_TYPES: Final = "vehicle_types"
SYSTEM_REGIONS: Final = "system_regions"
SYSTEM_INFORMATION: Final = "system_information"
ROLES: Final = (ANSWER, STATION_STATUS, STATION_INFORMATION, VEHICLE_TYPES, SYSTEM_REGIONS)
"""Roles of the answers in a snapshot; Explore has one answer, GBFS two to four. They name files of the raw store."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What one HTTP request brought, to the byte (content encoding undone), errors included.

    Header names are lower case; a header that came several times is joined with ", ". `truncated` says that the
    connection broke off before the end that the server had announced.
    """

    role: str
    url: str
    status: int
    headers: dict[str, str]
    body: bytes
    truncated: bool = False


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """What one poll brought, answered or not, before it is kept.

    `poll_time` is the event time of all that follows (UTC, whole seconds). `error` says what went wrong, None
    where every request was answered in full. `clock_offset_seconds` is the server's Date minus the local clock
    where they disagree. `quota_reset` is when the feed's quota opens again, where an answer said that it is spent.
    `reading` is what the clocks said and `told` what was made of it; both None for a recording, whose Date is believed.
    `followed` has the servers other than the feed's own that were asked because it named them or redirected there
    (https://host), without its keys.
    """

    poll_time: datetime
    fetched_at: datetime
    answers: tuple[Answer, ...]
    error: str | None = None
    clock_offset_seconds: int | None = None
    quota_reset: datetime | None = None
    reading: Reading | None = None
    told: PollTime | None = None
    followed: tuple[str, ...] = ()

    @property
    def dated(self) -> Dated:
        """The poll as those after it see its time."""
        return Dated(time=self.poll_time, reading=self.reading, told=self.told)


class Snapshot(Fetched, frozen=True, kw_only=True):
    """A kept poll; names sort in the order in which the polls were kept."""

    name: str

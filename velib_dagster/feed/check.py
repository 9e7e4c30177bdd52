"""One call to the feed that keeps nothing and says what was recognised: for `velib check-feed` and new cities.

Text is made from the struct by the command; no judgement that needs earlier polls belongs here.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from velib_dagster.feed import explore, gbfs, quota
from velib_dagster.feed.client import FeedClient
from velib_dagster.feed.decode import decode, shape_of
from velib_dagster.feed.reports import PollKind, Refusal
from velib_dagster.feed.rows import UNDECODABLE, keys_of
from velib_dagster.settings import Settings

OPTIONAL: Final = ("name", "commune", "lat", "lon", "capacity", "mechanical", "ebike", "docks", "last_reported")
"""Fields of a report that a feed may lack."""

_READ: Final = frozenset(
    key for row in (explore.ExploreRow, gbfs.StatusRow, gbfs.InformationRow) for key in row.__struct_encode_fields__
)


class FeedCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What one call found.

    `missing` has, for each field of a report that lacks a value, the number of reports without it; `unknown_keys`
    are keys of the rows that nothing here reads; `quota_left` is None where the feed names no quota.
    """

    url: str
    format: str
    usable: bool
    failure: PollKind | None
    reason: str
    poll_time: datetime
    clock_offset_seconds: int | None
    http_status: int | None
    bytes: int
    rows: int
    total_count: int | None
    stations: int
    in_service: int
    refused: dict[Refusal, int]
    missing: dict[str, int]
    unknown_keys: list[str]
    quota_left: int | None
    quota_reset: datetime | None

    def text(self) -> str:
        """The check in lines for a terminal."""
        offset = self.clock_offset_seconds
        lines = [
            f"{self.url or 'no address'}: {self.format}",
            f"answer        HTTP {self.http_status}, {self.bytes} bytes" if self.http_status else "answer        none",
            f"poll time     {self.poll_time:%Y-%m-%d %H:%M:%S} UTC"
            + ("" if offset is None else f" (local clock: the answer's Date is {offset} s off)"),
            f"recognised    {self.stations} stations ({self.in_service} in service) in {self.rows} rows"
            + ("" if self.total_count is None else f"; the feed counts {self.total_count}"),
            f"refused       {_listed(self.refused) or 'none'}",
            f"missing       {_listed(self.missing) or 'nothing'}",
            f"not used      {', '.join(self.unknown_keys) or 'nothing'}",
            f"quota left    {'not told' if self.quota_left is None else self.quota_left}"
            + ("" if self.quota_reset is None else f"; spent until {self.quota_reset:%Y-%m-%d %H:%M:%S} UTC"),
            f"verdict       {'usable' if self.usable else f'not usable: {self.failure}'}"
            + (f" ({self.reason})" if self.reason else ""),
        ]
        return "\n".join(lines)


def check_feed(settings: Settings, *, client: FeedClient | None = None) -> FeedCheck:
    """Ask the feed once and say what was recognised; never raises for what the feed does, and keeps nothing."""
    client = client or FeedClient(settings.feed)
    fetched = client.poll()
    poll = decode(fetched.answers, error=fetched.error)
    missing = {field: sum(getattr(report, field) is None for report in poll.reports) for field in OPTIONAL}
    shapes = [shape_of(answer) for answer in fetched.answers]
    first = fetched.answers[0] if fetched.answers else None
    return FeedCheck(
        url=settings.feed.url,
        format=" with ".join(words for words, _ in shapes) or "no answer",
        usable=poll.failure is None,
        failure=poll.failure,
        reason=poll.reason,
        poll_time=fetched.poll_time,
        clock_offset_seconds=fetched.clock_offset_seconds,
        http_status=first.status if first else None,
        bytes=sum(len(answer.body) for answer in fetched.answers),
        rows=poll.rows,
        total_count=poll.total_count,
        stations=len(poll.reports),
        in_service=sum(one.is_installed and one.is_renting and one.is_returning for one in poll.reports),
        refused=poll.refused,
        missing={field: count for field, count in missing.items() if count},
        unknown_keys=sorted({key for _, rows in shapes for row in rows for key in _keys(row)} - _READ),
        quota_left=quota.remaining(first.headers) if first else None,
        quota_reset=fetched.quota_reset,
    )


class _Record(msgspec.Struct):
    fields: msgspec.Raw


def _keys(row: msgspec.Raw) -> frozenset[str]:
    """Keys of a row; of a v1.0 record those of its fields."""
    keys = keys_of(row)
    if "fields" not in keys:
        return keys
    try:
        return keys_of(msgspec.json.decode(row, type=_Record).fields)
    except UNDECODABLE:
        return keys


def _listed(counts: Mapping[Refusal, int] | Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())

"""One call to the feed that keeps nothing and says what was recognised: for `velib check-feed` and new cities.

Its verdict is what the chain would make of the same answers as the first poll of a home (`verdict.py`). Text is made
from the struct by the command; no judgement that needs earlier polls belongs here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from velib_dagster.feed import explore, gbfs, quota
from velib_dagster.feed.answers import VEHICLE_TYPES
from velib_dagster.feed.client import FeedClient
from velib_dagster.feed.decode import decode, shape_of, vehicle_types
from velib_dagster.feed.document_age import document_age_of, in_words
from velib_dagster.feed.reports import PollKind, Refusal, Report
from velib_dagster.feed.rows import keys_of, unwrapped
from velib_dagster.feed.verdict import first_poll
from velib_dagster.masking import masked
from velib_dagster.settings import Settings

OPTIONAL: Final = ("name", "commune", "lat", "lon", "capacity", "mechanical", "ebike", "docks", "last_reported")
"""Fields of a report that a feed may lack."""
FLAGS: Final = ("is_installed", "is_renting", "is_returning")

_READ: Final = frozenset(
    key for row in (explore.ExploreRow, gbfs.StatusRow, gbfs.InformationRow) for key in row.__struct_encode_fields__
)
_IDENTITY: Final = explore.IDENTITY | gbfs.IDENTITY


class FeedCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What one call found.

    `usable` says whether the chain would take this as its first poll, `failure` as what else. `missing` has, for each
    field of a report that lacks a value, the number of reports without it, and for each flag the number of rows;
    `mended` is what was read although it is not as it should be; `unknown_keys` are keys of the rows that nothing here
    reads. `other_vehicles` are form factors that are no bikes and are left out. `timezone` is the system's own, None
    where it names none, `home_timezone` the one in which this home cuts its days. `quota_left` is None where the feed
    names no quota.
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
    zones: int
    refused: dict[Refusal, int]
    mended: dict[str, int]
    missing: dict[str, int]
    unknown_keys: list[str]
    other_vehicles: list[str]
    timezone: str | None
    home_timezone: str
    quota_left: int | None
    quota_reset: datetime | None
    document_made_at: datetime | None = None
    document_age_seconds: int | None = None
    clock_note: str = ""
    followed: tuple[str, ...] = ()

    def text(self) -> str:
        """The check in lines for a terminal."""
        offset = self.clock_offset_seconds
        lines = [
            f"{self.url or 'no address'}: {self.format}",
            *(f"followed      {server}, which the feed names: asked without its keys" for server in self.followed),
            f"answer        HTTP {self.http_status}, {self.bytes} bytes" if self.http_status else "answer        none",
            f"poll time     {self.poll_time:%Y-%m-%d %H:%M:%S} UTC"
            + ("" if offset is None else f" (the answer's Date minus the local clock: {offset} s)"),
            *([f"clock         {self.clock_note}"] if self.clock_note else []),
            f"document      {self._age()}",
            f"recognised    {self.stations} stations ({self.in_service} in service) in {self.rows} rows"
            + ("" if self.total_count is None else f"; the feed counts {self.total_count}"),
            f"refused       {_listed(self.refused) or 'none'}",
            f"mended        {_listed(self.mended) or 'nothing'}",
            f"missing       {_listed(self.missing) or 'nothing'}",
            f"not used      {', '.join(self.unknown_keys) or 'nothing'}",
            f"time zone     {self._zone_words()}",
            f"regions       {self.zones or 'none'} named",
            *([f"left out      {', '.join(self.other_vehicles)}: no bikes"] if self.other_vehicles else []),
            f"quota left    {'not told' if self.quota_left is None else self.quota_left}"
            + ("" if self.quota_reset is None else f"; spent until {self.quota_reset:%Y-%m-%d %H:%M:%S} UTC"),
            f"verdict       {'usable' if self.usable else f'not usable: {self.failure}'}"
            + (f" ({self.reason})" if self.reason else ""),
        ]
        return "\n".join(lines)

    def _zone_words(self) -> str:
        if self.timezone is None:
            return f"not told; this home cuts its days in {self.home_timezone}"
        if self.timezone == self.home_timezone:
            return f"{self.timezone}, in which this home cuts its days"
        return (
            f"{self.timezone} by the system, but this home cuts its days in {self.home_timezone}: "
            f"a new home takes the system's at its first start (velib up), or VELIB_TIMEZONE={self.timezone} sets it"
        )

    def _age(self) -> str:
        """The document's age by its own words, for people."""
        if self.document_age_seconds is None:
            return "says nothing of its age"
        if self.document_age_seconds < 0:
            return f"says that it was made {in_words(timedelta(seconds=-self.document_age_seconds))} from now"
        return f"{in_words(timedelta(seconds=self.document_age_seconds))} old by its own words"


def check_feed(settings: Settings, *, client: FeedClient | None = None) -> FeedCheck:
    """Ask the feed once and say what was recognised; never raises for what the feed does, and keeps nothing."""
    client = client or FeedClient(settings.feed)
    fetched = client.poll()
    poll = decode(fetched.answers, error=fetched.error)
    verdict = first_poll(poll)
    document = document_age_of(fetched.answers)
    age = document.age(fetched.told.now if fetched.told else fetched.poll_time)
    shapes = [shape_of(answer) for answer in fetched.answers]
    first = fetched.answers[0] if fetched.answers else None
    types = next((vehicle_types(answer) for answer in fetched.answers if answer.role == VEHICLE_TYPES), None)
    reason = verdict.reason
    if fetched.error and fetched.error not in reason:
        reason = f"{reason}; {fetched.error}" if reason else fetched.error
    return FeedCheck(
        url=masked(settings.feed.url),
        format=" with ".join(words for words, _ in shapes) or "no answer",
        usable=verdict.kind.usable,
        failure=None if verdict.kind.usable else verdict.kind,
        reason=masked(reason, settings.feed.url),
        poll_time=fetched.poll_time,
        clock_offset_seconds=fetched.clock_offset_seconds,
        http_status=first.status if first else None,
        bytes=sum(len(answer.body) for answer in fetched.answers),
        rows=poll.rows,
        total_count=poll.total_count,
        stations=len(verdict.reports),
        in_service=sum(one.is_installed and one.is_renting and one.is_returning for one in verdict.reports),
        zones=len({report.commune for report in verdict.reports} - {None}),
        refused=verdict.refused,
        mended=poll.mended,
        missing=_missing(poll.reports) | _missing_flags(row for _, rows in shapes[:1] for row in rows),
        unknown_keys=sorted({key for _, rows in shapes for row in rows for key in _keys(row)} - _READ),
        other_vehicles=sorted(set(types.vehicles.values())) if types else [],
        timezone=client.system_timezone() if first else None,
        home_timezone=settings.feed.timezone,
        quota_left=quota.remaining(first.headers) if first else None,
        quota_reset=fetched.quota_reset,
        document_made_at=document.made_at,
        document_age_seconds=None if age is None else int(age.total_seconds()),
        clock_note=fetched.told.note if fetched.told else "",
        followed=fetched.followed,
    )


def _missing(reports: tuple[Report, ...]) -> dict[str, int]:
    counts = {field: sum(getattr(report, field) is None for report in reports) for field in OPTIONAL}
    return {field: count for field, count in counts.items() if count}


def _missing_flags(rows: Iterable[msgspec.Raw]) -> dict[str, int]:
    """Rows that lack a flag, which may cost them: by flag."""
    lacking = Counter(flag for row in rows if (keys := _keys(row)) for flag in FLAGS if flag not in keys)
    return dict(sorted(lacking.items()))


def _keys(row: msgspec.Raw) -> frozenset[str]:
    """Keys of a row; of one that is wrapped in another object those of the inner one."""
    return keys_of(unwrapped(row, _IDENTITY) or row)


def _listed(counts: Mapping[Refusal, int] | Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())

"""What a document says of its own age: when it was made, how long it may be kept, how long caches have kept it.

Pure; what follows for the poll is judged with the polls before, in `events/outdated.py`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from velib_dagster.feed.answers import ANSWER, STATION_STATUS, Answer
from velib_dagster.feed.bodies import json_text
from velib_dagster.feed.clocks import age_of, instant_of
from velib_dagster.feed.poll_time import in_range
from velib_dagster.feed.rows import UNDECODABLE
from velib_dagster.feed.values import Mends

_LONGEST: Final = 10**9


class DocumentAge(msgspec.Struct, frozen=True, kw_only=True):
    """A document's own words on its age; None where it says nothing that can be read.

    `made_at` is GBFS's last_updated (seconds, milliseconds or RFC 3339), else the header Last-Modified: Explore's
    exports have neither. `kept_seconds` is the header Age. `ttl_seconds` is 0 where none is given.
    """

    made_at: datetime | None = None
    ttl_seconds: int = 0
    kept_seconds: int = 0

    def age(self, now: datetime) -> timedelta | None:
        """How old the document was at that time, by itself or by the caches that kept it, whichever says more."""
        ages = [timedelta(seconds=self.kept_seconds)] if self.kept_seconds else []
        if self.made_at is not None:
            ages.append(now - self.made_at)
        return max(ages, default=None)


class _Top(msgspec.Struct):
    last_updated: msgspec.Raw = msgspec.Raw()
    lastUpdatedOther: msgspec.Raw = msgspec.Raw()  # noqa: N815 - Vélib's own spelling
    ttl: msgspec.Raw = msgspec.Raw()


_TOP: Final = msgspec.json.Decoder(_Top)
UNKNOWN: Final = DocumentAge()


def document_age_of(answers: Sequence[Answer]) -> DocumentAge:
    """What the answer that has the stations' states says of its age."""
    for answer in answers:
        if answer.role in {STATION_STATUS, ANSWER}:
            return _document(answer)
    return UNKNOWN


def _document(answer: Answer) -> DocumentAge:
    try:
        top = _TOP.decode(json_text(answer.body, answer.headers, Mends())[0])
    except UNDECODABLE:
        top = _Top()
    made_at = _instant(top.last_updated) or _instant(top.lastUpdatedOther) or _last_modified(answer)
    return DocumentAge(made_at=made_at, ttl_seconds=_seconds(top.ttl), kept_seconds=age_of(answer))


def _instant(raw: msgspec.Raw) -> datetime | None:
    found = instant_of(_text(raw))
    return found.replace(microsecond=0) if found is not None else None


def _seconds(raw: msgspec.Raw) -> int:
    try:
        number = float(_text(raw))
    except ValueError:
        return 0
    return int(min(number, _LONGEST)) if number > 0 else 0


def _text(raw: msgspec.Raw) -> str:
    return bytes(raw).decode("utf-8", errors="replace").strip().strip('"')


def _last_modified(answer: Answer) -> datetime | None:
    try:
        found = parsedate_to_datetime(answer.headers.get("last-modified", ""))
        return in_range(found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def in_words(age: timedelta) -> str:
    """A length of time for people: 24 days, 3 hours, 12 minutes, 40 seconds."""
    seconds = max(0, int(age.total_seconds()))
    for name, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size or (name == "day" and seconds >= size):
            count = seconds // size
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{seconds} seconds"

"""What a feed says about waiting: Retry-After, the rate-limit headers and the bodies of a 429, in the forms seen.

Pure functions over an answer and a time; `client.py` obeys them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from velib_dagster.feed.answers import Answer
from velib_dagster.feed.bodies import json_text
from velib_dagster.feed.rows import UNDECODABLE

LONGEST: Final = timedelta(hours=25)
"""Quotas are daily at most; a reset further away is a mistake of the feed and must not silence the polls for weeks."""

_RELATIVE_BELOW: Final = 1_000_000_000
"""Numbers below this (September 2001 as an epoch) are seconds from now."""
_MILLISECONDS_FROM: Final = 100_000_000_000
"""Numbers from this on (March 1973 in milliseconds) are an epoch in milliseconds."""
_HEADERS: Final = (
    "retry-after",
    "x-ratelimit-reset",
    "ratelimit-reset",
    "x-rate-limit-reset",
    "x-ratelimit-reset-after",
    "ratelimit",
)
_REMAINING: Final = ("x-ratelimit-remaining", "ratelimit-remaining", "x-rate-limit-remaining")
_IN_BODY: Final = ("reset_time", "reset", "reset_at", "retry_after", "retryafter", "retry-after", "resets_at")
_TOO_MANY: Final = 429


def instant(text: str, now: datetime) -> datetime | None:
    """The instant meant by an epoch, a number of seconds from now, a date-time string or an HTTP date, else None.

    A date-time string without a zone is UTC.
    """
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        if not 0 <= number < 1e14:  # also refuses nan
            return None
        if number < _RELATIVE_BELOW:
            return now + timedelta(seconds=number)
        return datetime.fromtimestamp(number / 1000 if number >= _MILLISECONDS_FROM else number, UTC)
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            value = parse(text)
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    return None


def retry_at(answer: Answer, now: datetime) -> datetime | None:
    """When the feed wants to be asked again, None if it names no time that can be obeyed.

    Retry-After counts first, then the other headers, then what the body of a 429 says.
    """
    for value in _said(answer):
        found = instant(value, now)
        if found is not None:
            return min(found, now + LONGEST)
    return None


def spent_until(answer: Answer, now: datetime) -> datetime | None:
    """Until when the quota is spent by what this answer says, else None.

    An answered request that used up the last call (`X-RateLimit-Remaining: 0`) counts too: the next would be refused.
    A server's own failure (5xx) says nothing about a quota, whatever headers it carries.
    """
    used_up = remaining(answer.headers) == 0 and any(name in answer.headers for name in _HEADERS[1:])
    if answer.status != _TOO_MANY and (not used_up or answer.status >= 500):
        return None
    until = retry_at(answer, now)
    return until if until is not None and until > now else None


def remaining(headers: Mapping[str, str]) -> int | None:
    """Calls left in the feed's quota, None where it doesn't say."""
    for name in _REMAINING:
        text = (headers.get(name) or "").strip()
        if text.isascii() and text.isdigit():
            return int(text[:9])
    return None


def _said(answer: Answer) -> Iterator[str]:
    """What an answer says of the time to wait, the most binding first."""
    for name in _HEADERS if answer.status < 500 else _HEADERS[:1]:
        value = answer.headers.get(name)
        if value and name == "ratelimit":  # "limit=100, remaining=0, reset=50", as some drafts have it
            parts = (part.strip().partition("=") for part in value.replace(";", ",").split(","))
            yield from (text for key, _, text in parts if key in {"reset", "t"})
        elif value:
            yield value.removesuffix("s") if value[:-1].isdigit() else value
    if answer.status != _TOO_MANY:
        return
    try:
        body = msgspec.json.decode(json_text(answer.body, answer.headers, Counter())[0], type=dict[str, object])
    except UNDECODABLE:
        return
    inner = (value for value in body.values() if isinstance(value, dict))
    for found in (body, *inner):
        for key, value in found.items():
            named = str(key).lower() in _IN_BODY
            if named and isinstance(value, str | int | float) and not isinstance(value, bool):
                yield str(value)

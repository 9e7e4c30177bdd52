"""What a feed says about waiting: Retry-After and the X-RateLimit headers, in the forms that were seen.

Pure functions over headers and a time; `client.py` obeys them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST: Final = timedelta(hours=25)
"""Quotas are daily at most; a reset further away is a mistake of the feed and must not silence the polls for weeks."""

_RELATIVE_BELOW: Final = 1_000_000_000
"""Numbers below this (September 2001 as an epoch) are seconds from now."""


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
        if not 0 <= number < 1e11:  # also refuses nan
            return None
        return now + timedelta(seconds=number) if number < _RELATIVE_BELOW else datetime.fromtimestamp(number, UTC)
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            value = parse(text)
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    return None


def retry_at(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """When the feed wants to be asked again: Retry-After first, else X-RateLimit-Reset; None if it names no time."""
    for name in ("retry-after", "x-ratelimit-reset"):
        value = headers.get(name)
        found = instant(value, now) if value else None
        if found is not None:
            return min(found, now + LONGEST)
    return None


def spent_until(status: int, headers: Mapping[str, str], now: datetime) -> datetime | None:
    """Until when the quota is spent by what this answer says, else None.

    An answered request that used up the last call (`X-RateLimit-Remaining: 0`) counts too: the next would be refused.
    """
    used_up = (headers.get("x-ratelimit-remaining") or "").strip() == "0" and "x-ratelimit-reset" in headers
    if status != 429 and not used_up:
        return None
    until = retry_at(headers, now)
    return until if until is not None and until > now else None


def remaining(headers: Mapping[str, str]) -> int | None:
    """Calls left in the feed's quota, None where it doesn't say."""
    text = (headers.get("x-ratelimit-remaining") or "").strip()
    return int(text) if text.isdigit() else None

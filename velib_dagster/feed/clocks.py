"""Reading the clocks: this machine's local and boot clock, and what an answer's headers and document say of their time.

What follows from them is decided in `poll_time.py`.
"""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Final

from velib_dagster.feed.answers import Answer
from velib_dagster.feed.poll_time import Reading, in_range

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_UPDATED: Final = re.compile(rb'"(?:last_updated|lastUpdatedOther)"\s*:\s*"?([0-9][0-9T:.+Z-]*)')
_DUE: Final = re.compile(rb'"duedate"\s*:\s*"([0-9][0-9T:.+Z-]*)"')
_LONGEST_AGE: Final = 10**9


@dataclass(frozen=True)
class Boot:
    """The boot clock: seconds since the machine started, time in which it slept included, and which start it was."""

    boot_id: str
    seconds: float


def local_now() -> datetime:
    """The local clock, UTC."""
    return datetime.now(UTC)


def boot_clock() -> Boot | None:
    """The boot clock, None on a system that doesn't say which start it counts from."""
    boot_id = _boot_id()
    if boot_id is None:
        return None
    return Boot(boot_id, time.clock_gettime(time.CLOCK_BOOTTIME))


@cache
def _boot_id() -> str | None:
    try:
        return _BOOT_ID.read_text().strip() or None
    except OSError:
        return None


def reading_of(answer: Answer | None, local: datetime, boot: Boot | None) -> Reading:
    """What the clocks say at a poll; `answer` is the one whose time counts, None where none came."""
    return Reading(
        local=local.astimezone(UTC),
        date=date_of(answer) if answer else None,
        age_seconds=age_of(answer) if answer else 0,
        document=_document_time(answer.body) if answer else None,
        boot_id=boot.boot_id if boot else None,
        boot_seconds=boot.seconds if boot else None,
    )


def date_of(answer: Answer) -> datetime | None:
    """The Date header as UTC, to the second; None where there is none that can be read, or more than one."""
    text = answer.headers.get("date")
    # Two dates joined into one header parse as some other time: neither can be told to be the right one.
    if text is None or text.count(":") != 2:
        return None
    try:
        found = parsedate_to_datetime(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found.replace(microsecond=0)


def age_of(answer: Answer) -> int:
    """Seconds for which caches have kept the answer, by its Age; 0 where they say none."""
    text = (answer.headers.get("age") or "").strip()
    return min(int(text), _LONGEST_AGE) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def instant_of(text: str) -> datetime | None:
    """A document's time stamp as UTC: RFC 3339, or an epoch in seconds or milliseconds; None for what says no time."""
    try:
        number = float(text)
    except ValueError:
        try:
            found = datetime.fromisoformat(text.strip())
        except ValueError:
            return None
        try:
            return in_range(found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC))
        except OverflowError:
            return None
    if 1e11 <= number < 1e13:
        number /= 1000
    return in_range(datetime.fromtimestamp(number, UTC)) if 0 < number < 1e11 else None


def _document_time(body: bytes) -> datetime | None:
    """The document's own time: GBFS's last_updated, or the newest of the first stamps that Explore's rows carry."""
    head = body[:200_000]
    updated = _UPDATED.search(head)
    found = [updated] if updated else list(_DUE.finditer(head))
    times = [time for match in found if (time := instant_of(match[1].decode("ascii"))) is not None]
    return max(times, default=None)

"""The local day: where it starts and ends, its length, its waking hours, daylight saving included.

Pure Python, no Spark. Everything that counts by day takes its days from here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from velib_dagster.statistics.errors import StatisticsError

WAKING_FROM: Final = 6
WAKING_UNTIL: Final = 22
"""Waking hours are those from 6 h, inclusive, to 22 h, exclusive."""
SPELLS_AT_ONCE: Final = 450_000
"""As many spells of days in a row are computed together, unless one day has more: a driver with 1 GB holds them."""


@dataclass(frozen=True)
class Days:
    """Days in a row of one time zone, `first` and `last` both included.

    Raises:
        StatisticsError: the last day lies before the first.
    """

    first: date
    last: date
    timezone: str = "Europe/Paris"

    def __post_init__(self) -> None:
        if self.last < self.first:
            msg = f"days {self.first}..{self.last}: the last one lies before the first"
            raise StatisticsError(msg)

    @classmethod
    def one(cls, day: date, timezone: str = "Europe/Paris") -> "Days":
        """That day alone."""
        return cls(day, day, timezone)

    def __iter__(self) -> Iterator[date]:
        """Each day in order."""
        for number in range((self.last - self.first).days + 1):
            yield self.first + timedelta(days=number)

    def __str__(self) -> str:
        """`2024-11-07..2024-11-10`, or one day alone: what `days_from_text` reads."""
        return str(self.first) if self.first == self.last else f"{self.first}..{self.last}"

    @property
    def start(self) -> datetime:
        """The first day's start, UTC."""
        return day_start(self.first, self.timezone)

    @property
    def end(self) -> datetime:
        """The last day's end, exclusive, UTC."""
        return day_start(self.last + timedelta(days=1), self.timezone)


def days_from_text(text: str, timezone: str = "Europe/Paris") -> Days:
    """`2024-11-07..2024-11-10`, or one day alone.

    Raises:
        StatisticsError: it is neither.
    """
    first, dots, last = text.partition("..")
    try:
        return Days(date.fromisoformat(first), date.fromisoformat(last if dots else first), timezone)
    except ValueError as error:
        msg = f"days {text!r}: write 2024-11-07..2024-11-10, or one day"
        raise StatisticsError(msg) from error


def day_start(day: date, timezone: str) -> datetime:
    """Local midnight as an instant, UTC; the first instant of the day where midnight is skipped."""
    return _instant(day, time(), timezone)


def day_seconds(day: date, timezone: str) -> int:
    """Length of the day: 86,400 s or, when clocks change, 82,800 or 90,000."""
    return int((day_start(day + timedelta(days=1), timezone) - day_start(day, timezone)).total_seconds())


def waking_span(day: date, timezone: str) -> tuple[datetime, datetime]:
    """Start (inclusive) and end (exclusive) of the day's waking hours, UTC."""
    return _instant(day, time(WAKING_FROM), timezone), _instant(day, time(WAKING_UNTIL), timezone)


def _instant(day: date, at: time, timezone: str) -> datetime:
    return datetime.combine(day, at, ZoneInfo(timezone)).astimezone(UTC)

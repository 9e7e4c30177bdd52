"""When a training and a forecast are due: decided from times alone, so that tests need no clock.

What Dagster knows comes as arguments; the archive's commit file is read for its days.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from velib_dagster.archive.commit import Commit, day_path, read_commit
from velib_dagster.events.records import CSV_HEADER
from velib_dagster.settings import Settings

WEEKLY_HOUR: Final = timedelta(hours=3, minutes=20)
"""A training of the week is due from Monday 03:20 on, in the feed's zone: nobody looks at forecasts then."""
FRESH: Final = timedelta(hours=12)
"""A training so shortly before a Monday counts as that week's."""
FORECAST_EVERY: Final = timedelta(minutes=10)


@dataclass(frozen=True)
class Due:
    """A training is due: the first of this home, or the week's."""

    first: bool


def due_training(settings: Settings, trained_at: datetime | None, now: datetime) -> Due | str:
    """Whether a training is due, else why not in words. `trained_at`: when both models were last trained.

    Raises:
        ArchiveError: the archive's commit file is damaged.
    """
    from velib_dagster.forecast.errors import TooLittleDataError  # noqa: PLC0415 - minute runs load this module too
    from velib_dagster.forecast.task import split_of  # noqa: PLC0415

    zone = settings.feed.zone_info
    monday = newest_monday(now, zone)
    # A training in the future is one of a clock that was wrong: it holds nothing up.
    if trained_at is not None and monday - FRESH < trained_at <= now + FORECAST_EVERY:
        then = monday + timedelta(days=7)
        return f"trained on {_clock(trained_at, zone)}; the next training is due on {_clock(then, zone)}"
    try:
        split_of(archived_hours(settings.archive, read_commit(settings.archive), zone))
    except TooLittleDataError as error:
        return f"{error}; by hand: velib train"
    return Due(first=trained_at is None)


def newest_monday(now: datetime, zone: ZoneInfo) -> datetime:
    """The newest Monday 03:20 in the zone at or before an instant."""
    local = now.astimezone(zone)
    midnight = datetime(local.year, local.month, local.day, tzinfo=zone) - timedelta(days=local.weekday())
    monday = midnight + WEEKLY_HOUR
    return monday if monday <= local else monday - timedelta(days=7)


def archived_hours(folder: Path, commit: Commit | None, zone: ZoneInfo) -> Iterable[tuple[date, int]]:
    """Local days and hours that the archive may have rows of: those of its day files, from its first spell to its last.

    Only a guess, for a tick may not read the archive: a training counts the hours that have rows.
    """
    if commit is None:
        return []
    days = sorted(commit.files)
    first = _first_since(day_path(folder, days[0])) if days else None
    begin = first.astimezone(zone) if first is not None else None
    last = (commit.through - timedelta(seconds=1)).astimezone(zone) if commit.through is not None else None
    return [
        (day, hour)
        for day in days
        for hour in range(24)
        if (begin is None or (day, hour) >= (begin.date(), begin.hour))
        and (last is None or (day, hour) <= (last.date(), last.hour))
    ]


def _first_since(path: Path) -> datetime | None:
    """When the first spell of a day file began; None where it has none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            next(rows, None)
            row = next(rows, None)
            return datetime.fromisoformat(row[CSV_HEADER.index("since")]) if row else None
    except (OSError, ValueError, IndexError):
        return None  # a damaged file: the training names it


def forecast_made(made_at: datetime | None, now: datetime, zone: tzinfo) -> str | None:
    """Words where a forecast was made since the newest of the ten minutes' marks."""
    if made_at is None:
        return None
    mark = datetime.fromtimestamp(now.timestamp() // FORECAST_EVERY.seconds * FORECAST_EVERY.seconds, now.tzinfo)
    # One in the future is of a clock that was wrong: it holds nothing up.
    if not mark <= made_at <= now + timedelta(minutes=1):
        return None
    return f"forecast at {_clock(made_at, zone)}; the next one is due at {_clock(mark + FORECAST_EVERY, zone)}"


def _clock(moment: datetime, zone: tzinfo) -> str:
    return f"{moment.astimezone(zone):%-d %b %H:%M}"

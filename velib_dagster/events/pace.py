"""How fast a feed's stations change by the hour of the day, and whether it has been still for longer than that allows.

Pure; what it has learnt travels in the record of polls. Called by `advance.py`.
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from velib_dagster.events.records import Pace

EXPECTED_CHANGES: Final = 10.0
"""A still run is a freeze once so many changes were to be expected: none would then come by chance in 22,000 runs."""
LEAST_STILL: Final = timedelta(minutes=15)
"""Nor is a shorter one a freeze: caches hold a document for some minutes as a matter of course."""

_MEMORY_SECONDS: Final = 3 * 3600
"""A mean by hour of the day goes back over so much of that hour: about three days."""
_KNOWN_SECONDS: Final = 600
"""A mean learnt from less says nothing."""
_HOURS: Final = 24
UNKNOWN: Final = Pace(hourly=(None,) * _HOURS, seconds=(0,) * _HOURS)


def paced(pace: Pace | None, time: datetime, before: datetime | None, moved: int, max_hold: timedelta) -> Pace:
    """The pace after a usable poll in which `moved` stations had changed; `before` is the usable poll before it."""
    known = pace or UNKNOWN
    if before is None or known.changed_at is None or time - before > max_hold:
        return msgspec.structs.replace(known, still_since=None, still_expected=0.0, changed_at=time)
    if not moved:
        rate = known.hourly[time.hour] if known.seconds[time.hour] >= _KNOWN_SECONDS else None
        expected = (rate or 0.0) * ((time - before) / timedelta(hours=1))
        return msgspec.structs.replace(
            known,
            still_since=known.still_since or time,
            still_expected=round(known.still_expected + expected, 2),
        )
    learnt = known if frozen_since(known, time) else _learnt(known, time, moved)
    return msgspec.structs.replace(learnt, still_since=None, still_expected=0.0, changed_at=time)


def frozen_since(pace: Pace, time: datetime) -> datetime | None:
    """First poll of the freeze that the poll at `time` is part of, None where there is none."""
    since = pace.still_since
    if since is None or pace.still_expected < EXPECTED_CHANGES or time - since < LEAST_STILL:
        return None
    return since


def _learnt(pace: Pace, time: datetime, moved: int) -> Pace:
    """With the stretch since the poll that last brought a change, still ones within it included."""
    if pace.changed_at is None or time <= pace.changed_at:
        return pace
    seconds = (time - pace.changed_at).total_seconds()
    hour = time.hour
    rate, before = moved * 3600 / seconds, pace.hourly[hour]
    weight = seconds / (min(pace.seconds[hour], _MEMORY_SECONDS) + seconds)
    mean = rate if before is None else before + weight * (rate - before)
    hourly, from_seconds = list(pace.hourly), list(pace.seconds)
    hourly[hour] = round(mean, 1)
    from_seconds[hour] = min(pace.seconds[hour] + int(seconds), _MEMORY_SECONDS)
    return msgspec.structs.replace(pace, hourly=tuple(hourly), seconds=tuple(from_seconds))

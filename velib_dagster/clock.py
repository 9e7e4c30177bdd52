"""A time in words, for sentences that people read."""

from datetime import datetime

from velib_dagster.settings import Settings


def local_clock(settings: Settings, moment: datetime) -> str:
    """`20:14`, or `24 Nov 20:14` on another day than today, in the feed's zone of time."""
    local = moment.astimezone(settings.feed.zone_info)
    same_day = local.date() == datetime.now(settings.feed.zone_info).date()
    return local.strftime("%H:%M" if same_day else "%-d %b %H:%M")

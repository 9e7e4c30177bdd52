"""What runs by the clock: the poll of each minute, the archive every five minutes, retention every hour.

Each looks every minute and launches what is due: a new home waits for no minute of the hour. A tick that launches
nothing says why in words. They start by themselves only where VELIB_AUTOMATION=on.
"""

from datetime import datetime, timedelta
from typing import Final

import dagster as dg

from velib_dagster.archive.commit import read_commit
from velib_dagster.archive.errors import ArchiveError
from velib_dagster.clock import local_clock
from velib_dagster.feed.poll import quota_spent_until
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.orchestration import jobs
from velib_dagster.orchestration.forecast_schedules import forecast_schedules
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.shared import (
    CSV_ARCHIVE,
    STORAGE,
    answers_at,
    earlier_run_going,
    failed_before,
    materialized_ago,
    not_polled,
    schedule_status,
)
from velib_dagster.orchestration.statistics_schedule import statistics_schedule
from velib_dagster.settings import Settings

ARCHIVE_EVERY: Final = timedelta(minutes=5)
RETENTION_EVERY: Final = timedelta(hours=1)
FIRST_PAUSE: Final = timedelta(minutes=5)
LONGEST_PAUSE: Final = timedelta(hours=1)
"""After failed runs of retention in a row the next one waits 5 minutes, 10, 20, … at most an hour."""


def default_schedules() -> list[dg.ScheduleDefinition]:
    """Fresh schedules, running or stopped by what the environment says now."""
    status = schedule_status()

    @dg.schedule(
        job=jobs.poll_feed,
        cron_schedule="* * * * *",
        default_status=status,
        description="Polls the feed each minute, unless an earlier poll is still going or the quota is spent.",
    )
    def every_minute(context: dg.ScheduleEvaluationContext, platform: Platform) -> dg.RunRequest | dg.SkipReason:
        settings = platform.settings()
        why_not = (
            not_polled(settings)
            or not_this_minute(settings, context.scheduled_execution_time)
            or earlier_run_going(context.instance, jobs.POLL_FEED)
            or quota_spent(settings)
        )
        return dg.SkipReason(why_not) if why_not else dg.RunRequest()

    @dg.schedule(
        job=jobs.archive_events,
        cron_schedule="* * * * *",
        default_status=status,
        description="Archives finished spells every five minutes, each minute until there are any.",
    )
    def every_five_minutes(context: dg.ScheduleEvaluationContext, platform: Platform) -> dg.RunRequest | dg.SkipReason:
        settings = platform.settings()
        why_not = (
            archived_lately(settings, context.instance, context.scheduled_execution_time)
            or earlier_run_going(context.instance, jobs.ARCHIVE_EVENTS)
            or kafka_away(settings)
        )
        return dg.SkipReason(why_not) if why_not else dg.RunRequest()

    @dg.schedule(
        job=jobs.retention,
        cron_schedule="* * * * *",
        default_status=status,
        description="Deletes every hour what is past its days to keep; at once where it was never done.",
    )
    def every_hour(context: dg.ScheduleEvaluationContext, platform: Platform) -> dg.RunRequest | dg.SkipReason:
        settings, now = platform.settings(), context.scheduled_execution_time
        why_not = (
            kept_lately(settings, context.instance, now)
            or earlier_run_going(context.instance, jobs.RETENTION, timedelta(minutes=10))
            or failed_before(settings, context.instance, jobs.RETENTION, now, FIRST_PAUSE, LONGEST_PAUSE)
        )
        return dg.SkipReason(why_not) if why_not else dg.RunRequest()

    return [every_minute, every_five_minutes, every_hour, statistics_schedule(), *forecast_schedules()]


def archived_lately(settings: Settings, instance: dg.DagsterInstance, now: datetime) -> str | None:
    """Words where this minute is not one of every five, unless nothing is archived yet or a round was left out."""
    age = materialized_ago(instance, CSV_ARCHIVE, now)
    if now.minute % 5 == 0 or age is None or age >= ARCHIVE_EVERY:
        return None
    try:
        commit = read_commit(settings.archive)
    except ArchiveError:
        return None  # the run says it, red
    if commit is None or not commit.rows:
        return None
    return f"the archive was written {age.total_seconds():.0f} s ago; the next round is due in {5 - now.minute % 5} min"


def kept_lately(settings: Settings, instance: dg.DagsterInstance, now: datetime) -> str | None:
    """Words where what is past its days was deleted within the hour."""
    age = materialized_ago(instance, STORAGE, now)
    if age is None or age >= RETENTION_EVERY:
        return None
    return f"retention was done at {local_clock(settings, now - age)}; the next time is due an hour later"


def not_this_minute(settings: Settings, tick: datetime) -> str | None:
    """Words where the feed is polled more rarely than each minute, and this minute is not one of its own."""
    every = settings.feed.every_seconds
    beyond = int(tick.timestamp()) % every
    if every <= 60 or beyond < 60:
        return None
    return f"the feed is polled every {every} s; the next poll is due in {every - beyond} s"


def quota_spent(settings: Settings) -> str | None:
    """Words where the newest poll was told that the feed's quota is spent until a time to come."""
    reset = quota_spent_until(SnapshotStore(settings.raw))
    if reset is None:
        return None
    return f"the feed's quota is spent; it opens again at {local_clock(settings, reset)}"


def kafka_away(settings: Settings) -> str | None:
    """Words where no broker takes a connection."""
    if answers_at(settings.kafka):
        return None
    return f"Kafka unreachable at {settings.kafka}: finished spells wait there, nothing is lost"

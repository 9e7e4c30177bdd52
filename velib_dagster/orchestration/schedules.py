"""What runs by the clock: the poll of each minute, the archive every five minutes, retention every hour.

A tick that launches nothing says why in words. They start by themselves only where VELIB_AUTOMATION=on.
"""

from datetime import datetime

import dagster as dg

from velib_dagster.feed.poll import quota_spent_until
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.orchestration import jobs
from velib_dagster.orchestration.forecast_schedules import forecast_schedules
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.shared import (
    answers_at,
    earlier_run_going,
    local_clock,
    not_polled,
    schedule_status,
)
from velib_dagster.orchestration.statistics_schedule import statistics_schedule
from velib_dagster.settings import Settings


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
        cron_schedule="*/5 * * * *",
        default_status=status,
        description="Archives finished spells every five minutes, unless Kafka is away.",
    )
    def every_five_minutes(context: dg.ScheduleEvaluationContext, platform: Platform) -> dg.RunRequest | dg.SkipReason:
        settings = platform.settings()
        why_not = earlier_run_going(context.instance, jobs.ARCHIVE_EVENTS) or kafka_away(settings)
        return dg.SkipReason(why_not) if why_not else dg.RunRequest()

    @dg.schedule(
        job=jobs.retention,
        cron_schedule="17 * * * *",
        default_status=status,
        description="Deletes every hour what is past its days to keep.",
    )
    def every_hour(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        why_not = earlier_run_going(context.instance, jobs.RETENTION)
        return dg.SkipReason(why_not) if why_not else dg.RunRequest()

    return [every_minute, every_five_minutes, every_hour, statistics_schedule(), *forecast_schedules()]


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

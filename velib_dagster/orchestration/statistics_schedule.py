"""Schedule `statistics_of_due_days`: each minute the newest days in a row whose statistics are due, as one run.

Which days are due stands in `statistics/due_days.py`. One run request a tick: of several, Dagster demands a key in
each, and a key that was used once, as by a run that failed, would block its days.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

import dagster as dg

from velib_dagster.orchestration import jobs
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.shared import (
    FIRST_PARTITION,
    LAST_PARTITION,
    earlier_run_going,
    failed_before,
    schedule_status,
)
from velib_dagster.orchestration.statistics import ASSETS, day_partitions
from velib_dagster.settings import Settings
from velib_dagster.statistics.due_days import archived_spells, due_now, newest_stretch
from velib_dagster.statistics.turns import taken

FIRST_PAUSE: Final = timedelta(minutes=10)
LONGEST_PAUSE: Final = timedelta(hours=6)
"""After failed runs in a row the next one waits 10 minutes, 20, 40, … at most six hours."""


def statistics_schedule() -> dg.ScheduleDefinition:
    """A fresh schedule, running or stopped by what the environment says now."""

    @dg.schedule(
        job=jobs.statistics_of_day,
        cron_schedule="* * * * *",
        default_status=schedule_status(),
        description="Computes days that are new, ended or got late rows, and today once an hour.",
    )
    def statistics_of_due_days(
        context: dg.ScheduleEvaluationContext, platform: Platform
    ) -> dg.RunRequest | dg.SkipReason:
        settings = platform.settings()
        now = context.scheduled_execution_time
        why_not = (
            earlier_run_going(context.instance, jobs.STATISTICS, timedelta(hours=1))
            or taken(settings)
            or failed_before(settings, context.instance, jobs.STATISTICS, now, FIRST_PAUSE, LONGEST_PAUSE)
        )
        if why_not:
            return dg.SkipReason(why_not)
        return _due(context, settings, now)

    return statistics_of_due_days


def _due(context: dg.ScheduleEvaluationContext, settings: Settings, now: datetime) -> dg.RunRequest | dg.SkipReason:
    # Not at the top: the runs of each minute load this module too.
    from velib_dagster.archive.errors import ArchiveError  # noqa: PLC0415
    from velib_dagster.store.connect import StoreError  # noqa: PLC0415

    try:
        due = due_now(settings, tuple(ASSETS), now, doubts_wait=True)
        spells = archived_spells(settings)
        partitions = _partitions(context, settings, now)
    except (ArchiveError, StoreError) as error:
        return dg.SkipReason(str(error))
    if not due:
        return dg.SkipReason("the statistics of every archived day are as new as they have to be")
    known, unknown = _split(due, partitions, now)
    words = _no_partition(unknown, partitions) if unknown else ""
    if not known:
        return dg.SkipReason(words)
    if unknown:
        context.log.warning(words)
    stretch = newest_stretch(known, spells)
    return dg.RunRequest(tags={FIRST_PARTITION: str(stretch[0]), LAST_PARTITION: str(stretch[-1])})


def _partitions(
    context: dg.ScheduleEvaluationContext, settings: Settings, now: datetime
) -> dg.TimeWindowPartitionsDefinition:
    """Those of the code location that evaluates the tick: they are read once, when it starts."""
    if context.repository_def is None:
        return day_partitions(settings, now)
    found = context.repository_def.get_job(jobs.STATISTICS).partitions_def
    if not isinstance(found, dg.TimeWindowPartitionsDefinition):
        msg = f"job {jobs.STATISTICS} has no partitions by day"
        raise TypeError(msg)
    return found


def _split(
    due: Sequence[date], partitions: dg.TimeWindowPartitionsDefinition, now: datetime
) -> tuple[list[date], list[date]]:
    """The days that are partitions, and those that are not; a range of tags is not checked when it is launched."""
    with dg.partition_loading_context(now):
        known = [day for day in due if partitions.has_partition_key(str(day))]
    return known, [day for day in due if day not in known]


def _no_partition(days: Sequence[date], partitions: dg.TimeWindowPartitionsDefinition) -> str:
    named = ", ".join(str(day) for day in sorted(days)[:5]) + (" …" if len(days) > 5 else "")
    return (
        f"no partition and left out: {named}. The days that Dagster knows are {partitions.start:%Y-%m-%d} to today: "
        "earlier ones come in when the platform starts again (Ctrl-C, then velib up), later ones when their day comes"
    )

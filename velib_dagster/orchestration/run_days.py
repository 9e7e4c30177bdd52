"""The statistics of days, run here and now as runs of Dagster: what `velib backfill` ends with.

The runs are those of job `statistics_of_day`, in this process and with the home's own instance, so that Dagster's
pages show the days as materialized.
"""

from collections.abc import Callable, Iterable
from datetime import date
from typing import Final

import dagster as dg

from velib_dagster.definitions import build_defs
from velib_dagster.orchestration import jobs
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.shared import FIRST_PARTITION as FIRST
from velib_dagster.orchestration.shared import LAST_PARTITION as LAST
from velib_dagster.settings import Settings, VelibError
from velib_dagster.statistics.days import Days
from velib_dagster.statistics.proof import stretches

_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class StatisticsFailedError(VelibError):
    """The statistics of some days could not be computed; the message names them and the first reason."""


def materialize_days(settings: Settings, days: Iterable[date], on_days: Callable[[int], None]) -> None:
    """Compute the days, those with few spells together; the environment's DAGSTER_HOME names the instance.

    `on_days` is told how many days were just done.

    Raises:
        StatisticsFailedError: one or more days failed; the others are computed.
        ArchiveError: the archive is damaged.
        KeyboardInterrupt: asked to stop; days done before are computed.
    """
    platform = Platform(home=str(settings.home))
    job = build_defs({"platform": platform}, settings).resolve_job_def(jobs.STATISTICS)
    failed: dict[Days, str] = {}
    with dg.DagsterInstance.get() as instance:
        for stretch in stretches(settings.archive, days, settings.feed.timezone):
            one = stretch.first == stretch.last
            run = job.execute_in_process(
                partition_key=str(stretch) if one else None,
                tags=None if one else {FIRST: str(stretch.first), LAST: str(stretch.last)},
                instance=instance,
                run_config=_QUIET,
                raise_on_error=False,
            )
            if not run.success:
                failed[stretch] = _reason(run)
            on_days(len(list(stretch)))
    if failed:
        first, reason = next(iter(failed.items()))
        msg = f"the statistics of {', '.join(map(str, failed))} failed; {first}: {reason}"
        raise StatisticsFailedError(msg)


def _reason(run: dg.ExecuteInProcessResult) -> str:
    for event in run.all_events:
        failure = event.step_failure_data if event.is_step_failure else None
        if failure is not None and failure.error is not None:
            if failure.error_source is not None and failure.error_source.value == "INTERRUPT":
                raise KeyboardInterrupt  # Dagster keeps it to itself
            return (failure.error.cause or failure.error).message.strip()
    return "see the run in Dagster"

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
from velib_dagster.settings import Settings, VelibError

_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class StatisticsFailedError(VelibError):
    """The statistics of some days could not be computed; the message names them and the first reason."""


def materialize_days(settings: Settings, days: Iterable[date], on_day: Callable[[date], None]) -> None:
    """Compute the days one after the other; the environment's DAGSTER_HOME names the instance.

    Raises:
        StatisticsFailedError: one or more days failed; the others are computed.
    """
    platform = Platform(home=str(settings.home))
    job = build_defs({"platform": platform}, settings).resolve_job_def(jobs.STATISTICS)
    failed: dict[date, str] = {}
    with dg.DagsterInstance.get() as instance:
        for day in days:
            run = job.execute_in_process(
                partition_key=day.isoformat(), instance=instance, run_config=_QUIET, raise_on_error=False
            )
            if not run.success:
                failed[day] = _reason(run)
            on_day(day)
    if failed:
        day, reason = next(iter(failed.items()))
        msg = f"the statistics of {', '.join(map(str, failed))} failed; {day}: {reason}"
        raise StatisticsFailedError(msg)


def _reason(run: dg.ExecuteInProcessResult) -> str:
    for event in run.all_events:
        if event.is_step_failure and event.step_failure_data.error is not None:
            error = event.step_failure_data.error
            return (error.cause or error).message.strip()
    return "see the run in Dagster"

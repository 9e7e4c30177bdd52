"""What of the forecast runs by the clock: training every week, each station's risk every ten minutes.

A tick that launches nothing says why in words.
"""

from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

import dagster as dg

from velib_dagster.archive.commit import read_commit
from velib_dagster.orchestration import jobs
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.shared import answers_at, earlier_run_going, not_polled, schedule_status
from velib_dagster.settings import Settings, VelibError

LEAST_DAYS: Final = 21
"""Archived days from which models are trained by themselves: hours and weekdays need three weeks to tell anything."""


def forecast_schedules() -> list[dg.ScheduleDefinition]:
    """Fresh schedules, running or stopped by what the environment says now."""
    status = schedule_status()

    @dg.schedule(
        job=jobs.train_models,
        cron_schedule="20 3 * * 1",
        default_status=status,
        description="Trains every Monday night, once there are three weeks of data.",
    )
    def train_weekly(context: dg.ScheduleEvaluationContext, platform: Platform) -> dg.RunRequest | dg.SkipReason:
        settings = platform.settings()
        why_not = (
            earlier_run_going(context.instance, jobs.MODELS, timedelta(hours=2))
            or too_few_days(settings)
            or mlflow_away(settings)
        )
        return dg.SkipReason(why_not) if why_not else dg.RunRequest()

    @dg.schedule(
        job=jobs.forecast_stations,
        cron_schedule="*/10 * * * *",
        default_status=status,
        description="Forecasts every ten minutes, once a model has earned it.",
    )
    def forecast_every_ten_minutes(
        context: dg.ScheduleEvaluationContext, platform: Platform
    ) -> dg.RunRequest | dg.SkipReason:
        settings = platform.settings()
        why_not = (
            not_polled(settings)
            or earlier_run_going(context.instance, jobs.FORECASTS)
            or mlflow_away(settings)
            or no_champion(settings)
        )
        return dg.SkipReason(why_not) if why_not else dg.RunRequest()

    return [train_weekly, forecast_every_ten_minutes]


def too_few_days(settings: Settings) -> str | None:
    """Words where the archive has less than three weeks."""
    try:
        commit = read_commit(settings.archive)
    except VelibError as error:
        return str(error)
    days = len(commit.files) if commit else 0
    if days >= LEAST_DAYS:
        return None
    return f"the archive has {days} days, and weekly training begins with {LEAST_DAYS}; by hand: velib train"


def mlflow_away(settings: Settings) -> str | None:
    """Words where nothing listens at MLflow's address."""
    try:
        parts = urlsplit(settings.mlflow)
    except VelibError as error:
        return str(error)
    if answers_at(f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"):
        return None
    return f"MLflow unreachable at {settings.mlflow}"


def no_champion(settings: Settings) -> str | None:
    """Words where no model of this feed has the alias."""
    from velib_dagster.forecast.champion import has_champion  # noqa: PLC0415 - numpy; minute runs load this module

    try:
        if has_champion(settings.mlflow, settings.feed.name):
            return None
    except VelibError as error:
        return str(error)
    return "no model has earned the alias champion yet: velib train, or the assets of the models"

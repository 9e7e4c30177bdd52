"""What of the forecast runs by the clock: the first training, one every week, each station's risk every ten minutes.

Ticks look each minute and launch what is due; one that launches nothing says why in words. When something is due stands
in `due_models.py`.
"""

from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

import dagster as dg

from velib_dagster.orchestration import jobs
from velib_dagster.orchestration.due_models import due_training, forecast_made
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.shared import answers_at, earlier_run_going, failed_before, not_polled, schedule_status
from velib_dagster.settings import Settings, VelibError

MODEL_KEYS: Final = (dg.AssetKey("full_station_model"), dg.AssetKey("empty_station_model"))
FORECAST_KEY: Final = dg.AssetKey("station_forecasts")
FIRST_TRAINING: Final = {"models": "logistic_lags,gbt_lags", "horizons": "15"}
"""Small and quick: a new home shows a comparison within minutes. The training of the week takes all."""
TRAINING_PAUSES: Final = (timedelta(minutes=10), timedelta(hours=12))
FORECAST_PAUSES: Final = (timedelta(minutes=1), timedelta(minutes=10))
"""The first and the longest pause after failed runs in a row; it doubles with each."""


def forecast_schedules() -> list[dg.ScheduleDefinition]:
    """Fresh schedules, running or stopped by what the environment says now."""
    status = schedule_status()

    @dg.schedule(
        job=jobs.train_models,
        cron_schedule="* * * * *",
        default_status=status,
        description="Trains once the archive can be split, two models at 15 minutes; then all every Monday night.",
    )
    def train_weekly(context: dg.ScheduleEvaluationContext, platform: Platform) -> dg.RunRequest | dg.SkipReason:
        settings = platform.settings()
        going = earlier_run_going(context.instance, jobs.MODELS, timedelta(hours=2))
        if going:
            return dg.SkipReason(going)
        return _training(settings, context.instance, context.scheduled_execution_time)

    @dg.schedule(
        job=jobs.forecast_stations,
        cron_schedule="* * * * *",
        default_status=status,
        description="Forecasts every ten minutes: by the champions, or by the best rival where there is none.",
    )
    def forecast_every_ten_minutes(
        context: dg.ScheduleEvaluationContext, platform: Platform
    ) -> dg.RunRequest | dg.SkipReason:
        settings = platform.settings()
        why_not = (
            not_polled(settings)
            or earlier_run_going(context.instance, jobs.FORECASTS)
            or _not_now(settings, context.instance, context.scheduled_execution_time)
            or mlflow_away(settings)
            or no_poll(settings)
        )
        return dg.SkipReason(why_not) if why_not else dg.RunRequest()

    return [train_weekly, forecast_every_ten_minutes]


def _training(settings: Settings, instance: dg.DagsterInstance, now: datetime) -> dg.RunRequest | dg.SkipReason:
    from velib_dagster.archive.errors import ArchiveError  # noqa: PLC0415 - the runs of each minute load this module

    trained = [_materialized(instance, key) for key in MODEL_KEYS]
    trained_at = min((at for at in trained if at is not None), default=None) if None not in trained else None
    try:
        found = due_training(settings, trained_at, now)
    except ArchiveError as error:
        return dg.SkipReason(str(error))
    if isinstance(found, str):
        return dg.SkipReason(found)
    why_not = failed_before(settings, instance, jobs.MODELS, now, *TRAINING_PAUSES) or mlflow_away(settings)
    if why_not:
        return dg.SkipReason(why_not)
    if not found.first:
        return dg.RunRequest(tags={"velib/training": "weekly"})
    return dg.RunRequest(
        run_config={"ops": {"models": {"config": dict(FIRST_TRAINING)}}}, tags={"velib/training": "first"}
    )


def _not_now(settings: Settings, instance: dg.DagsterInstance, now: datetime) -> str | None:
    made = forecast_made(_materialized(instance, FORECAST_KEY), now, settings.feed.zone_info)
    return made or failed_before(settings, instance, jobs.FORECASTS, now, *FORECAST_PAUSES)


def _materialized(instance: dg.DagsterInstance, key: dg.AssetKey) -> datetime | None:
    event = instance.get_latest_materialization_event(key)
    return datetime.fromtimestamp(event.timestamp, UTC) if event else None


def mlflow_away(settings: Settings) -> str | None:
    """Words where nothing listens at MLflow's address."""
    try:
        parts = urlsplit(settings.mlflow)
    except VelibError as error:
        return str(error)
    if answers_at(f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"):
        return None
    return f"MLflow unreachable at {settings.mlflow}"


def no_poll(settings: Settings) -> str | None:
    """Words where PostgreSQL has no usable poll to forecast from."""
    from velib_dagster.store.connect import StoreError, connect  # noqa: PLC0415 - minute runs load this module too
    from velib_dagster.store.forecasts import newest_usable_poll  # noqa: PLC0415

    try:
        with connect(settings, readonly=True) as connection:
            if newest_usable_poll(connection) is not None:
                return None
    except StoreError as error:
        return str(error)
    return f"{settings.database} has no usable poll yet: there is nothing to forecast from"

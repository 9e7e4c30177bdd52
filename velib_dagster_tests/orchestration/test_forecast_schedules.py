"""When trainings and forecasts are launched, tick by tick, and the words of a tick that launches nothing."""

import socket
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from velib_dagster.archive.commit import Commit, FileLength, Source, day_path, write_commit
from velib_dagster.definitions import build_defs
from velib_dagster.events.records import CSV_HEADER
from velib_dagster.orchestration import jobs
from velib_dagster.orchestration.due_models import Due, due_training, forecast_made, newest_monday
from velib_dagster.orchestration.forecast_schedules import FIRST_TRAINING, FORECAST_KEY, MODEL_KEYS
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.schedules import default_schedules
from velib_dagster.settings import Feed, Settings
from velib_dagster.store.connect import connect
from velib_dagster.store.migrate import migrate
from velib_dagster_tests.store.test_forecasts import add_poll

PARIS = ZoneInfo("Europe/Paris")
THURSDAY = datetime(2024, 11, 7, 12, tzinfo=UTC)


@dg.graph
def noop() -> None: ...


def tick(name: str, instance: dg.DagsterInstance, platform: Platform, when: datetime = THURSDAY) -> dg.RunRequest | str:
    """What a tick launches, or its words."""
    schedule = next(found for found in default_schedules() if found.name == name)
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=when, resources={"platform": platform}
    ) as context:
        found = schedule.evaluate_tick(context)
    if found.skip_message:
        assert not found.run_requests
        return found.skip_message
    (request,) = found.run_requests or ()
    return request


def training(instance: dg.DagsterInstance, platform: Platform, when: datetime = THURSDAY) -> dg.RunRequest | str:
    return tick("train_weekly", instance, platform, when)


def archive(home: Settings, first: datetime, last: datetime) -> None:
    """An archive whose first spell began at one instant and whose last ended at another."""
    home.archive.mkdir(exist_ok=True)
    begin, end = first.astimezone(PARIS).date(), last.astimezone(PARIS).date()
    days = [begin + timedelta(days=number) for number in range((end - begin).days + 1)]
    for day in days:
        since = first if day == begin else datetime(day.year, day.month, day.day, tzinfo=PARIS)
        row = [since.isoformat() if column == "since" else "x" for column in CSV_HEADER]
        day_path(home.archive, day).write_text(f"{','.join(CSV_HEADER)}\r\n{','.join(row)}\r\n")
    source = Source(topic="t", cluster_id="c", topic_id="t")
    lengths = {day: FileLength(day_path(home.archive, day).stat().st_size, 1) for day in days}
    commit = Commit(source=source, timezone="Europe/Paris", next_offset=1, files=lengths, through=last)
    write_commit(home.archive, commit)


@pytest.fixture
def mlflow_listens(home: Settings) -> Iterator[None]:
    """A port that takes connections, in the home as MLflow's: all that a tick asks of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ports = {**home.ports, "mlflow": int(server.getsockname()[1])}
        Settings(home=home.home, feed=home.feed, ports=ports).save()
        yield


def materialized(instance: dg.DagsterInstance, *keys: dg.AssetKey) -> datetime:
    for key in keys:
        instance.report_runless_asset_event(dg.AssetMaterialization(key))
    return datetime.now(UTC)


def test_without_an_archive_no_training_is_due(instance: dg.DagsterInstance, platform: Platform) -> None:
    assert str(training(instance, platform)).startswith("three days at least are needed")


@pytest.mark.parametrize("hour", range(24))
def test_two_days_of_history_can_be_split_at_any_hour(home: Settings, hour: int) -> None:
    now = datetime(2024, 11, 7, hour, 1, tzinfo=PARIS)
    archive(home, now - timedelta(hours=48), now - timedelta(minutes=1))
    assert due_training(home, None, now) == Due(first=True)


@pytest.mark.usefixtures("mlflow_listens")
def test_a_home_with_two_days_of_history_trains_at_its_first_tick(
    instance: dg.DagsterInstance, platform: Platform, home: Settings
) -> None:
    now = datetime(2024, 11, 7, 0, 1, tzinfo=PARIS)
    archive(home, now - timedelta(hours=48), now - timedelta(minutes=1))
    request = training(instance, platform, now)
    assert isinstance(request, dg.RunRequest)
    assert request.run_key is None
    assert request.tags["velib/training"] == "first"
    config = request.run_config["ops"]["models"]["config"]
    assert (config["models"].count(",") + 1, config["horizons"]) == (2, "15")


def test_the_first_trainings_config_is_one_that_the_job_takes() -> None:
    job = build_defs().resolve_job_def(jobs.MODELS)
    assert dg.validate_run_config(job, {"ops": {"models": {"config": FIRST_TRAINING}}})


@pytest.mark.parametrize("hours", [1, 20, 30, 38])
def test_a_live_home_waits_until_there_is_something_to_validate_on(home: Settings, hours: int) -> None:
    archive(home, THURSDAY - timedelta(hours=hours), THURSDAY)
    assert "three days at least are needed" in str(due_training(home, None, THURSDAY))


def test_a_live_home_trains_on_its_third_day(home: Settings) -> None:
    begin = datetime(2024, 11, 5, 17, tzinfo=PARIS)
    archive(home, begin, datetime(2024, 11, 7, 5, tzinfo=PARIS))
    assert "three days" in str(due_training(home, None, THURSDAY))
    archive(home, begin, datetime(2024, 11, 7, 6, tzinfo=PARIS))
    assert due_training(home, None, THURSDAY) == Due(first=True)


def test_a_training_waits_for_mlflow(instance: dg.DagsterInstance, platform: Platform, home: Settings) -> None:
    archive(home, THURSDAY - timedelta(days=3), THURSDAY)
    assert "MLflow unreachable" in str(training(instance, platform))


@pytest.mark.usefixtures("mlflow_listens")
def test_after_the_first_training_one_a_week_is_launched_late_rather_than_never(
    instance: dg.DagsterInstance, platform: Platform, home: Settings
) -> None:
    trained = materialized(instance, *MODEL_KEYS)
    archive(home, trained - timedelta(days=9), trained)
    assert str(training(instance, platform, trained + timedelta(minutes=1))).startswith("trained on")
    monday = newest_monday(trained + timedelta(days=7, hours=12), PARIS)
    assert isinstance(training(instance, platform, monday - timedelta(minutes=1)), str)
    for late in (timedelta(), timedelta(days=2), timedelta(weeks=1), timedelta(weeks=5)):
        request = training(instance, platform, monday + late)
        assert isinstance(request, dg.RunRequest)
        assert request.tags["velib/training"] == "weekly"
        assert not request.run_config, "all models and horizons"


@pytest.mark.usefixtures("mlflow_listens")
def test_one_model_alone_is_no_first_training_yet(
    instance: dg.DagsterInstance, platform: Platform, home: Settings
) -> None:
    trained = materialized(instance, MODEL_KEYS[0])
    archive(home, trained - timedelta(days=3), trained)
    request = training(instance, platform, trained)
    assert isinstance(request, dg.RunRequest)
    assert request.tags["velib/training"] == "first"


@pytest.mark.usefixtures("mlflow_listens")
def test_a_training_of_a_clock_that_was_ahead_holds_nothing_up(
    instance: dg.DagsterInstance, platform: Platform, home: Settings
) -> None:
    ahead = materialized(instance, *MODEL_KEYS)
    now = ahead - timedelta(days=3650)
    archive(home, now - timedelta(days=3), now)
    assert isinstance(training(instance, platform, now), dg.RunRequest)


@pytest.mark.usefixtures("mlflow_listens")
def test_a_failed_training_is_tried_again_with_growing_pauses(
    instance: dg.DagsterInstance, platform: Platform, home: Settings
) -> None:
    failed = datetime.now(UTC)
    archive(home, failed - timedelta(days=3), failed)
    for _ in range(2):
        run = instance.create_run_for_job(noop.to_job(name=jobs.MODELS), status=dg.DagsterRunStatus.STARTED)
        instance.report_run_failed(run)
    words = training(instance, platform, failed + timedelta(minutes=15))
    assert str(words).startswith("2 failed runs of train_models in a row, the newest")
    assert isinstance(training(instance, platform, failed + timedelta(minutes=21)), dg.RunRequest)
    behind = failed - timedelta(days=1)
    archive(home, behind - timedelta(days=3), behind)
    assert isinstance(training(instance, platform, behind), dg.RunRequest), "they failed by a clock that was ahead"


def test_an_earlier_run_is_waited_for(instance: dg.DagsterInstance, platform: Platform) -> None:
    for name, job in (("train_weekly", jobs.MODELS), ("forecast_every_ten_minutes", jobs.FORECASTS)):
        instance.create_run_for_job(noop.to_job(name=job), status=dg.DagsterRunStatus.STARTED)
        assert f"an earlier run of {job} is still going" in str(tick(name, instance, platform))


@pytest.mark.parametrize(
    ("now", "monday"),
    [
        (datetime(2024, 11, 4, 3, 19, tzinfo=PARIS), date(2024, 10, 28)),
        (datetime(2024, 11, 4, 3, 20, tzinfo=PARIS), date(2024, 11, 4)),
        (datetime(2024, 11, 10, 23, 59, tzinfo=PARIS), date(2024, 11, 4)),
        (datetime(2024, 10, 27, 12, tzinfo=PARIS), date(2024, 10, 21)),
    ],
)
def test_a_week_begins_on_monday_at_3_20(now: datetime, monday: date) -> None:
    found = newest_monday(now.astimezone(UTC), PARIS)
    assert found == datetime(monday.year, monday.month, monday.day, 3, 20, tzinfo=PARIS)


def test_a_forecast_is_due_once_in_each_ten_minutes() -> None:
    made = datetime(2024, 11, 7, 12, 3, 20, tzinfo=UTC)
    due = [forecast_made(made, THURSDAY + timedelta(minutes=n), PARIS) is None for n in range(25)]
    assert due == [True] * 3 + [False] * 7 + [True] * 15
    words = forecast_made(made, THURSDAY + timedelta(minutes=5), PARIS)
    assert words == "forecast at 7 Nov 13:03; the next one is due at 7 Nov 13:10"
    assert forecast_made(None, THURSDAY, PARIS) is None
    assert forecast_made(made + timedelta(days=1), THURSDAY, PARIS) is None, "a clock that was ahead"


@pytest.mark.postgres
def test_forecasts_wait_for_mlflow_and_a_poll_and_need_no_champion(
    instance: dg.DagsterInstance,
    postgres_settings: Settings,
    fresh_feed: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = fresh_feed(postgres_settings)
    migrate(settings)
    Settings(home=settings.home, feed=Feed(settings.feed.name, "http://127.0.0.1:9/"), ports=settings.ports).save()
    platform = Platform(home=str(settings.home))

    def words(when: datetime = THURSDAY) -> str:
        return str(tick("forecast_every_ten_minutes", instance, platform, when))

    monkeypatch.setenv("VELIB_MLFLOW", "http://127.0.0.1:9")
    assert "MLflow unreachable" in words()
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("VELIB_MLFLOW", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert "has no usable poll yet" in words()
        with connect(settings) as connection:
            add_poll(connection, THURSDAY)
        assert isinstance(tick("forecast_every_ten_minutes", instance, platform), dg.RunRequest)
        made = materialized(instance, FORECAST_KEY)
        assert words(made).startswith("forecast at")
        assert isinstance(
            tick("forecast_every_ten_minutes", instance, platform, made + timedelta(minutes=10)), dg.RunRequest
        )
    Settings(home=settings.home, feed=Feed("recordings", "")).save()
    assert "the feed recordings has no address to poll" in words()

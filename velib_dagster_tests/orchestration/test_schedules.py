"""What the schedules launch, and the words of a tick that launches nothing."""

import socket
from datetime import UTC, datetime, timedelta
from typing import cast

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from velib_dagster.feed.answers import Fetched
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.orchestration import jobs
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.schedules import default_schedules, not_this_minute
from velib_dagster.orchestration.shared import earlier_run_going
from velib_dagster.settings import Feed, Settings

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def tick(name: str, instance: dg.DagsterInstance, platform: Platform, when: datetime = NOON) -> str | None:
    """The words of a skipped tick, None for one that launches."""
    schedule = next(found for found in default_schedules() if found.name == name)
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=when, resources={"platform": platform}
    ) as context:
        found = schedule.evaluate_tick(context)
    assert len(found.run_requests or ()) == (0 if found.skip_message else 1)
    return found.skip_message


def add_run(instance: dg.DagsterInstance, job: str, status: DagsterRunStatus) -> str:
    return instance.create_run_for_job(noop.to_job(name=job), status=status).run_id


@dg.graph
def noop() -> None: ...


def test_each_minute_polls(instance: dg.DagsterInstance, platform: Platform) -> None:
    assert tick("every_minute", instance, platform) is None


def test_an_earlier_poll_that_is_still_going_is_waited_for(instance: dg.DagsterInstance, platform: Platform) -> None:
    run_id = add_run(instance, jobs.POLL_FEED, DagsterRunStatus.STARTED)
    words = tick("every_minute", instance, platform)
    assert words is not None
    assert words.startswith(f"an earlier run of poll_feed is still going: {run_id[:8]}, started")


def test_a_run_that_was_orphaned_holds_its_job_back_for_a_while_only(instance: dg.DagsterInstance) -> None:
    add_run(instance, jobs.POLL_FEED, DagsterRunStatus.STARTED)
    assert earlier_run_going(instance, jobs.POLL_FEED)
    assert earlier_run_going(instance, jobs.POLL_FEED, timedelta(0)) is None


def test_a_run_of_another_job_or_one_that_ended_holds_nothing_back(
    instance: dg.DagsterInstance, platform: Platform
) -> None:
    add_run(instance, jobs.PRODUCER, DagsterRunStatus.STARTED)
    add_run(instance, jobs.POLL_FEED, DagsterRunStatus.SUCCESS)
    assert tick("every_minute", instance, platform) is None


def test_a_spent_quota_is_told_with_its_end(instance: dg.DagsterInstance, platform: Platform, home: Settings) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    SnapshotStore(home.raw).add(
        Fetched(poll_time=now, fetched_at=now, answers=(), error="429", quota_reset=now + timedelta(hours=1))
    )
    words = tick("every_minute", instance, platform)
    assert words is not None
    assert "quota is spent" in words


def test_recordings_are_not_polled(instance: dg.DagsterInstance, platform: Platform, home: Settings) -> None:
    Settings(home=home.home, feed=Feed("recordings", "")).save()
    assert "velib backfill" in str(tick("every_minute", instance, platform))


@pytest.mark.parametrize(("every", "polls"), [(60, 10), (120, 5), (300, 2), (90, 7)])
def test_a_feed_polled_more_rarely_skips_minutes_in_words(every: int, polls: int) -> None:
    settings = cast("Settings", Settings(home=None, feed=Feed("f", "http://x/", every_seconds=every)))  # type: ignore[arg-type]
    skipped = [not_this_minute(settings, NOON + timedelta(minutes=minute)) for minute in range(10)]
    assert skipped.count(None) == polls


def test_the_archive_waits_while_kafka_is_away_and_goes_on_when_it_is_back(
    instance: dg.DagsterInstance, platform: Platform, home: Settings
) -> None:
    words = tick("every_five_minutes", instance, platform)
    assert words is not None
    assert words.startswith("Kafka unreachable at 127.0.0.1:9")
    with socket.create_server(("127.0.0.1", 0)) as server:
        Settings(home=home.home, feed=home.feed, ports={"kafka": server.getsockname()[1]}).save()
        assert tick("every_five_minutes", instance, platform) is None


def test_retention_runs_each_hour(instance: dg.DagsterInstance, platform: Platform) -> None:
    assert tick("every_hour", instance, platform) is None

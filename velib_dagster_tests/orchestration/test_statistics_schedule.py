"""Which days one tick of `statistics_of_due_days` launches, judged by Dagster itself, on a real PostgreSQL."""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from velib_dagster.archive.commit import Commit, FileLength, Source, day_path, write_commit
from velib_dagster.definitions import build_defs
from velib_dagster.orchestration import jobs
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.shared import FIRST_PARTITION, LAST_PARTITION
from velib_dagster.settings import Settings
from velib_dagster.statistics.turns import turn
from velib_dagster.store.connect import connect
from velib_dagster.store.days import TABLES, replace_day
from velib_dagster.store.migrate import migrate

pytestmark = pytest.mark.postgres
NAME = "statistics_of_due_days"
TODAY = date(2026, 3, 12)
NOON = datetime(2026, 3, 12, 11, tzinfo=UTC)


@pytest.fixture
def settings(postgres_settings: Settings, fresh_feed: Callable[..., Settings]) -> Settings:
    made = fresh_feed(postgres_settings)
    migrate(made)
    return made


def days_ago(number: int) -> date:
    return TODAY - timedelta(days=number)


def archived(settings: Settings, *days: date, length: int = 10, rows: int = 1) -> None:
    """An archive with files of these days; what they hold is never read by a tick."""
    settings.archive.mkdir(parents=True, exist_ok=True)
    for day in days:
        day_path(settings.archive, day).write_bytes(b"x" * length)
    source = Source(topic="t", cluster_id="c", topic_id="t")
    lengths = dict.fromkeys(days, FileLength(length, rows))
    write_commit(settings.archive, Commit(source=source, timezone=settings.feed.timezone, next_offset=1, files=lengths))


def computed(settings: Settings, *days: date, length: int = 10) -> None:
    with connect(settings) as connection:
        for asset, tables in TABLES.items():
            for day in days:
                replace_day(
                    connection, asset, day, {table: [] for table in tables},
                    day_seconds=86_400, network_seconds=0, spells=0, archived_bytes=length,
                )  # fmt: skip


def tick(
    settings: Settings, instance: dg.DagsterInstance, when: datetime = NOON, loaded: Settings | None = None
) -> tuple[date, date] | str:
    """First and last day of the run that the tick launches, or its words; Dagster checks what the tick returns."""
    repository = build_defs({"platform": Platform(home=str(settings.home))}, loaded or settings).get_repository_def()
    with dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=when,
        repository_def=repository,
        resources={"platform": Platform(home=str(settings.home))},
    ) as context:
        found = repository.get_schedule_def(NAME).evaluate_tick(context)
    if not found.run_requests:
        return str(found.skip_message)
    (request,) = found.run_requests
    assert request.partition_key is None
    assert request.run_key is None
    return date.fromisoformat(request.tags[FIRST_PARTITION]), date.fromisoformat(request.tags[LAST_PARTITION])


def test_a_home_without_rows_says_that_nothing_is_due(
    postgres_settings: Settings, fresh_feed: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    without_database = fresh_feed(postgres_settings)
    assert "as new as they have to be" in str(tick(without_database, instance))


def test_the_three_days_of_a_new_home_are_one_run(settings: Settings, instance: dg.DagsterInstance) -> None:
    archived(settings, days_ago(2), days_ago(1), TODAY)
    assert tick(settings, instance) == (days_ago(2), TODAY)


def test_one_day_is_a_run_too(settings: Settings, instance: dg.DagsterInstance) -> None:
    archived(settings, days_ago(1), TODAY)
    computed(settings, days_ago(1))
    assert tick(settings, instance) == (TODAY, TODAY)
    computed(settings, TODAY)
    assert "as new as they have to be" in str(tick(settings, instance))


def test_a_gap_ends_the_stretch_and_a_run_has_a_week_at_most(settings: Settings, instance: dg.DagsterInstance) -> None:
    archived(settings, *(days_ago(number) for number in range(12)))
    assert tick(settings, instance) == (days_ago(6), TODAY)
    computed(settings, *(days_ago(number) for number in range(7)), days_ago(9))
    assert tick(settings, instance) == (days_ago(8), days_ago(7))


def test_a_run_has_no_more_spells_than_a_driver_holds_unless_one_day_has(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    archived(settings, days_ago(2), days_ago(1), TODAY, rows=200_000)
    assert tick(settings, instance) == (days_ago(1), TODAY)
    archived(settings, days_ago(2), days_ago(1), TODAY, rows=2_000_000)
    assert tick(settings, instance) == (TODAY, TODAY)


def test_a_minute_after_midnight_the_new_day_is_a_partition_and_the_old_one_is_due_once_more(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    just_after = datetime(2026, 3, 12, 23, 1, tzinfo=UTC)  # 00:01 of the next day in Paris
    archived(settings, TODAY, TODAY + timedelta(days=1))
    computed(settings, TODAY, length=9)
    assert tick(settings, instance, just_after) == (TODAY, TODAY + timedelta(days=1))


def test_days_that_are_no_partitions_are_left_out_in_words_and_the_others_launched(
    settings: Settings, instance: dg.DagsterInstance, fresh_feed: Callable[..., Settings], postgres_settings: Settings
) -> None:
    loaded_with = fresh_feed(postgres_settings)
    archived(loaded_with, days_ago(1))
    future = TODAY + timedelta(days=3650)
    archived(settings, days_ago(30), days_ago(1), TODAY, TODAY + timedelta(days=1), future)
    assert tick(settings, instance, loaded=loaded_with) == (days_ago(1), TODAY)
    computed(settings, days_ago(1), TODAY)
    words = str(tick(settings, instance, loaded=loaded_with))
    assert f"left out: {days_ago(30)}, {TODAY + timedelta(days=1)}, {future}" in words
    assert f"are {days_ago(1)} to today" in words


@dg.graph
def noop() -> None: ...


def test_after_failed_runs_the_next_one_waits_longer_each_time(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    archived(settings, days_ago(1))
    for minutes in (10, 20, 40):
        instance.create_run_for_job(noop.to_job(name=jobs.STATISTICS), status=dg.DagsterRunStatus.FAILURE)
        now = datetime.now(UTC)
        before, after = (tick(settings, instance, now + timedelta(minutes=minutes + beside)) for beside in (-1, 1))
        assert "in a row" in before
        assert after == "" or "in a row" not in after


def test_postgresql_away_and_a_damaged_archive_are_words(settings: Settings, instance: dg.DagsterInstance) -> None:
    archived(settings, days_ago(1))
    (settings.archive / "commit.json").write_text("{")
    assert "commit.json" in str(tick(settings, instance, loaded=Settings(home=settings.home / "x", feed=settings.feed)))
    archived(settings, days_ago(1))
    Settings(home=settings.home, feed=settings.feed, ports={**settings.ports, "postgres": 9}).save()
    assert "PostgreSQL" in str(tick(settings, instance))


def test_while_a_command_computes_nothing_is_launched(settings: Settings, instance: dg.DagsterInstance) -> None:
    archived(settings, days_ago(1))
    with turn(settings, 0, lambda _: None):
        assert tick(settings, instance) == f"the statistics are being computed by process {os.getpid()}"
    assert tick(settings, instance) == (days_ago(1), days_ago(1))

"""Every schedule and sensor, looked at by Dagster itself in the states that a home comes into: no tick may fail.

What each one launches has tests of its own; here Dagster's own demands on what a tick returns hold in every state.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from velib_dagster.archive.commit import Commit, FileLength, Source, day_path, write_commit
from velib_dagster.definitions import build_defs
from velib_dagster.events.records import CSV_HEADER
from velib_dagster.feed.answers import Fetched
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.shared import CSV_ARCHIVE, STORAGE
from velib_dagster.settings import Settings
from velib_dagster.store.connect import connect
from velib_dagster.store.days import TABLES, replace_day
from velib_dagster.store.migrate import migrate

pytestmark = pytest.mark.postgres
NOON = datetime(2026, 3, 12, 11, tzinfo=UTC)
JUST_AFTER_MIDNIGHT = datetime(2026, 3, 11, 23, 1, tzinfo=UTC)
NOWHERE = 9
Ticks = dict[str, list[dg.RunRequest] | str]
"""What each schedule and sensor launches, or its words."""


def look(settings: Settings, instance: dg.DagsterInstance, now: datetime) -> Ticks:
    """One tick of every schedule and sensor of the code location, as the daemon has them evaluated."""
    platform = Platform(home=str(settings.home))
    repository = build_defs({"platform": platform}, settings).get_repository_def()
    found: Ticks = {}
    for schedule in repository.schedule_defs:
        with dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=now,
            repository_def=repository,
            resources={"platform": platform},
        ) as context:
            tick = schedule.evaluate_tick(context)
        found[schedule.name] = list(tick.run_requests or ()) or str(tick.skip_message or "")
    for sensor in repository.sensor_defs:
        if sensor.name == "default_automation_condition_sensor":
            continue
        with dg.build_sensor_context(
            instance=instance, repository_def=repository, resources={"platform": platform}
        ) as context:
            looked = sensor.evaluate_tick(context)
        found[sensor.name] = list(looked.run_requests or ()) or str(looked.skip_message or "")
    for name, outcome in found.items():
        assert outcome, f"{name} launches nothing and says nothing"
    return found


def launched(ticks: Ticks) -> set[str]:
    return {name for name, outcome in ticks.items() if not isinstance(outcome, str)}


@pytest.fixture
def new_home(postgres_settings: Settings, fresh_feed: Callable[..., Settings]) -> Settings:
    """A home in which nothing has run but PostgreSQL; no broker, no MLflow, no database of the feed."""
    made = fresh_feed(postgres_settings, url="http://127.0.0.1:9/feed")
    with_ports = replace(made, ports={**made.ports, "kafka": NOWHERE, "mlflow": NOWHERE})
    with_ports.save()
    return with_ports


def lived_until(settings: Settings, instance: dg.DagsterInstance, last: date, days: int = 3) -> None:
    """The home as a platform leaves it that ran for some days: archive, a snapshot, statistics but of the last day."""
    migrate(settings)
    settings.archive.mkdir(parents=True, exist_ok=True)
    known = [last - timedelta(days=number) for number in range(days)]
    content = (",".join(CSV_HEADER) + "\r\n").encode()
    for day in known:
        day_path(settings.archive, day).write_bytes(content)
    end = datetime.combine(last, datetime.min.time(), UTC) + timedelta(hours=12)
    write_commit(
        settings.archive,
        Commit(
            source=Source(topic="t", cluster_id="c", topic_id="t"),
            timezone=settings.feed.timezone,
            next_offset=1,
            through=end,
            files=dict.fromkeys(known, FileLength(len(content), 1)),
        ),
    )
    SnapshotStore(settings.raw).add(Fetched(poll_time=end, fetched_at=end, answers=()))
    with connect(settings) as connection:
        for day in known[1:]:
            for asset, tables in TABLES.items():
                replace_day(
                    connection, asset, day, {table: [] for table in tables},
                    day_seconds=86_400, network_seconds=0, spells=0, archived_bytes=len(content),
                )  # fmt: skip
    for key in (CSV_ARCHIVE, STORAGE):
        instance.report_runless_asset_event(dg.AssetMaterialization(key))


@pytest.mark.parametrize("now", [NOON, JUST_AFTER_MIDNIGHT], ids=["noon", "00:01"])
def test_in_a_new_home_no_tick_fails_and_what_needs_nothing_is_launched_at_once(
    new_home: Settings, instance: dg.DagsterInstance, now: datetime
) -> None:
    ticks = look(new_home, instance, now)
    assert {"every_minute", "every_hour"} <= launched(ticks)
    assert "as new as they have to be" in str(ticks["statistics_of_due_days"])
    assert str(ticks["every_five_minutes"]).startswith("Kafka unreachable")
    assert ticks["new_snapshots"] == "no snapshot yet"


@pytest.mark.parametrize("now", [NOON, JUST_AFTER_MIDNIGHT], ids=["noon", "00:01"])
def test_a_new_home_with_days_of_history_launches_their_statistics_as_one_run(
    new_home: Settings, instance: dg.DagsterInstance, now: datetime
) -> None:
    today = now.astimezone(new_home.feed.zone_info).date()
    lived_until(new_home, instance, today, days=1)
    lived_until(new_home, instance, today)
    (request,) = look(new_home, instance, now)["statistics_of_due_days"]
    assert isinstance(request, dg.RunRequest)


@pytest.mark.parametrize("days", [1, 7])
def test_after_a_pause_no_tick_fails_and_the_last_day_is_computed_once_more(
    new_home: Settings, instance: dg.DagsterInstance, days: int
) -> None:
    now = datetime.now(UTC) + timedelta(days=days)
    lived_until(new_home, instance, (now - timedelta(days=days)).date())
    ticks = look(new_home, instance, now)
    assert {"every_minute", "every_hour", "statistics_of_due_days"} <= launched(ticks)
    assert "Kafka unreachable" in str(ticks["new_snapshots"])


def test_with_postgresql_away_every_tick_says_so_or_goes_on(new_home: Settings, instance: dg.DagsterInstance) -> None:
    lived_until(new_home, instance, NOON.date())
    replace(new_home, ports={**new_home.ports, "postgres": NOWHERE}).save()
    ticks = look(replace(new_home, ports={**new_home.ports, "postgres": NOWHERE}), instance, NOON)
    assert "PostgreSQL can't be reached" in str(ticks["statistics_of_due_days"])
    assert "PostgreSQL can't be reached" in str(ticks["streaming_progress"])
    assert "every_minute" in launched(ticks)


def test_a_schema_of_an_older_program_is_words_until_it_is_migrated(
    new_home: Settings, instance: dg.DagsterInstance
) -> None:
    lived_until(new_home, instance, NOON.date())
    with connect(new_home) as connection:
        connection.execute("DROP TABLE days_in_doubt")
    assert "is not made yet" in str(look(new_home, instance, NOON)["statistics_of_due_days"])

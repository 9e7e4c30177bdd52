"""What is deleted when it is past its days, and what never is."""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from velib_dagster.archive.commit import Commit, FileLength, Source, day_path
from velib_dagster.archive.rows import HEADER_LINE
from velib_dagster.feed.answers import Fetched
from velib_dagster.feed.clocks import Boot
from velib_dagster.feed.poll import now_by_polls
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.orchestration import jobs
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.retention import (
    Retention,
    archive_bytes_a_day,
    delete_snapshots,
    first_day_to_keep,
    storage,
)
from velib_dagster.orchestration.shared import STATION_EVENTS
from velib_dagster.orchestration.upkeep import delete_logs, delete_runs
from velib_dagster.settings import Settings
from velib_dagster.store.connect import connect
from velib_dagster.store.migrate import migrate
from velib_dagster.store.old_rows import delete_old_rows
from velib_dagster_tests.feed.machine import Machine

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SOURCE = Source(topic="here.spells", cluster_id="c", topic_id="t")
LATER = timedelta(days=1)


@dg.asset(key=STATION_EVENTS)
def minute() -> dg.MaterializeResult:  # type: ignore[type-arg]
    return dg.MaterializeResult(metadata={"published_through": "x"})


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["monday"]))
def daily() -> None: ...


def run_job(instance: dg.DagsterInstance, name: str, partition: str | None = None) -> str:
    asset = daily if partition else minute
    job = dg.define_asset_job(name, selection=[asset], executor_def=dg.in_process_executor)
    built = dg.Definitions(assets=[asset], jobs=[job]).resolve_job_def(name)
    return built.execute_in_process(instance=instance, partition_key=partition).run_id


def files_of(instance: dg.DagsterInstance, run_id: str) -> list[Path]:
    return [path for path in Path(instance.root_directory).rglob("*") if run_id in str(path)]


def test_old_runs_of_frequent_jobs_go_with_their_files(instance: dg.DagsterInstance) -> None:
    gone = [run_job(instance, jobs.PRODUCER) for _ in range(3)]
    kept = run_job(instance, "somebody_else")
    assert delete_runs(instance, jobs.FREQUENT_JOBS, datetime.now(UTC) + LATER, batch=2) == 3
    assert [record.run_id for record in instance.get_runs()] == [kept]
    assert not [path for run_id in gone for path in files_of(instance, run_id)]
    assert files_of(instance, kept)


def test_runs_younger_than_their_days_stay(instance: dg.DagsterInstance) -> None:
    run_job(instance, jobs.PRODUCER)
    assert delete_runs(instance, jobs.FREQUENT_JOBS, datetime.now(UTC) - LATER) == 0
    assert len(instance.get_runs()) == 1


def test_a_run_of_a_partition_stays_since_its_partition_would_count_as_missing(
    instance: dg.DagsterInstance,
) -> None:
    run_job(instance, jobs.PRODUCER, "monday")
    assert delete_runs(instance, jobs.FREQUENT_JOBS, datetime.now(UTC) + LATER) == 0
    assert instance.get_materialized_partitions(dg.AssetKey("daily")) == {"monday"}


def test_a_run_that_is_still_going_stays(instance: dg.DagsterInstance) -> None:
    @dg.graph
    def noop() -> None: ...

    instance.create_run_for_job(noop.to_job(name=jobs.PRODUCER), status=dg.DagsterRunStatus.STARTED)
    assert delete_runs(instance, jobs.FREQUENT_JOBS, datetime.now(UTC) + LATER) == 0


def test_the_newest_materialization_outlives_its_run(instance: dg.DagsterInstance) -> None:
    """The sensor takes its hint from it; without it each look would launch a run."""
    run_job(instance, jobs.PRODUCER)
    delete_runs(instance, jobs.FREQUENT_JOBS, datetime.now(UTC) + LATER)
    event = instance.get_latest_materialization_event(STATION_EVENTS)
    assert event is not None
    assert event.asset_materialization is not None


def archived(through: datetime, **files: FileLength) -> Commit:
    days = {date.fromisoformat(name[1:].replace("_", "-")): length for name, length in files.items()}
    return Commit(source=SOURCE, timezone="UTC", next_offset=9, through=through, files=days)


def test_snapshots_go_by_whole_days_and_never_before_they_are_archived(home: Settings) -> None:
    store = SnapshotStore(home.raw)
    for day in range(5):
        moment = START + timedelta(days=day)
        store.add(Fetched(poll_time=moment, fetched_at=moment, answers=()))
    assert delete_snapshots(home, None, 1) == 0, "nothing is archived"
    assert delete_snapshots(home, archived(START + timedelta(days=1)), 1) == 1
    assert delete_snapshots(home, archived(START + timedelta(days=4)), 2) == 1
    assert len(store.names_after(None)) == 3


def test_days_count_back_from_the_newest_snapshot_so_that_recorded_days_stay() -> None:
    newest = "20241107T074501Z-0"
    through = datetime(2024, 11, 7, 7, 40, tzinfo=UTC)
    assert first_day_to_keep(newest, archived(through), 14) == date(2024, 10, 24)
    assert first_day_to_keep(None, archived(through), 14) is None


def test_logs_that_are_still_written_stay(tmp_path: Path) -> None:
    old, new = tmp_path / "old.log", tmp_path / "deep" / "new.log"
    new.parent.mkdir()
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    assert delete_logs(tmp_path, datetime.now(UTC) - LATER) == 1
    assert new.exists()
    assert delete_logs(tmp_path / "nowhere", datetime.now(UTC)) == 0


def test_the_log_of_a_part_that_was_started_stays_however_long_it_says_nothing(tmp_path: Path) -> None:
    for name in ("standby", "gone"):
        (tmp_path / f"{name}.log").touch()
        os.utime(tmp_path / f"{name}.log", (0, 0))
    assert delete_logs(tmp_path, datetime.now(UTC) - LATER, kept=["standby"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["standby.log"]


def test_the_archive_says_how_fast_it_grows(tmp_path: Path) -> None:
    row = b"1,A,Z,c,48.8,2.2,9,2026-03-02T12:00:00Z,2026-03-02T12:10:00Z,600,1,1,0,8,true,true,true,\r\n"
    day_path(tmp_path, START.date()).write_bytes(HEADER_LINE + row)
    length = FileLength(1000, 10)
    assert archive_bytes_a_day(tmp_path, archived(START + timedelta(hours=12), d2026_03_02=length)) == 2000
    assert archive_bytes_a_day(tmp_path, archived(START + timedelta(minutes=10), d2026_03_02=length)) is None
    assert archive_bytes_a_day(tmp_path, None) is None


def test_without_postgresql_the_run_fails_in_words_after_all_else_is_done(
    instance: dg.DagsterInstance, platform: Platform, home: Settings
) -> None:
    (home.home / "logs").mkdir()
    (home.home / "logs" / "old.log").touch()
    os.utime(home.home / "logs" / "old.log", (0, 0))
    result = dg.materialize([storage], resources={"platform": platform}, instance=instance, raise_on_error=False)
    assert not result.success
    failure = result.failure_data_for_node("storage")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "PostgreSQL can't be reached" in str(failure.user_failure_data.description)
    assert failure.user_failure_data.metadata["logs_deleted"] == dg.MetadataValue.int(1)


@pytest.mark.postgres
def test_old_rows_go_by_days_before_the_newest_row_and_the_newest_of_each_stay(
    postgres_settings: Settings, fresh_feed: Callable[..., Settings]
) -> None:
    settings = fresh_feed(postgres_settings)
    migrate(settings)
    states = [("1", 0), ("1", 5), ("1", 20), ("silent", 0)]
    with connect(settings) as connection:
        for code, day in states:
            connection.execute(
                "INSERT INTO station_states (station_code, name, zone, cell, lat, lon, since, bikes, is_installed,"
                " is_renting, is_returning) VALUES (%s, 'n', 'z', 'c', 0, 0, %s, 1, true, true, true)",
                (code, START + timedelta(days=day)),
            )
        for day in (0, 20):
            connection.execute(
                "INSERT INTO polls VALUES"
                " (%s, %s, 'usable', '', 1, 1, 1, '{}', 0, 0, 1, 0, 0, NULL, NULL, NULL, NULL, '{}')",
                (f"2026030{day // 20}", START + timedelta(days=day)),
            )
        for day in (0, 20):
            connection.execute(
                "INSERT INTO station_forecasts (station_code, made_at, horizon_minutes, target_at, bikes)"
                " VALUES ('1', %(at)s, 15, %(at)s, 3)",
                {"at": START + timedelta(days=day)},
            )
        connection.execute(
            "INSERT INTO absences VALUES ('1', %(old)s, %(old)s), ('1', %(new)s, %(new)s), ('2', %(old)s, NULL)",
            {"old": START, "new": START + timedelta(days=20)},
        )
    keep: dict[str, float] = {"station_states": 7, "absences": 7, "windows": 7, "polls": 7, "station_forecasts": 3}
    assert delete_old_rows(settings, keep, datetime.now(UTC) + timedelta(days=9999)) == {
        "station_states": 2,
        "absences": 1,
        "windows": 0,
        "polls": 1,
        "station_forecasts": 1,
    }
    with connect(settings) as connection:
        left = connection.execute("SELECT station_code, since FROM station_states ORDER BY 1").fetchall()
    assert left == [("1", START + timedelta(days=20)), ("silent", START)]


@pytest.mark.postgres
def test_the_asset_tells_what_it_deleted(
    instance: dg.DagsterInstance, postgres_settings: Settings, fresh_feed: Callable[..., Settings]
) -> None:
    settings = fresh_feed(postgres_settings)
    migrate(settings)
    result = dg.materialize(
        [storage],
        resources={"platform": Platform(home=str(settings.home))},
        instance=instance,
        run_config=dg.RunConfig(ops={"storage": Retention(run_days=1)}),
    )
    told = result.asset_materializations_for_node("storage")[0].metadata
    assert {
        *("runs_deleted", "snapshots_deleted", "logs_deleted", "station_states_deleted", "windows_deleted"),
        *("polls_deleted", "station_forecasts_deleted", "forecast_models_deleted", "archive_mb"),
    } <= set(told)


@pytest.mark.postgres
@pytest.mark.parametrize("jump", [timedelta(days=10), timedelta(days=3652)])
def test_rows_of_a_clock_that_was_ahead_delete_nothing(
    postgres_settings: Settings, fresh_feed: Callable[..., Settings], jump: timedelta
) -> None:
    settings = fresh_feed(postgres_settings)
    migrate(settings)
    with connect(settings) as connection:
        for day in (timedelta(0), timedelta(minutes=5), jump):
            connection.execute(
                "INSERT INTO station_states (station_code, name, zone, cell, lat, lon, since, bikes, is_installed,"
                " is_renting, is_returning) VALUES ('1', 'n', 'z', 'c', 0, 0, %s, 1, true, true, true)",
                (START + day,),
            )
            connection.execute(
                "INSERT INTO polls (snapshot, time, kind, reason, rows, reports, refused, repaired, changed, unchanged,"
                " stale, spells, absent) VALUES (%s, %s, 'usable', '', 1, 1, '{}', 0, 0, 1, 0, 0, '{}')",
                (f"{START + day:%Y%m%dT%H%M%SZ}-0", START + day),
            )
    keep: dict[str, float] = {"station_states": 7, "windows": 30, "polls": 7}
    assert sum(delete_old_rows(settings, keep, START + timedelta(hours=1)).values()) == 0


@pytest.mark.parametrize("jump", [timedelta(days=100), timedelta(days=3652)])
def test_a_local_clock_ahead_is_not_what_days_are_counted_from(
    home: Settings, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    machine = Machine.keeping(home.raw)
    machine.poll()
    boot = Boot("first", (machine.time - machine.started).total_seconds() + 30)
    monkeypatch.setattr("velib_dagster.feed.poll.local_now", lambda: machine.time + jump)
    monkeypatch.setattr("velib_dagster.feed.poll.boot_clock", lambda: boot)
    assert now_by_polls(SnapshotStore(home.raw)) == machine.time + timedelta(seconds=30)

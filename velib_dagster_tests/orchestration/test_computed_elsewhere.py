"""Days that a command computed show in Dagster as materialized, with their checks: a real Spark and PostgreSQL."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from pyspark.sql import SparkSession
from rich.console import Console

from velib_dagster.definitions import build_defs
from velib_dagster.orchestration import computed_elsewhere, jobs
from velib_dagster.orchestration.computed_elsewhere import computed_elsewhere_sensor
from velib_dagster.orchestration.resources import Platform, Spark
from velib_dagster.orchestration.shared import FIRST_PARTITION, LAST_PARTITION
from velib_dagster.runtime import due_statistics
from velib_dagster.runtime.due_statistics import compute_statistics
from velib_dagster.settings import Settings
from velib_dagster.statistics import proof
from velib_dagster.statistics.days import Days
from velib_dagster.statistics.due_days import due_now
from velib_dagster.statistics.errors import DaysInDoubtError
from velib_dagster.statistics.outcome import ASSETS, CHECKS_OF, RECOUNT, TWIN
from velib_dagster.store.connect import connect
from velib_dagster.store.migrate import migrate
from velib_dagster_tests.statistics.few_days import archive_four_days, compute_wrongly, rows

pytestmark = [pytest.mark.postgres, pytest.mark.spark]
QUIET = Console(quiet=True)
PROVED = {(asset, check) for asset, checks in CHECKS_OF.items() for check in checks}


@pytest.fixture(autouse=True)
def session_of_the_tests(small: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session that the tests share instead of one more Java."""
    monkeypatch.setattr(Spark, "session", lambda _: small)
    monkeypatch.setattr(due_statistics, "_session", lambda _: small)


@pytest.fixture
def settings(postgres_settings: Settings, fresh_feed: Callable[..., Settings]) -> Settings:
    made = fresh_feed(postgres_settings)
    made.logs.mkdir(parents=True)
    migrate(made)
    return made


@pytest.fixture
def days(settings: Settings) -> list[date]:
    """Three days with spells, and one without between them, which is never due."""
    first, _, third, fourth = archive_four_days(settings)
    return [first, third, fourth]


class Looks:
    """The sensor, looking again and again as the daemon does: its cursor is kept, its events are reported."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.platform, self.instance, self.cursor = Platform(home=str(settings.home)), instance, None

    def __call__(self) -> str:
        """One look; returns the sensor's words."""
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"platform": self.platform}
        )
        found = computed_elsewhere_sensor()(context)
        assert isinstance(found, dg.SensorResult)
        for event in found.asset_events:
            self.instance.report_runless_asset_event(event)
        self.cursor = found.cursor
        return str(found.skip_reason.skip_message if isinstance(found.skip_reason, dg.SkipReason) else "")


@pytest.fixture
def look(settings: Settings, instance: dg.DagsterInstance) -> Looks:
    return Looks(settings, instance)


def materialized(instance: dg.DagsterInstance) -> set[tuple[str, str]]:
    return {(asset, str(day)) for asset in ASSETS for day in instance.get_materialized_partitions(dg.AssetKey(asset))}


def materializations(instance: dg.DagsterInstance) -> int:
    return sum(len(instance.fetch_materializations(dg.AssetKey(asset), limit=100).records) for asset in ASSETS)


def checks(instance: dg.DagsterInstance) -> dict[tuple[str, str], bool]:
    found = {}
    for asset, check in PROVED:
        record = instance.get_latest_asset_check_evaluation_record(dg.AssetCheckKey(dg.AssetKey(asset), check))
        if record is not None:
            found[asset, check] = record.status is AssetCheckExecutionRecordStatus.SUCCEEDED
    return found


def run(settings: Settings, instance: dg.DagsterInstance, first: date, last: date) -> dg.ExecuteInProcessResult:
    resources = {"platform": Platform(home=str(settings.home)), "spark": Spark()}
    tags = {FIRST_PARTITION: str(first), LAST_PARTITION: str(last)}
    job = build_defs(resources, settings).resolve_job_def(jobs.STATISTICS)
    return job.execute_in_process(tags=tags, instance=instance, raise_on_error=False)


def newest(instance: dg.DagsterInstance, asset: str, day: date) -> dict[str, object]:
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[str(day)]), limit=1
    ).records
    event = records[0].asset_materialization
    assert event is not None
    return dict(event.metadata)


def test_the_days_of_a_backfill_are_shown_as_materialized_with_their_checks(
    settings: Settings, days: list[date], instance: dg.DagsterInstance, look: Looks
) -> None:
    assert look() == "Dagster knows of every day that is computed"
    assert compute_statistics(settings, QUIET) == 3
    assert due_now(settings, ASSETS, datetime(2024, 11, 12, 12, tzinfo=UTC)) == []
    assert instance.get_runs() == [], "no run of Dagster"
    assert look() == f"reported: {', '.join(map(str, days))}"
    assert materialized(instance) == {(asset, str(day)) for asset in ASSETS for day in days}
    assert checks(instance) == dict.fromkeys(PROVED, True)
    assert look() == "Dagster knows of every day that is computed"
    assert materializations(instance) == 12


def test_a_day_shows_the_same_whether_a_command_computed_it_or_a_run(
    settings: Settings, days: list[date], instance: dg.DagsterInstance, look: Looks
) -> None:
    compute_statistics(settings, QUIET)
    look()
    by_command = {asset: newest(instance, asset, days[0]) for asset in ASSETS}
    assert run(settings, instance, days[0], days[0]).success
    for asset, shown in by_command.items():
        of_run = newest(instance, asset, days[0])
        assert {"plot", "head", "coverage", "dagster/partition_row_count"} <= set(shown)
        for name in shown.keys() - {"computed_at"}:
            assert of_run[name] == shown[name], f"{asset}: {name}"


def test_what_a_run_of_dagster_told_is_not_told_again(
    settings: Settings, days: list[date], instance: dg.DagsterInstance, look: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_wrongly(monkeypatch, days[2])
    assert not run(settings, instance, days[1], days[2]).success
    before = materializations(instance), checks(instance)
    assert look() == "Dagster knows of every day that is computed"
    assert (materializations(instance), checks(instance)) == before
    with connect(settings) as connection:
        connection.execute("UPDATE computed_days SET computed_at = computed_at + interval '5 years'")
    look.cursor = None
    assert look().startswith("reported"), "another write than the one that the run told of"
    assert look() == "Dagster knows of every day that is computed", "a clock that was ahead is not told at each look"


def test_many_days_are_told_five_at_a_time(
    settings: Settings, days: list[date], instance: dg.DagsterInstance, look: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computed_elsewhere, "ROWS_A_LOOK", 4)
    compute_statistics(settings, QUIET)
    for day in days:
        assert look() == f"reported: {day}"
    assert materialized(instance) == {(asset, str(day)) for asset in ASSETS for day in days}


def test_nothing_is_told_while_a_run_computes_days(
    settings: Settings, days: list[date], instance: dg.DagsterInstance, look: Looks
) -> None:
    compute_statistics(settings, QUIET)

    @dg.graph
    def noop() -> None: ...

    going = instance.create_run_for_job(noop.to_job(name=jobs.STATISTICS), status=dg.DagsterRunStatus.STARTED)
    assert look() == f"run {going.run_id[:8]} computes statistics, and tells of its days itself"
    instance.report_run_failed(going)
    assert look() == f"reported: {', '.join(map(str, days))}"


def test_a_day_in_doubt_turns_its_check_red_and_holds_no_other_up_in_a_backfill(
    settings: Settings, days: list[date], instance: dg.DagsterInstance, look: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_wrongly(monkeypatch, days[2])
    words = f"the statistics of {days[2]} failed; .* rows of {days[2]} stay as they were.*next at"
    with pytest.raises(DaysInDoubtError, match=words):
        compute_statistics(settings, QUIET)
    assert rows(settings, "SELECT DISTINCT day FROM computed_days ORDER BY 1") == [(day,) for day in days[:2]]
    assert rows(settings, "SELECT day, tries FROM days_in_doubt") == [(days[2], 1)]
    assert look() == f"reported: {', '.join(map(str, days))}"
    assert materialized(instance) == {(asset, str(day)) for asset in ASSETS for day in days[:2]}
    found = checks(instance)
    assert not found["station_stats", TWIN]
    assert found["zone_stats", TWIN]
    assert found["station_stats", RECOUNT], "the first check that found something wrong tells of the day"
    assert look() == "Dagster knows of every day that is computed"


def test_a_backfill_that_breaks_off_has_written_the_days_before_and_they_are_shown(
    settings: Settings, days: list[date], instance: dg.DagsterInstance, look: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "SPELLS_AT_ONCE", 1)
    right = proof.read

    def interrupted(archive: Path, stretch: Days) -> proof.Spells:
        if stretch.last == days[2]:
            raise KeyboardInterrupt
        return right(archive, stretch)

    monkeypatch.setattr(proof, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compute_statistics(settings, QUIET)
    look()
    assert materialized(instance) == {(asset, str(day)) for asset in ASSETS for day in days[:2]}


def test_postgresql_away_is_words(settings: Settings, look: Looks) -> None:
    Settings(home=settings.home, feed=settings.feed, ports={**settings.ports, "postgres": 9}).save()
    assert "PostgreSQL" in look()


def test_a_clock_that_went_back_hides_no_day(
    settings: Settings, days: list[date], instance: dg.DagsterInstance, look: Looks
) -> None:
    ahead = datetime.now(UTC) + timedelta(days=400)
    look.cursor = f'{{"computed_at":"{ahead.isoformat()}"}}'
    compute_statistics(settings, QUIET)
    look()
    assert len(materialized(instance)) == 12

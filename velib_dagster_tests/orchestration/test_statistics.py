"""One day's statistics as a run of Dagster: computed with a real Spark, proved, written to a real PostgreSQL."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from velib_dagster.definitions import build_defs
from velib_dagster.orchestration import jobs
from velib_dagster.orchestration.resources import Platform, Spark
from velib_dagster.orchestration.shared import FIRST_PARTITION, IN_DOUBT, LAST_PARTITION, failed_before
from velib_dagster.settings import Settings
from velib_dagster.statistics import proof
from velib_dagster.statistics.days import Days
from velib_dagster.statistics.due_days import due_now
from velib_dagster.statistics.outcome import ASSETS, RECOUNT, TWIN, WITHIN
from velib_dagster.statistics.turns import turn
from velib_dagster.store.connect import connect
from velib_dagster.store.doubts import put_in_doubt
from velib_dagster.store.migrate import migrate
from velib_dagster_tests.statistics.few_days import DAY, archive, archive_four_days, at_noon, compute_wrongly, rows
from velib_dagster_tests.store.make_days import station_day, write

pytestmark = [pytest.mark.postgres, pytest.mark.spark]


@pytest.fixture(autouse=True)
def session_of_the_tests(small: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session that the tests share instead of one more Java."""
    monkeypatch.setattr(Spark, "session", lambda _: small)


@pytest.fixture
def settings(postgres_settings: Settings, fresh_feed: Callable[..., Settings]) -> Settings:
    made = fresh_feed(postgres_settings)
    archive(made, *at_noon())
    return made


def run(settings: Settings, day: date, tmp_path: Path, last: date | None = None) -> dg.ExecuteInProcessResult:
    """One day's run, or that of the days from `day` to `last`."""
    tmp_path.mkdir(exist_ok=True)
    resources = {"platform": Platform(home=str(settings.home)), "spark": Spark()}
    first_and_last = {FIRST_PARTITION: str(day), LAST_PARTITION: str(last)} if last else None
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        job = build_defs(resources, settings).resolve_job_def(jobs.STATISTICS)
        return job.execute_in_process(
            partition_key=None if last else str(day), tags=first_and_last, instance=instance, raise_on_error=False
        )


def checks(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], bool]:
    found = result.get_asset_check_evaluations()
    return {(one.asset_key.to_user_string(), one.check_name): one.passed for one in found}


def test_a_day_is_computed_proved_and_written_once_for_all_assets(settings: Settings, tmp_path: Path) -> None:
    now = datetime(2024, 11, 8, 12, tzinfo=UTC)
    migrate(settings)
    with connect(settings) as connection:
        put_in_doubt(connection, DAY, 1, "another program", "numbers differed")
    assert due_now(settings, ASSETS, now, doubts_wait=True) == [DAY]
    result = run(settings, DAY, tmp_path)
    assert result.success
    assert rows(settings, "SELECT day FROM days_in_doubt") == []
    proved = {(asset, check) for asset in ASSETS for check in (TWIN, RECOUNT)} | {("station_stats", WITHIN)}
    assert checks(result) == dict.fromkeys(proved, True)
    found = {event.asset_key.to_user_string(): event for event in result.get_asset_materialization_events()}
    assert set(found) == set(ASSETS)
    told = found["station_stats"].materialization.metadata
    assert (told["spells"].value, told["rows_station_days"].value, told["rows_station_hours"].value) == (8, 2, 2)
    assert "data:image/png" in str(told["plot"].value)
    figures = "station_code, bikes_mean, bikes_min, bikes_max, empty_share, full_share"
    assert rows(settings, f"SELECT {figures} FROM station_stats ORDER BY 1") == [
        ("16107", 2.0, 0, 5, 0.5, 0.0),
        ("8026", 20.0, 20, 20, 0.0, 1.0),
    ]
    assert rows(settings, "SELECT station_code, seconds_empty FROM empty_stations") == [("16107", 1200)]
    assert rows(settings, "SELECT station_code, seconds_full FROM full_stations") == [("8026", 2400)]
    assert due_now(settings, ASSETS, now) == []


def test_a_day_without_spells_is_written_as_empty(settings: Settings, tmp_path: Path) -> None:
    result = run(settings, DAY + timedelta(days=1), tmp_path)
    assert result.success
    assert rows(settings, "SELECT count(*), sum(spells) FROM computed_days") == [(4, 0)]
    assert rows(settings, "SELECT count(*) FROM station_days") == [(0,)]


def test_a_day_in_doubt_keeps_its_old_rows_and_says_why(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(settings)
    with connect(settings) as connection:
        write(connection, "station_stats", DAY, station_days=[station_day(DAY)])
    before = rows(settings, "SELECT xmin::text, * FROM station_days ORDER BY station_code")
    compute_wrongly(monkeypatch, DAY)
    result = run(settings, DAY, tmp_path)
    assert not result.success
    assert not checks(result)["station_stats", TWIN]
    assert not checks(result)["station_stats", RECOUNT]
    assert checks(result)["zone_stats", TWIN]
    assert rows(settings, "SELECT xmin::text, * FROM station_days ORDER BY station_code") == before
    assert len(before) == 1
    ((day, tries, length, reason),) = rows(settings, "SELECT day, tries, archived_bytes, reason FROM days_in_doubt")
    assert (day, tries) == (DAY, 1)
    assert length == (settings.archive / f"{DAY}.csv").stat().st_size
    assert str(reason).startswith(f"{TWIN}, station_days: ")
    later = datetime.now(UTC)
    assert due_now(settings, ASSETS, later, doubts_wait=True) == []
    assert due_now(settings, ASSETS, later + timedelta(hours=1), doubts_wait=True) == [DAY]
    assert due_now(settings, ASSETS, later) == [DAY]
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert str(DAY) in instance.get_runs()[0].tags[IN_DOUBT]
        assert failed_before(settings, instance, jobs.STATISTICS, later, timedelta(hours=1), timedelta(hours=1)) is None


@pytest.fixture
def four_days(settings: Settings) -> list[date]:
    """The day, a day without spells, and two more; the last ones' spells touch at midnight."""
    return archive_four_days(settings)


def figures_by_day(settings: Settings) -> list[tuple[object, ...]]:
    figures = "day, station_code, seconds, bikes_seconds, seconds_empty, rentals, returns, changes, zone, capacity"
    outages = (
        "day, station_code, seconds, extract(epoch FROM since)::int, open_start::int, open_end::int, 0, 0, kind, 0"
    )
    return rows(
        settings, f"SELECT {figures} FROM station_days UNION ALL SELECT {outages} FROM episodes ORDER BY 1, 2, 9"
    )


def test_a_day_among_others_in_one_run_is_the_one_it_is_alone(
    settings: Settings, four_days: list[date], tmp_path: Path
) -> None:
    result = run(settings, four_days[0], tmp_path / "together", four_days[-1])
    assert result.success
    assert set(checks(result).values()) == {True}
    together = figures_by_day(settings)
    told = {
        (event.asset_key.to_user_string(), event.partition): event.materialization.metadata
        for event in result.get_asset_materialization_events()
    }
    assert set(told) == {(asset, str(day)) for asset in ASSETS for day in four_days}
    assert [told["station_stats", str(day)]["spells"].value for day in four_days] == [8, 0, 1, 2]
    assert [told["station_stats", str(day)]["rows_station_days"].value for day in four_days] == [2, 0, 1, 1]
    kept = "SELECT day, network_seconds, spells FROM computed_days WHERE asset = 'zone_stats' ORDER BY 1"
    assert rows(settings, kept) == [
        (day, seconds, spells)
        for day, seconds, spells in zip(four_days, (2400, 0, 600, 1200), (8, 0, 1, 2), strict=True)
    ]
    assert due_now(settings, ASSETS, datetime(2024, 11, 12, 12, tzinfo=UTC)) == []
    assert run(settings, four_days[3], tmp_path / "alone").success
    assert figures_by_day(settings) == together


def test_a_day_whose_file_cannot_be_read_is_in_doubt_and_holds_no_other_up(
    settings: Settings, four_days: list[date], tmp_path: Path
) -> None:
    path = settings.archive / f"{four_days[0]}.csv"
    path.write_bytes(path.read_bytes().replace(b"16107", b'"6107', 1))
    result = run(settings, four_days[0], tmp_path, four_days[3])
    assert not result.success
    assert not any(checks(result).values())
    # the next day reads the one before too, for what reaches over midnight
    assert rows(settings, "SELECT day, tries FROM days_in_doubt ORDER BY day") == [(d, 1) for d in four_days[:2]]
    assert rows(settings, "SELECT DISTINCT day FROM computed_days ORDER BY 1") == [(d,) for d in four_days[2:]]


def test_a_run_that_breaks_off_tells_of_the_days_that_it_wrote(
    settings: Settings, four_days: list[date], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "SPELLS_AT_ONCE", 1)
    right = proof.read

    def interrupted(archive: Path, days: Days) -> proof.Spells:
        if days.last == four_days[3]:
            raise KeyboardInterrupt
        return right(archive, days)

    monkeypatch.setattr(proof, "read", interrupted)
    assert not run(settings, four_days[1], tmp_path, four_days[3]).success
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for asset in ASSETS:
            told = instance.get_materialized_partitions(dg.AssetKey(asset))
            assert told == {str(day) for day in four_days[1:3]}
    assert rows(settings, "SELECT DISTINCT day FROM computed_days ORDER BY 1") == [(day,) for day in four_days[1:3]]


def test_a_run_beside_a_command_that_computes_is_told_so_in_words(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("velib_dagster.orchestration.statistics.PATIENCE_SECONDS", 0)
    migrate(settings)
    with turn(settings, 0, lambda _: None):
        result = run(settings, DAY, tmp_path)
    assert not result.success
    (failure,) = (event.step_failure_data for event in result.all_events if event.is_step_failure)
    assert failure is not None
    assert "are being computed by another process" in str(failure.user_failure_data or failure.error)
    assert rows(settings, "SELECT count(*) FROM computed_days") == [(0,)]

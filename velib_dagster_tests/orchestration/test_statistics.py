"""One day's statistics as a run of Dagster: computed with a real Spark, proved, written to a real PostgreSQL."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from velib_dagster.archive.writer import archive_topic
from velib_dagster.definitions import build_defs
from velib_dagster.events.records import Spell
from velib_dagster.orchestration import jobs
from velib_dagster.orchestration.due_days import due_now
from velib_dagster.orchestration.resources import Platform, Spark
from velib_dagster.orchestration.statistics import ASSETS, RECOUNT, TWIN, WITHIN
from velib_dagster.settings import Settings
from velib_dagster.statistics import proof
from velib_dagster.store.connect import connect
from velib_dagster.store.migrate import migrate
from velib_dagster_tests.archive.parts import TopicInMemory, spell

pytestmark = [pytest.mark.postgres, pytest.mark.spark]
DAY = date(2024, 11, 7)
NOON = datetime(2024, 11, 7, 11, tzinfo=UTC)


@pytest.fixture(autouse=True)
def session_of_the_tests(small: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session that the tests share instead of one more Java."""
    monkeypatch.setattr(Spark, "session", lambda _: small)


def ten_minutes(start: datetime, code: str = "16107", bikes: int = 3, **changes: object) -> Spell:
    values: dict[str, object] = {"bikes": bikes, "mechanical": bikes, "ebike": 0, "docks": 20 - bikes, "capacity": 20}
    return spell(start, 600, station_code=code, **(values | changes))


def archive(settings: Settings, *spells: Spell) -> None:
    settings.archive.mkdir(parents=True, exist_ok=True)
    archive_topic(settings.archive, TopicInMemory(spells), settings.feed.timezone)


@pytest.fixture
def settings(postgres_settings: Settings, fresh_feed: Callable[..., Settings]) -> Settings:
    made = fresh_feed(postgres_settings)
    minutes = [NOON + timedelta(minutes=10 * n) for n in range(4)]
    spells = [ten_minutes(at, bikes=bikes) for at, bikes in zip(minutes, (3, 0, 0, 5), strict=True)]
    spells += [ten_minutes(at, "8026", bikes=20) for at in minutes]
    archive(made, *sorted(spells, key=lambda one: one.until))
    return made


def run(settings: Settings, day: date, tmp_path: Path) -> dg.ExecuteInProcessResult:
    tmp_path.mkdir(exist_ok=True)
    resources = {"platform": Platform(home=str(settings.home)), "spark": Spark()}
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        job = build_defs(resources, settings).resolve_job_def(jobs.STATISTICS)
        return job.execute_in_process(partition_key=day.isoformat(), instance=instance, raise_on_error=False)


def checks(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], bool]:
    found = result.get_asset_check_evaluations()
    return {(one.asset_key.to_user_string(), one.check_name): one.passed for one in found}


def rows(settings: Settings, statement: str) -> list[tuple[object, ...]]:
    with connect(settings) as connection:
        return connection.execute(statement.encode()).fetchall()


def test_a_day_is_computed_proved_and_written_once_for_all_assets(settings: Settings, tmp_path: Path) -> None:
    now = datetime(2024, 11, 8, 12, tzinfo=UTC)
    migrate(settings)
    assert due_now(settings, tuple(ASSETS), now) == [DAY]
    result = run(settings, DAY, tmp_path)
    assert result.success
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
    assert due_now(settings, tuple(ASSETS), now) == []


def test_a_day_without_spells_is_written_as_empty(settings: Settings, tmp_path: Path) -> None:
    result = run(settings, DAY + timedelta(days=1), tmp_path)
    assert result.success
    assert rows(settings, "SELECT count(*), sum(spells) FROM computed_days") == [(4, 0)]
    assert rows(settings, "SELECT count(*) FROM station_days") == [(0,)]


def test_a_day_in_doubt_keeps_its_old_rows_and_says_why(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(settings, DAY, tmp_path / "first").success
    before = rows(settings, "SELECT xmin::text, * FROM station_days ORDER BY station_code")
    right = proof.compute

    def wrong(*arguments: object) -> object:
        found = right(*arguments)  # type: ignore[arg-type]
        days = found["station_days"]
        less = days.set_column(days.column_names.index("bikes_seconds"), "bikes_seconds", [[1] * days.num_rows])
        return found | {"station_days": less}

    monkeypatch.setattr(proof, "compute", wrong)
    result = run(settings, DAY, tmp_path / "second")
    assert not result.success
    assert not checks(result)["station_stats", TWIN]
    assert not checks(result)["station_stats", RECOUNT]
    assert checks(result)["zone_stats", TWIN]
    assert rows(settings, "SELECT xmin::text, * FROM station_days ORDER BY station_code") == before

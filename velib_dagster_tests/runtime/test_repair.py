"""A home in which polls were archived and summed twice: named, repaired, and then that of polls sent once."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from velib_dagster.archive.doubled import remove_doubled_rows
from velib_dagster.archive.reader import read_spells
from velib_dagster.archive.writer import archive_topic
from velib_dagster.cli import app
from velib_dagster.runtime.repair import OverCounted, over_counted_windows
from velib_dagster.settings import Settings
from velib_dagster.store.columns import WINDOW_COLUMNS
from velib_dagster.store.connect import connect
from velib_dagster.store.migrate import migrate
from velib_dagster.store.upsert import upsert_windows
from velib_dagster_tests.archive.parts import START, TopicInMemory, spell

MINUTES = 30
SPELLS = [
    spell(
        START + timedelta(minutes=minute), 60, station_code=code, bikes=minute % 7, name="New" if minute > 24 else "A"
    )
    for minute in range(MINUTES)
    for code in ("1", "2")
]
DOUBLED = [*SPELLS[:40], *SPELLS[20:]]


def window(code: str, minute: int, name: str, seconds: int) -> list[object]:
    start = START + timedelta(minutes=minute)
    values: dict[str, object] = {column.name: 0 for column in WINDOW_COLUMNS}
    values |= {column.name: None for column in WINDOW_COLUMNS if column.nullable}
    values |= {"station_code": code, "window_start": start, "window_end": start + timedelta(minutes=10), "name": name}
    values |= {"zone": "Paris 16e", "cell": "881fb46645fffff", "seconds": seconds, "newest_since": start}
    return [values[column.name] for column in WINDOW_COLUMNS]


@pytest.fixture
def home(postgres_settings: Settings, fresh_feed: Callable[..., Settings]) -> Settings:
    settings = fresh_feed(postgres_settings)
    migrate(settings)
    settings.archive.mkdir(parents=True)
    archive_topic(settings.archive, TopicInMemory(DOUBLED), settings.feed.timezone)
    with connect(settings) as connection:
        upsert_windows(
            connection,
            [
                *(window(code, 0, "A", 600) for code in ("1", "2")),
                *(window(code, 10, "A", 1200) for code in ("1", "2")),
                *(window(code, 20, name, 300) for code in ("1", "2") for name in ("A", "New")),
            ],
        )
    return settings


@pytest.mark.postgres
def test_windows_that_count_more_than_the_archive_has_are_named(home: Settings) -> None:
    at = datetime(2024, 11, 7, 8, 10, tzinfo=UTC)
    for _ in ("rows twice in the archive as well", "and taken out"):
        found = over_counted_windows(home)
        assert found.compared == 6
        assert found.wrong == (OverCounted(at, "1", 1200, 600), OverCounted(at, "2", 1200, 600))
        remove_doubled_rows(home.archive)


@pytest.mark.postgres
@pytest.mark.spark
def test_the_commands_name_and_repair_both_stores(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("velib_dagster.runtime.services._are_there", lambda *_: True)
    run = CliRunner().invoke(app, ["archive", "--check", "--home", str(home.home)])
    assert run.exit_code == 1
    assert "2024-11-07: 20 rows twice, 0 that overlap others (station 1 2024-11-07T08:10:00Z" in run.output
    assert "velib archive --repair takes them out" in run.output
    run = CliRunner().invoke(app, ["archive", "--repair", "--home", str(home.home)])
    assert run.exit_code == 0, run.output
    assert "20 rows too many in the archive, now in its folder removed" in run.output
    assert "2 of 6 live windows count too much" in run.output
    assert list(read_spells(home.archive)) == SPELLS
    with connect(home) as connection:
        rows = connection.execute(
            "SELECT station_code, seconds, bikes_seconds, bikes_min, bikes_max FROM windows"
            " WHERE window_start = %s ORDER BY 1",
            (START + timedelta(minutes=10),),
        ).fetchall()
    bikes = [minute % 7 for minute in range(10, 20)]
    assert rows == [(code, 600, 60 * sum(bikes), min(bikes), max(bikes)) for code in ("1", "2")]
    run = CliRunner().invoke(app, ["archive", "--check", "--home", str(home.home)])
    assert (run.exit_code, "0 rows too many" in run.output) == (0, True), run.output

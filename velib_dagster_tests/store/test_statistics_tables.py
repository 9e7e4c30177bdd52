import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table

from velib_dagster.settings import CREDIT, Settings, VelibError
from velib_dagster.store.connect import StoreUnreachableError, connect
from velib_dagster.store.statistics_reads import Days, Subject
from velib_dagster.store.statistics_tables import statement, subject_named, table, write_csv
from velib_dagster.store.upsert import Connection
from velib_dagster_tests.store.make_days import DAY, NEXT, at, episode, hour_of, row, station_day, write, zone_day

pytestmark = pytest.mark.postgres


def text(made: Table) -> str:
    shown = io.StringIO()
    Console(file=shown, width=250).print(made)
    return shown.getvalue()


@pytest.fixture
def two_days(connection: Connection) -> None:
    for day in (DAY, NEXT):
        usual = {"seconds": 86_000, "seconds_in_service": 80_000, "seconds_docks_known": 80_000}
        stations = [station_day(day, seconds_empty=8000, bikes_seconds=400_000, rentals=5, **usual)]
        stations.append(station_day(day, code="16108", seconds_full=4000, capacity=None, **usual))
        hour = hour_of("station_hours", day, 8, station_code="16107", seconds_in_service=3600, seconds_empty=900)
        write(connection, "station_stats", day, station_days=stations, station_hours=[hour])
        zones = [zone_day(day, stations=2, seconds_in_service=100, bikes_seconds=300)]
        cells = [row("cell_days", day=day, cell="881fb46645fffff", stations=2)]
        write(connection, "zone_stats", day, zone_days=zones, cell_days=cells)
        write(connection, "empty_stations", day, episodes=[episode("empty", at(day, 8), at(day, 9))])
        write(connection, "full_stations", day)


@pytest.mark.usefixtures("two_days")
def test_the_tables_show_the_worst_first_with_days_and_credit(database: Settings) -> None:
    stations = text(table(database, Subject.STATIONS, None, None))
    assert f"{database.feed.name}: 2 stations, {DAY} to {NEXT}" in stations
    assert stations.index("16107 Benjamin Godard") < stations.index("16108 Benjamin Godard")
    assert CREDIT in stations
    assert "10.0%" in stations
    empty = text(table(database, Subject.EMPTY, Days(NEXT, NEXT), None))
    assert f"1 stations at times empty, {NEXT}" in empty
    assert "60 min" in empty
    assert "25.0%" in empty
    assert "Paris 16e" in text(table(database, Subject.ZONES, None, None))
    assert "881fb46645fffff" in text(table(database, Subject.CELLS, None, None))
    assert "16108" in text(table(database, Subject.FULL, None, None))


@pytest.mark.usefixtures("two_days")
def test_what_is_simulated_is_marked_and_credits_nobody(database: Settings) -> None:
    shown = text(table(replace(database, feed=replace(database.feed, simulated=True)), Subject.ZONES, None, None))
    assert "SIMULATED" in shown
    assert CREDIT not in shown


@pytest.mark.usefixtures("two_days")
def test_the_terminal_says_when_it_shows_fewer_than_there_are(database: Settings) -> None:
    shown = text(table(database, Subject.STATIONS, None, 1))
    assert "1 of 2: --top N shows more" in shown
    assert "16108" not in shown


@pytest.mark.usefixtures("two_days")
@pytest.mark.parametrize("subject", Subject)
def test_the_csv_holds_what_the_printed_statement_gives(
    database: Settings, connection: Connection, tmp_path: Path, subject: Subject
) -> None:
    path = tmp_path / "statistics.csv"
    done = write_csv(database, subject, path, Days(DAY, NEXT), None)
    cursor = connection.execute(statement(subject, Days(DAY, NEXT), None).encode())
    rows = cursor.fetchall()
    read = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(read.columns) == [column.name for column in cursor.description or ()]
    assert done.rows == len(read) == len(rows) > 0
    for line, expected in zip(read.itertuples(index=False), rows, strict=True):
        for told, value in zip(line, expected, strict=True):
            if isinstance(value, float):
                assert float(told) == value
            elif not isinstance(value, list):
                assert told == ("" if value is None else str(value))


@pytest.mark.usefixtures("two_days")
def test_hours_are_json_in_the_csv_and_top_limits_its_rows(database: Settings, tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    write_csv(database, Subject.EMPTY, path, None, None)
    assert pd.read_csv(path)["by_hour"][0].startswith("[null, null, null, null, null, null, null, null, 0.25, null")
    assert write_csv(database, Subject.STATIONS, path, None, 1).rows == 1


def test_no_statistics_yet_says_how_they_come_about(database: Settings, connection: Connection, tmp_path: Path) -> None:
    with pytest.raises(VelibError, match=r"no statistics yet: materialise the asset zone_stats .* velib backfill"):
        table(database, Subject.CELLS, None, None)
    connection.execute("DROP TABLE computed_days CASCADE")
    connection.commit()
    with pytest.raises(VelibError, match="no statistics yet"):
        write_csv(database, Subject.STATIONS, tmp_path / "x.csv", None, None)
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.usefixtures("two_days")
def test_a_range_without_days_names_the_days_there_are(database: Settings) -> None:
    with pytest.raises(VelibError, match=f"no day from 2023-01-01 to 2023-02-01 .* 2 from {DAY} to {NEXT}"):
        table(database, Subject.EMPTY, Days(DAY.replace(2023, 1, 1), DAY.replace(2023, 2, 1)), None)


def test_postgresql_away_is_said(postgres_settings: Settings, fresh_feed: Callable[..., Settings]) -> None:
    away = replace(fresh_feed(postgres_settings), postgres_address="postgresql://platform:x@127.0.0.1:1")
    with pytest.raises(StoreUnreachableError, match=r"127\.0\.0\.1:1"):
        table(away, Subject.ZONES, None, None)


def test_an_unknown_subject_names_those_there_are() -> None:
    with pytest.raises(VelibError, match="stations, zones, cells, empty, full"):
        subject_named("bikes")


def test_the_days_that_are_missing_are_counted(database: Settings, connection: Connection) -> None:
    later = DAY.replace(day=10)
    for day in (DAY, NEXT, later):
        write(connection, "zone_stats", day, zone_days=[zone_day(day)])
    shown = text(table(database, Subject.ZONES, None, None))
    assert f"{DAY} to {later} (2 days between them not computed)" in shown


def test_the_reader_may_read_but_not_change_statistics(database: Settings) -> None:
    with connect(database, readonly=True) as reader:
        assert reader.execute(
            "SELECT count(*) FROM computed_span('zone_stats', '2024-01-01', 'infinity')"
        ).fetchone() == (1,)

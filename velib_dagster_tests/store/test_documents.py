"""The documents about statistics say what the database does: queries run, columns are all described."""

import re
from datetime import date
from pathlib import Path

import pytest

from velib_dagster.settings import Settings
from velib_dagster.store.connect import connect
from velib_dagster.store.forecast_columns import FORECAST_FUNCTIONS, FORECASTS
from velib_dagster.store.statistics_columns import FUNCTIONS, STATISTICS
from velib_dagster.store.upsert import Connection
from velib_dagster_tests.store.make_days import at, episode, hour_of, row, station_day, write, zone_day

DOCS = Path(__file__).parents[2] / "docs"
QUESTION = re.compile(
    r"^## \d+\. (?P<title>.+?)$.*?```sql\n(?P<query>.+?)```\n\nAnswer: (?P<answer>.+?)(?=^## |\Z)", re.M | re.S
)
QUESTIONS = list(QUESTION.finditer((DOCS / "sql.md").read_text(encoding="utf-8")))


def test_there_are_ten_questions() -> None:
    assert len(QUESTIONS) == 10


@pytest.mark.postgres
@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question["title"][:40])
def test_each_question_has_an_answer_with_the_columns_that_the_document_names(
    database: Settings, connection: Connection, question: re.Match[str]
) -> None:
    for day in (date(2024, 11, 6), date(2024, 11, 8), date(2024, 11, 9)):
        usual = {"seconds": 80_000, "seconds_in_service": 80_000, "seconds_docks_known": 80_000, "rentals": 9}
        usual |= {"capacity_seconds": 800_000, "bikes_capacity_known_seconds": 200_000, "bikes_seconds": 200_000}
        troubled = {"seconds_empty": 9000, "seconds_full": 9000}
        frozen = station_day(day, code="frozen", waking_seconds=50_000, seconds=80_000)
        hours = [
            hour_of(
                "station_hours", day, hour, station_code="16107", seconds_in_service=3600, seconds_empty=hour,
                seconds_docks_known=3600, seconds_full=60,
            )
            for hour in (8, 17)
        ]  # fmt: skip
        zone_hours = [hour_of("zone_hours", day, hour, zone="Paris 16e", seconds_in_service=3600) for hour in (8, 17)]
        zones = [zone_day(day, seconds_covered=80_000, **usual), zone_day(day, "Pantin", **usual)]
        write(
            connection,
            "station_stats",
            day,
            station_days=[station_day(day, **troubled, **usual), frozen],
            station_hours=hours,
        )
        write(connection, "zone_stats", day, zone_days=zones, zone_hours=zone_hours,
              cell_days=[row("cell_days", day=day, cell="881fb46645fffff")])  # fmt: skip
        write(connection, "empty_stations", day, episodes=[episode("empty", at(day, 8), at(day, 9))])
        write(connection, "full_stations", day)
    named = re.findall(r"`(\w+)`", question["answer"].partition(". ")[0].partition(".\n")[0])
    with connect(database, readonly=True) as reader:
        cursor = reader.execute(question["query"].encode())
        assert [column.name for column in cursor.description or ()] == named
        assert cursor.fetchall()


def test_every_table_view_function_and_column_is_described() -> None:
    text = (DOCS / "statistics.md").read_text(encoding="utf-8")
    described = set(re.findall(r"`(\w+)`", text))
    for relation in STATISTICS:
        assert relation.name in described
        assert {column.name for column in relation.columns} <= described, relation.name
    assert {function.name for function in FUNCTIONS} <= described


def test_every_table_view_function_and_column_of_the_forecast_is_described() -> None:
    text = (DOCS / "forecast.md").read_text(encoding="utf-8")
    described = set(re.findall(r"`(\w+)[`(]", text))
    for relation in FORECASTS:
        assert relation.name in described
        assert {column.name for column in relation.columns} <= described, relation.name
    assert {function.name for function in FORECAST_FUNCTIONS} <= described

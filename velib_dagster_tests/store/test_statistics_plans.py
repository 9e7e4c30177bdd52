"""That the planner sees through the functions: a query pays for the days and columns that it asks for, and no more."""

from datetime import timedelta

import pytest

from velib_dagster.store.days import settle
from velib_dagster.store.upsert import Connection
from velib_dagster_tests.store.make_days import DAY, at, episode, hour_of, station_day, write

pytestmark = pytest.mark.postgres


def plan(connection: Connection, statement: str) -> str:
    rows = connection.execute(f"EXPLAIN (COSTS OFF) {statement}").fetchall()  # type: ignore[arg-type]
    return "\n".join(str(row[0]) for row in rows)


def test_episodes_are_read_only_for_columns_that_need_them(connection: Connection) -> None:
    cheap = plan(connection, "SELECT station_code, name, bikes_mean, empty_share, coverage FROM station_stats")
    assert "station_days" in cheap
    assert "episodes" not in cheap
    assert "Function Scan" not in cheap
    assert "episodes" in plan(connection, "SELECT empty_episode_median_seconds FROM station_stats")


def test_hours_are_read_only_for_profiles_and_peaks(connection: Connection) -> None:
    assert "station_hours" not in plan(connection, "SELECT station_code, seconds_empty, episodes FROM empty_stations")
    assert "station_hours" in plan(connection, "SELECT by_hour FROM empty_stations")
    assert "zone_hours" not in plan(connection, "SELECT zone, bikes_mean FROM zone_stats")


def test_a_range_is_found_by_the_index_of_days(connection: Connection) -> None:
    for n in range(60):
        day = DAY + timedelta(days=n)
        days = [station_day(day, code=str(code), seconds=1) for code in range(40)]
        write(connection, "station_stats", day, station_days=days)
    connection.commit()
    settle(connection)
    one_day = plan(connection, f"SELECT bikes_mean FROM station_stats('{DAY}', '{DAY}')")
    assert "station_days_by_day" in one_day
    assert "Seq Scan on station_days" not in one_day


def test_closed_episodes_come_in_order_from_the_index(connection: Connection) -> None:
    for n in range(30):
        day = DAY + timedelta(days=n)
        found = [
            episode("empty", at(day, hour), at(day, hour, 30), code=str(code))
            for code in range(40)
            for hour in range(6, 20)
        ]
        hour = hour_of("station_hours", day, 8, station_code="1")
        write(connection, "station_stats", day, station_days=[station_day(day)], station_hours=[hour])
        write(connection, "empty_stations", day, episodes=found)
    connection.commit()
    settle(connection)
    assert "using closed_episodes" in plan(connection, "SELECT empty_episode_median_seconds FROM station_stats")

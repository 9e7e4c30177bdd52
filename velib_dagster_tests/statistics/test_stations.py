"""Tables `station_days` and `station_hours`; `computed` holds DataFrames, SQL and the recount together in each test."""

from datetime import date, timedelta

import pytest
from pyspark.sql import SparkSession

from velib_dagster.statistics import tables, twins
from velib_dagster.statistics.days import Days, day_seconds
from velib_dagster.statistics.errors import StatisticsError
from velib_dagster.statistics.schemas import SPELLS
from velib_dagster_tests.statistics.make import CLOSED, DAY, arrow, computed, empty, full, held, paris

pytestmark = pytest.mark.spark

SPRING, AUTUMN = date(2024, 3, 31), date(2024, 10, 27)


def test_an_empty_day_has_no_row(small: SparkSession) -> None:
    yesterday = held("1", paris(-1, 50), paris(0))
    assert computed(small, yesterday, "station_days") == []
    assert computed(small, [], "station_hours") == []


def test_a_day_with_one_poll_counts_what_the_hold_covers(small: SparkSession) -> None:
    (row,) = computed(small, held("1", paris(8), paris(8, 11)), "station_days")
    assert (row["seconds"], row["bikes_seconds"], row["bikes_min"], row["bikes_max"]) == (660, 660 * 3, 3, 3)
    assert (row["rentals"], row["returns"], row["changes"]) == (0, 0, 0)


def test_a_station_that_appears_at_noon_counts_from_noon(small: SparkSession) -> None:
    spells = held("1", paris(0), paris(24)) + held("2", paris(12), paris(24))
    first, second = computed(small, spells, "station_days")
    assert (first["seconds"], second["seconds"]) == (86_400, 43_200)


def test_a_station_that_leaves_at_noon_counts_until_noon(small: SparkSession) -> None:
    hours = computed(small, held("1", paris(10, 30), paris(12)), "station_hours")
    assert [(row["hour"], row["seconds"]) for row in hours] == [(10, 1800), (11, 3600)]


def test_a_mean_is_weighted_by_time_and_no_average_of_rows(small: SparkSession) -> None:
    spells = (
        held("1", paris(8), paris(9), 2) + held("1", paris(9), paris(9, 1), 20) + held("1", paris(9, 1), paris(9, 2), 5)
    )
    (row,) = computed(small, spells, "station_days")
    assert row["bikes_seconds"] / row["seconds_in_service"] == pytest.approx((3600 * 2 + 60 * 20 + 60 * 5) / 3720)
    assert row["bikes_seconds"] / row["seconds_in_service"] != pytest.approx(sum(s.bikes for s in spells) / len(spells))


def test_a_mean_of_largest_values_can_not_pass_for_a_mean(small: SparkSession) -> None:
    spells = (
        held("1", paris(8), paris(8, 50), 1) + held("1", paris(8, 50), paris(9), 9) + held("1", paris(9), paris(10), 1)
    )
    (row,) = computed(small, spells, "station_days")
    hours = computed(small, spells, "station_hours")
    assert row["bikes_seconds"] == sum(hour["bikes_seconds"] for hour in hours) == 3000 * 1 + 600 * 9 + 3600 * 1
    assert row["bikes_max"] == 9
    assert not any(name.endswith(("_max", "_min")) for name in hours[0])


def test_time_out_of_service_counts_as_known_and_for_nothing_else(small: SparkSession) -> None:
    spells = held("1", paris(8), paris(9)) + held("1", paris(9), paris(10), 0, docks=0, **CLOSED)
    (row,) = computed(small, spells, "station_days")
    assert (row["seconds"], row["seconds_in_service"]) == (7200, 3600)
    assert (row["seconds_empty"], row["seconds_full"], row["seconds_low_bikes"], row["bikes_min"]) == (0, 0, 0, 3)


def test_a_dead_station_is_never_empty(small: SparkSession) -> None:
    (row,) = computed(small, held("1", paris(0), paris(24), 0, docks=0, **CLOSED), "station_days")
    assert (row["seconds"], row["seconds_in_service"], row["seconds_empty"], row["seconds_full"]) == (86_400, 0, 0, 0)
    assert row["bikes_min"] is None
    assert row["bikes_max"] is None


def test_full_is_no_free_dock_and_not_bikes_equal_to_capacity(small: SparkSession) -> None:
    broken_docks = full("1", paris(8), paris(9))
    at_capacity = held("2", paris(8), paris(9), 30, docks=2)
    first, second = computed(small, broken_docks + at_capacity, "station_days")
    assert (first["seconds_full"], first["bikes_max"]) == (3600, 28)
    assert (second["seconds_full"], second["overflow_seconds"]) == (0, 2 * 3600)
    assert first["unusable_docks_seconds"] == 2 * 3600


def test_capacity_0_divides_nothing(small: SparkSession) -> None:
    spells = held("1", paris(8), paris(9), capacity=0) + held("2", paris(8), paris(9), capacity=None)
    for row in computed(small, spells, "station_days"):
        assert (row["seconds_occupancy_known"], row["occupancy_seconds"], row["capacity_seconds"]) == (0, 0.0, 0)
        assert (row["seconds_balance_known"], row["unusable_docks_seconds"], row["overflow_seconds"]) == (0, 0, 0)
        assert row["bikes_seconds"] == 3 * 3600


def test_a_capacity_that_changes_counts_for_its_own_time_and_the_newest_is_shown(small: SparkSession) -> None:
    spells = held("1", paris(8), paris(9), capacity=30) + held("1", paris(9), paris(10), capacity=60)
    (row,) = computed(small, spells, "station_days")
    assert (row["capacity"], row["capacity_seconds"], row["changes"]) == (60, 90 * 3600, 1)
    assert row["occupancy_seconds"] == pytest.approx(3600 * 3 / 30 + 3600 * 3 / 60, abs=1e-9)


def test_the_newest_name_zone_and_place_are_shown(small: SparkSession) -> None:
    spells = held("1", paris(8), paris(9)) + held(
        "1", paris(9), paris(9, 5), name="A new one", zone="Paris 1er", lat=48.9
    )
    (row,) = computed(small, spells, "station_days")
    assert (row["name"], row["zone"], row["lat"], row["changes"]) == ("A new one", "Paris 1er", 48.9, 0)


@pytest.mark.parametrize("code", ["7101_relais", "0012", str(2**63 - 1), str(2**53 + 1)])
def test_a_code_is_text_whatever_it_looks_like(small: SparkSession, code: str) -> None:
    (row,) = computed(small, held(code, paris(8), paris(8, 5)), "station_days")
    assert row["station_code"] == code


def test_the_spring_day_has_23_hours_and_no_hour_2(small: SparkSession) -> None:
    days = Days.one(SPRING)
    spells = held("1", days.start, days.end)
    (row,) = computed(small, spells, "station_days", days)
    assert row["seconds"] == day_seconds(SPRING, "Europe/Paris") == 82_800
    hours = computed(small, spells, "station_hours", days)
    assert [hour["hour"] for hour in hours] == [hour for hour in range(24) if hour != 2]
    assert row["waking_seconds"] == 16 * 3600
    assert {hour["weekend"] for hour in hours} == {True}


def test_the_autumn_day_has_25_hours_and_two_of_one_name(small: SparkSession) -> None:
    days = Days.one(AUTUMN)
    first, second = paris(2, day=AUTUMN), paris(2, day=AUTUMN, fold=1)
    assert second - first == timedelta(hours=1)
    spells = held("1", days.start, second, 1) + held("1", second, days.end, 7)
    (row,) = computed(small, spells, "station_days", days)
    assert (row["seconds"], row["day"]) == (90_000, AUTUMN)
    twice = [hour for hour in computed(small, spells, "station_hours", days) if hour["hour"] == 2]
    assert [(hour["hour_start"], hour["bikes_seconds"]) for hour in twice] == [(first, 3600), (second, 7 * 3600)]
    assert row["waking_seconds"] == 16 * 3600


def test_rentals_and_returns_are_counted_by_kind_and_with_the_later_spell(small: SparkSession) -> None:
    spells = held("1", paris(8, 50), paris(9), 5, mechanical=3, ebike=2) + held(
        "1", paris(9), paris(9, 10), 5, mechanical=1, ebike=4
    )
    (row,) = computed(small, spells, "station_days")
    assert (row["rentals"], row["returns"], row["changes"]) == (2, 2, 1)
    hours = computed(small, spells, "station_hours")
    assert [(hour["hour"], hour["rentals"], hour["returns"]) for hour in hours] == [(8, 0, 0), (9, 2, 2)]


def test_without_the_split_rentals_are_counted_of_all_bikes(small: SparkSession) -> None:
    unknown = {"mechanical": None, "ebike": None}
    spells = held("1", paris(8), paris(9), 5, mechanical=3, ebike=2) + held("1", paris(9), paris(10), 4, **unknown)
    (row,) = computed(small, spells, "station_days")
    assert (row["rentals"], row["returns"]) == (1, 0)
    assert (row["seconds_split_known"], row["mechanical_seconds"]) == (3600, 3 * 3600)


def test_nothing_is_counted_over_a_gap(small: SparkSession) -> None:
    (row,) = computed(small, held("1", paris(8), paris(9), 9) + held("1", paris(9, 1), paris(10), 1), "station_days")
    assert (row["rentals"], row["returns"], row["changes"]) == (0, 0, 0)


def test_the_first_change_of_the_day_is_seen_from_the_last_spell_of_the_day_before(small: SparkSession) -> None:
    spells = held("1", paris(-1, 50), paris(0), 9) + held("1", paris(0), paris(1), 7)
    (row,) = computed(small, spells, "station_days")
    assert (row["seconds"], row["rentals"], row["changes"], row["waking_changes"]) == (3600, 2, 1, 0)


def test_frozen_stations_show_as_waking_time_without_a_change(small: SparkSession) -> None:
    spells = held("1", paris(5), paris(6), 1) + held("1", paris(6), paris(22), 2) + held("1", paris(22), paris(23), 3)
    (row,) = computed(small, spells, "station_days")
    assert (row["changes"], row["waking_changes"], row["waking_seconds"]) == (2, 1, 16 * 3600)


def test_low_and_one_sided_stock_is_counted_in_service_only(small: SparkSession) -> None:
    spells = (
        held("1", paris(8), paris(9), 2, mechanical=0, ebike=2)
        + held("1", paris(9), paris(10), 27, docks=2)
        + empty("1", paris(10), paris(11))
    )
    (row,) = computed(small, spells, "station_days")
    assert (row["seconds_low_bikes"], row["seconds_low_docks"]) == (7200, 3600)
    assert (row["seconds_ebike_only"], row["seconds_mechanical_only"]) == (3600, 3600)


def test_unknown_docks_are_left_out(small: SparkSession) -> None:
    spells = held("1", paris(8), paris(9)) + held("1", paris(9), paris(10), docks=None)
    (row,) = computed(small, spells, "station_days")
    assert (row["seconds_in_service"], row["seconds_docks_known"], row["docks_seconds"]) == (7200, 3600, 27 * 3600)


def test_a_day_is_the_same_alone_and_among_others(small: SparkSession) -> None:
    spells = [
        spell
        for code, shift in (("1", 0), ("2", 7))
        for number in range(72 * 3)
        for spell in held(
            code, paris(-24) + timedelta(minutes=20 * number), paris(-24) + timedelta(minutes=20 * number + 20),
            abs((number + shift) % 9 - 4) // 2,
        )
    ]  # fmt: skip
    three = Days(DAY - timedelta(days=1), DAY + timedelta(days=1))
    for table in ("station_days", "episodes"):
        among = [row for row in computed(small, spells, table, three) if row["day"] == DAY]
        alone = computed(small, [s for s in spells if s.until >= paris(0) and s.since < paris(24)], table)
        assert alone == among
        assert len(alone) >= 2


def test_a_session_in_another_time_zone_is_refused(small: SparkSession) -> None:
    frame = small.createDataFrame(arrow(held("1", paris(8), paris(9))), SPELLS)
    small.conf.set("spark.sql.session.timeZone", "Europe/Paris")
    try:
        for module in (tables, twins):
            with pytest.raises(StatisticsError, match="UTC"):
                module.statistics(frame, Days.one(DAY))
    finally:
        small.conf.set("spark.sql.session.timeZone", "UTC")

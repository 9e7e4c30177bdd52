"""Tables `zone_days`, `zone_hours` and `cell_days`; `computed` holds all ways of computing together in each test."""

import pytest
from pyspark.sql import SparkSession

from velib_dagster_tests.statistics.make import CLOSED, computed, empty, full, held, paris

pytestmark = pytest.mark.spark


def test_arrondissements_are_kept_apart(small: SparkSession) -> None:
    spells = held("16001", paris(8), paris(9), 4) + held("1001", paris(8), paris(9), 6, zone="Paris 1er")
    rows = computed(small, spells, "zone_days")
    assert [(row["zone"], row["stations"], row["bikes_seconds"]) for row in rows] == [
        ("Paris 16e", 1, 4 * 3600), ("Paris 1er", 1, 6 * 3600),
    ]  # fmt: skip


def test_a_zone_sums_its_stations_and_counts_each_once(small: SparkSession) -> None:
    spells = held("1", paris(8), paris(9), 4) + held("1", paris(9), paris(10), 5) + held("2", paris(8), paris(9), 6)
    (row,) = computed(small, spells, "zone_days")
    assert (row["stations"], row["seconds"], row["bikes_seconds"]) == (2, 3 * 3600, 15 * 3600)
    assert (row["bikes_min"], row["bikes_max"], row["returns"]) == (4, 6, 1)
    hours = computed(small, spells, "zone_hours")
    assert [(hour["hour"], hour["stations"], hour["seconds"]) for hour in hours] == [(8, 2, 7200), (9, 1, 3600)]


def test_a_zone_has_no_bike_while_none_of_its_stations_in_service_has_one(small: SparkSession) -> None:
    spells = (
        empty("1", paris(8), paris(10))
        + held("2", paris(8), paris(8, 30), 1)
        + empty("2", paris(8, 30), paris(9))
        + held("3", paris(8), paris(10), 9, **CLOSED)
    )
    (row,) = computed(small, spells, "zone_days")
    assert row["seconds_no_bike"] == 90 * 60
    assert (row["seconds_covered"], row["seconds_served"]) == (7200, 7200)


def test_a_zone_out_of_service_is_covered_and_not_without_bikes(small: SparkSession) -> None:
    (row,) = computed(small, held("1", paris(8), paris(9), 0, **CLOSED), "zone_days")
    assert (row["seconds_covered"], row["seconds_served"], row["seconds_no_bike"]) == (3600, 0, 0)


def test_time_that_nobody_knows_is_no_outage(small: SparkSession) -> None:
    (row,) = computed(small, empty("1", paris(8), paris(9)) + empty("1", paris(10), paris(11)), "zone_days")
    assert (row["seconds_covered"], row["seconds_no_bike"]) == (7200, 7200)


def test_a_station_whose_docks_are_unknown_has_no_say_about_docks(small: SparkSession) -> None:
    spells = full("1", paris(8), paris(9)) + held("2", paris(8), paris(10), docks=None)
    (row,) = computed(small, spells, "zone_days")
    assert (row["seconds_no_dock"], row["seconds_full"]) == (3600, 3600)


def test_a_station_that_is_rezoned_counts_in_both_zones_for_its_time(small: SparkSession) -> None:
    spells = empty("1", paris(8), paris(9)) + empty("1", paris(9), paris(11), zone="Paris 1er")
    rows = computed(small, spells, "zone_days")
    assert [(row["zone"], row["seconds"], row["seconds_no_bike"]) for row in rows] == [
        ("Paris 16e", 3600, 3600), ("Paris 1er", 7200, 7200),
    ]  # fmt: skip


def test_cells_are_counted_as_zones_are(small: SparkSession) -> None:
    spells = empty("1", paris(8), paris(9)) + held("2", paris(8), paris(8, 20), cell="881fb46641fffff")
    rows = computed(small, spells, "cell_days")
    assert [(row["cell"], row["stations"], row["seconds_no_bike"]) for row in rows] == [
        ("881fb46641fffff", 1, 0), ("881fb46645fffff", 1, 3600),
    ]  # fmt: skip

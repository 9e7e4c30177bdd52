"""Table `episodes`; `computed` holds DataFrames, SQL and the recount together in each test."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import SparkSession

from velib_dagster.events.records import Spell
from velib_dagster.statistics.days import Days
from velib_dagster_tests.statistics.make import CLOSED, DAY, computed, empty, full, held, paris

pytestmark = pytest.mark.spark

NEAR, FAR = 48.86 + 299 / 111_195, 48.86 + 301 / 111_195
"""Latitudes just within and just beyond 300 m of the usual one."""


def spans(small: SparkSession, spells: list[Spell], kind: str, days: Days | None = None) -> list[tuple[Any, ...]]:
    """(since, until, open start, open end) of the episodes of a kind."""
    return [
        (row["since"], row["until"], row["open_start"], row["open_end"])
        for row in computed(small, spells, "episodes", days)
        if row["kind"] == kind
    ]


def around(code: str, since: datetime, until: datetime, **values: Any) -> list[Spell]:
    """A station that is empty from `since` to `until` and has bikes from 5 to 23 h otherwise."""
    return (
        held(code, paris(5), since, **values)
        + empty(code, since, until, **values)
        + held(code, until, paris(23), **values)
    )


def test_an_episode_crosses_spells_and_cuts(small: SparkSession) -> None:
    spells = (
        held("1", paris(8), paris(9))
        + empty("1", paris(9), paris(9, 25))
        + empty("1", paris(9, 25), paris(10), docks=29)
    )
    spells += held("1", paris(10), paris(11))
    assert spans(small, spells, "empty") == [(paris(9), paris(10), False, False)]


def test_a_gap_ends_an_episode_and_leaves_both_sides_open(small: SparkSession) -> None:
    spells = held("1", paris(8), paris(9)) + empty("1", paris(9), paris(9, 11)) + empty("1", paris(9, 30), paris(10))
    spells += held("1", paris(10), paris(11))
    assert spans(small, spells, "empty") == [
        (paris(9), paris(9, 11), False, True), (paris(9, 30), paris(10), True, False),
    ]  # fmt: skip


def test_going_out_of_service_ends_an_episode_openly_and_coming_back_begins_one_openly(small: SparkSession) -> None:
    spells = (
        held("1", paris(8), paris(9)) + empty("1", paris(9), paris(10)) + empty("1", paris(10), paris(11), **CLOSED)
    )
    spells += empty("1", paris(11), paris(12)) + held("1", paris(12), paris(13))
    assert spans(small, spells, "empty") == [(paris(9), paris(10), False, True), (paris(11), paris(12), True, False)]


def test_an_episode_over_midnight_is_cut_there_and_open_on_both_sides(small: SparkSession) -> None:
    spells = held("1", paris(22), paris(23)) + empty("1", paris(23), paris(25)) + held("1", paris(25), paris(26))
    both = Days(DAY, DAY + timedelta(days=1))
    pieces = [(paris(23), paris(24), False, True), (paris(24), paris(25), True, False)]
    assert spans(small, spells, "empty", both) == pieces
    assert spans(small, spells, "empty", Days.one(DAY + timedelta(days=1))) == pieces[1:]


def test_an_episode_that_begins_at_midnight_was_seen_to_begin(small: SparkSession) -> None:
    spells = held("1", paris(-1, 50), paris(0)) + empty("1", paris(0), paris(1)) + held("1", paris(1), paris(2))
    assert spans(small, spells, "empty") == [(paris(0), paris(1), False, False)]


def test_a_full_episode_is_one_without_free_docks(small: SparkSession) -> None:
    spells = (
        held("1", paris(8), paris(9), 30, docks=1) + full("1", paris(9), paris(10)) + held("1", paris(10), paris(11))
    )
    assert spans(small, spells, "full") == [(paris(9), paris(10), False, False)]
    assert spans(small, spells, "empty") == []


def test_where_docks_are_unknown_before_and_after_a_full_episode_is_open(small: SparkSession) -> None:
    unknown = {"docks": None}
    spells = (
        held("1", paris(8), paris(9), **unknown)
        + full("1", paris(9), paris(10))
        + held("1", paris(10), paris(11), **unknown)
    )
    assert spans(small, spells, "full") == [(paris(9), paris(10), True, True)]


def test_a_dead_station_has_no_episode(small: SparkSession) -> None:
    assert computed(small, held("1", paris(0), paris(24), 0, docks=0, **CLOSED), "episodes") == []


def test_an_episode_carries_the_length_and_the_newest_zone_of_its_station(small: SparkSession) -> None:
    spells = empty("1", paris(3), paris(4)) + held("1", paris(4), paris(5), zone="Paris 1er")
    (row,) = computed(small, spells, "episodes")
    assert (row["seconds"], row["zone"], row["day"]) == (3600, "Paris 1er", DAY)


@pytest.mark.parametrize(("seconds", "outages"), [(600, 0), (601, 2)])
def test_a_cluster_outage_is_longer_than_10_minutes(small: SparkSession, seconds: int, outages: int) -> None:
    until = paris(9) + timedelta(seconds=seconds)
    spells = around("1", paris(9), paris(10)) + around("2", paris(8), until, lat=NEAR)
    found = spans(small, spells, "cluster_empty")
    assert found == [(paris(9), until, False, False)] * outages


def test_two_outages_with_a_break_do_not_add_up(small: SparkSession) -> None:
    helper = around("2", paris(9), paris(9, 9), lat=NEAR)
    helper = [s for s in helper if s.since < paris(9, 9)] + held("2", paris(9, 9), paris(9, 10), lat=NEAR)
    helper += empty("2", paris(9, 10), paris(9, 19), lat=NEAR) + held("2", paris(9, 19), paris(23), lat=NEAR)
    assert spans(small, around("1", paris(9), paris(10)) + helper, "cluster_empty") == []


def test_before_6_h_there_is_no_cluster_outage_and_one_that_lasts_is_cut_there(small: SparkSession) -> None:
    spells = held("1", paris(4), paris(5)) + empty("1", paris(5), paris(6, 9))
    assert spans(small, spells + held("1", paris(6, 9), paris(7)), "cluster_empty") == []
    longer = held("1", paris(4), paris(5)) + empty("1", paris(5), paris(6, 20)) + held("1", paris(6, 20), paris(7))
    assert spans(small, longer, "cluster_empty") == [(paris(6), paris(6, 20), True, False)]


def test_after_22_h_a_cluster_outage_is_cut(small: SparkSession) -> None:
    assert spans(small, around("1", paris(21), paris(22, 30)), "cluster_empty") == [(paris(21), paris(22), False, True)]


def test_a_station_with_a_bike_helps_within_300_m_and_not_beyond(small: SparkSession) -> None:
    centre = around("1", paris(9), paris(10))
    assert spans(small, centre + held("2", paris(5), paris(23), lat=NEAR), "cluster_empty") == []
    assert len(spans(small, centre + held("2", paris(5), paris(23), lat=FAR), "cluster_empty")) == 1


def test_a_neighbour_out_of_service_helps_nobody(small: SparkSession) -> None:
    spells = around("1", paris(9), paris(10)) + held("2", paris(5), paris(23), 9, lat=NEAR, **CLOSED)
    assert spans(small, spells, "cluster_empty") == [(paris(9), paris(10), False, False)]


def test_a_gap_of_the_centre_ends_its_cluster_outage_openly(small: SparkSession) -> None:
    spells = held("1", paris(8), paris(9)) + empty("1", paris(9), paris(9, 20)) + empty("1", paris(9, 40), paris(10))
    assert spans(small, spells, "cluster_empty") == [
        (paris(9), paris(9, 20), False, True), (paris(9, 40), paris(10), True, True),
    ]  # fmt: skip


def test_a_cluster_outage_ends_when_a_neighbour_gets_a_bike(small: SparkSession) -> None:
    spells = around("1", paris(9), paris(11)) + around("2", paris(8), paris(10), lat=NEAR)
    first, second = (row for row in computed(small, spells, "episodes") if row["kind"] == "cluster_empty")
    assert (first["station_code"], first["since"], first["until"]) == ("1", paris(9), paris(10))
    assert (second["station_code"], second["since"], second["until"]) == ("2", paris(9), paris(10))


def test_a_full_cluster_leaves_out_who_does_not_know_its_docks(small: SparkSession) -> None:
    spells = held("1", paris(8), paris(9)) + full("1", paris(9), paris(10)) + held("1", paris(10), paris(11))
    unknown = held("2", paris(8), paris(11), docks=None, lat=NEAR)
    assert spans(small, spells + unknown, "cluster_full") == [(paris(9), paris(10), False, False)]
    assert spans(small, spells + held("2", paris(8), paris(11), lat=NEAR), "cluster_full") == []

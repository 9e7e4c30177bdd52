"""DataFrames, SQL and the recount give the same tables, on random little networks and on recorded days."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from velib_dagster.events.records import Spell
from velib_dagster.statistics import tables, twins
from velib_dagster.statistics.compare import differences
from velib_dagster.statistics.days import Days, day_start
from velib_dagster.statistics.reading import spells_frame
from velib_dagster.statistics.recount import COUNTED, recounting
from velib_dagster.statistics.tables import TABLES
from velib_dagster_tests.statistics.archives import recorded_spells
from velib_dagster_tests.statistics.make import CLOSED, arrow, empty, full, held

pytestmark = pytest.mark.spark

PARIS = "Europe/Paris"
GAP = "gap"
WAYS = {
    "empty": empty,
    "full": full,
    "in stock": lambda code, since, until, **values: held(code, since, until, 7, **values),
    "e-bikes only": lambda code, since, until, **values: held(code, since, until, 2, mechanical=0, ebike=2, **values),
    "no split": lambda code, since, until, **values: held(code, since, until, 4, mechanical=None, ebike=None, **values),
    "docks unknown": lambda code, since, until, **values: held(code, since, until, 0, docks=None, **values),
    "closed": lambda code, since, until, **values: held(code, since, until, 0, **CLOSED, **values),
}


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[Spell], Days]:
    """A few stations near each other, over some hours around a local midnight, 6 h or a change of clocks."""
    day = draw(st.sampled_from([date(2024, 11, 7), date(2024, 10, 27), date(2024, 3, 31)]))
    start = day_start(day, PARIS) + timedelta(hours=draw(st.sampled_from([-1, 0, 5, 21])))
    spells = []
    for number in range(draw(st.integers(1, 4))):
        place = {"lat": 48.86 + draw(st.sampled_from([0, 200, 400])) / 111_195, "lon": 2.27}
        at = start + timedelta(seconds=draw(st.sampled_from([0, 37, 600])))
        for _ in range(draw(st.integers(1, 8))):
            until = at + timedelta(seconds=draw(st.sampled_from([1, 60, 600, 601, 1800, 4200])))
            way = draw(st.sampled_from([*WAYS, "empty", "empty", GAP]))
            if way != GAP:
                zone = draw(st.sampled_from(["Paris 16e", "Paris 16e", "Boulogne"]))
                capacity = draw(st.sampled_from([30, 30, 0, None, 25]))
                spells += WAYS[way](f"{number}", at, until, zone=zone, cell=zone[:5], capacity=capacity, **place)
            at = until
    return spells, Days(day, day + timedelta(days=draw(st.sampled_from([0, 1]))), PARIS)


def assert_all_equal(spark: SparkSession, spells: list[Spell], days: Days) -> None:
    given_spells = arrow([spell for spell in spells if spell.until >= days.start and spell.since < days.end])
    frame = spells_frame(spark, given_spells)
    with (
        tables.kept_statistics(frame, days) as ours,
        twins.kept_statistics(frame, days) as theirs,
        recounting(given_spells, days) as recount,
    ):
        for name, table in TABLES.items():
            found = ours[name].toArrow()
            assert differences(found, theirs[name].toArrow(), table.key, names=("DataFrame", "SQL")) == []
            if name in COUNTED:
                again = recount.table(name)
                assert differences(found, again, table.key, COUNTED[name], names=("DataFrame", "recount")) == []


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(network=networks())
def test_any_network_gives_the_same_tables_in_every_way(small: SparkSession, network: tuple[list[Spell], Days]) -> None:
    assert_all_equal(small, *network)


def test_a_recorded_day_gives_the_same_tables_in_every_way(spark: SparkSession, shared_data: Path) -> None:
    day = date(2024, 11, 7)
    recorded = recorded_spells(shared_data / "feed-recordings", day)
    spells = [spell for spell in recorded if int(spell.station_code.partition("_")[0]) % 4 == 1]
    assert len(spells) > 20_000
    assert {spell.since.astimezone(UTC).date() for spell in spells} == {datetime(2024, 11, 7, tzinfo=UTC).date()}
    assert_all_equal(spark, spells, Days.one(day))

import threading
from datetime import date, timedelta
from pathlib import Path

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from velib_dagster.archive.commit import COMMIT_FILE, day_path
from velib_dagster.archive.errors import EmptyArchiveError
from velib_dagster.archive.writer import archive_topic
from velib_dagster.statistics import proof
from velib_dagster.statistics.days import Days
from velib_dagster.statistics.errors import StatisticsError
from velib_dagster.statistics.reading import day_spells, day_spells_at, day_spells_table
from velib_dagster.statistics.recount import recounting
from velib_dagster.statistics.schemas import SPELLS
from velib_dagster_tests.archive.parts import START, TopicInMemory, many
from velib_dagster_tests.statistics.archives import write_archive
from velib_dagster_tests.statistics.make import DAY, arrow, held, paris

pytestmark = pytest.mark.spark

TODAY = Days.one(DAY)
THREE_DAYS = (
    held("7101_relais", paris(-2), paris(26), name='The "great" one,\nwith a second line')
    + held(str(2**63 - 1), paris(3), paris(4), mechanical=None, ebike=None, docks=None, capacity=None)
    + held("2", paris(-2), paris(-1), 9)
)


def rows(frame: DataFrame) -> set[tuple[object, ...]]:
    return {tuple(row.values()) for row in frame.toArrow().to_pylist()}


def test_a_day_comes_with_the_spells_that_reach_its_start(tmp_path: Path) -> None:
    write_archive(tmp_path, THREE_DAYS)
    table = day_spells_table(tmp_path, TODAY)
    assert min(table["since"].to_pylist()) == paris(-1, 50)
    assert max(table["until"].to_pylist()) == paris(24)
    assert set(table["station_code"].to_pylist()) == {"7101_relais", str(2**63 - 1)}
    assert table.num_rows == 24 * 6 + 1 + 6


def test_a_half_written_row_is_never_seen(small: SparkSession, tmp_path: Path) -> None:
    write_archive(tmp_path, THREE_DAYS)
    before = rows(day_spells(small, tmp_path, TODAY))
    with day_path(tmp_path, DAY).open("ab") as file:
        file.write(b"7101_relais,The gre")
    assert rows(day_spells(small, tmp_path, TODAY)) == before
    assert rows(day_spells_at(small, str(tmp_path), TODAY)) == before


def test_statistics_beside_a_writer_are_those_of_whole_rows(tmp_path: Path) -> None:
    spells = many(20_000)  # of 30 stations, a minute each: the n-th row is known by n
    writer = threading.Thread(
        target=archive_topic, args=(tmp_path, TopicInMemory(spells), TODAY.timezone), kwargs={"step_rows": 500}
    )
    writer.start()
    seen = []
    while writer.is_alive():
        found = proof.read(tmp_path, Days.one(START.date()))
        with recounting(found.table, found.days) as recount:
            counted = recount.table("station_days").to_pylist()
        written = spells[: found.table.num_rows]
        assert sum(row["seconds"] for row in counted) == sum(spell.seconds for spell in written)
        assert sum(row["bikes_seconds"] for row in counted) == sum(
            spell.seconds * spell.bikes for spell in written if spell.is_renting
        )
        seen.append(len(written))
    writer.join()
    assert seen == sorted(seen)
    assert any(0 < count < len(spells) for count in seen)


def test_days_with_few_spells_are_computed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_archive(tmp_path, THREE_DAYS)  # 18, 150 and 12 rows
    before, after = DAY - timedelta(days=1), DAY + timedelta(days=1)
    week = [DAY + timedelta(days=n) for n in range(5, -2, -1)]

    def together(at_once: int, days: list[date]) -> list[str]:
        monkeypatch.setattr(proof, "SPELLS_AT_ONCE", at_once)
        return [str(stretch) for stretch in proof.stretches(tmp_path, days, TODAY.timezone)]

    assert together(180, week) == ["2024-11-06..2024-11-12"]
    assert together(179, week) == ["2024-11-06..2024-11-07", "2024-11-08..2024-11-12"]
    assert together(12, week) == ["2024-11-06", "2024-11-07", "2024-11-08..2024-11-12"]
    assert together(1000, [after, before]) == ["2024-11-06", "2024-11-08"]
    assert together(1000, []) == []


def test_an_empty_day_has_no_spell_and_an_empty_archive_says_so(small: SparkSession, tmp_path: Path) -> None:
    write_archive(tmp_path, THREE_DAYS)
    later = Days.one(DAY + timedelta(days=9))
    found = day_spells(small, tmp_path, later)
    assert (found.count(), found.schema) == (0, SPELLS)
    with pytest.raises(EmptyArchiveError):
        day_spells(small, tmp_path / "nowhere", TODAY)


def test_a_copy_read_by_spark_holds_the_same_spells(small: SparkSession, tmp_path: Path) -> None:
    write_archive(tmp_path, THREE_DAYS, committed=False)
    assert not (tmp_path / COMMIT_FILE).exists()
    found = day_spells_at(small, tmp_path.as_uri(), TODAY)
    assert [(f.name, f.dataType) for f in found.schema] == [(f.name, f.dataType) for f in SPELLS]
    expected = [spell for spell in THREE_DAYS if spell.until >= paris(0) and spell.since < paris(24)]
    assert rows(found) == rows(small.createDataFrame(arrow(expected), SPELLS))


def test_a_copy_without_these_days_says_so(small: SparkSession, tmp_path: Path) -> None:
    write_archive(tmp_path, THREE_DAYS, committed=False)
    with pytest.raises(StatisticsError, match="no file for 2023-01-01: "):
        day_spells_at(small, str(tmp_path), Days.one(DAY.replace(year=2023, month=1, day=1)))


@pytest.mark.parametrize(
    ("change", "to", "words"),
    [
        (b"station_code,name,zone", b"station_code,zone,name", "CSV header does not conform"),
        (b",30,2024-11-07T03:00:00Z,", b",30,x,2024-11-07T03:00:00Z,", "MALFORMED"),
        (b",600,3,3,0,27,true", b",600,many,3,0,27,true", "MALFORMED"),
        (b",600,3,3,0,27,true", b",600,,3,0,27,true", "has no bikes"),
    ],
    ids=["columns in another order", "a column too many", "a number that is none", "a number that is missing"],
)
def test_a_malformed_copy_fails_instead_of_giving_numbers(
    small: SparkSession, tmp_path: Path, change: bytes, to: bytes, words: str
) -> None:
    write_archive(tmp_path, THREE_DAYS, committed=False)
    path = day_path(tmp_path, DAY)
    content = path.read_bytes()
    assert change in content
    path.write_bytes(content.replace(change, to, 1))
    with pytest.raises((PySparkException, Py4JJavaError), match=words):
        day_spells_at(small, str(tmp_path), TODAY).toArrow()

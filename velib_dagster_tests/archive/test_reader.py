"""Reading: committed bytes only, malformed rows named, and any name comes back through other tools unchanged."""

import csv
import threading
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from velib_dagster.archive.errors import ArchiveError, EmptyArchiveError
from velib_dagster.archive.reader import SCHEMA, archived_through, committed_files, read_spells, spells_table
from velib_dagster.archive.rows import csv_line, parse_row
from velib_dagster.archive.writer import archive_topic
from velib_dagster.events.records import CSV_HEADER
from velib_dagster_tests.archive.parts import START, TopicInMemory, many, spell

PARIS = "Europe/Paris"
NAMES = ['Bar "Le Coin"', "Rue, place", "Deux\nlignes", "Trois\r\nfins", "Hôtel de Ville – 🚲", " blanc ", '"', "'"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "archive").mkdir()
    return tmp_path / "archive"


def test_an_archive_without_a_row_says_when_the_first_come(folder: Path) -> None:
    words = "no finished spell yet: the first come with the second poll"
    assert committed_files(folder) == []
    assert archived_through(folder) is None
    with pytest.raises(EmptyArchiveError, match=words):
        list(read_spells(folder))
    with pytest.raises(EmptyArchiveError, match=words):
        spells_table(folder / "that is not there")
    archive_topic(folder, TopicInMemory([]), PARIS)
    with pytest.raises(EmptyArchiveError, match=words):
        spells_table(folder)


def test_names_with_quotes_commas_line_breaks_and_accents_come_back_everywhere(folder: Path) -> None:
    spells = [spell(name=name, zone=name, capacity=None, station_code=f"0{n}") for n, name in enumerate(NAMES)]
    archive_topic(folder, TopicInMemory(spells), PARIS)
    path = folder / "2024-11-07.csv"
    assert list(read_spells(folder)) == spells
    assert spells_table(folder).column("name").to_pylist() == NAMES
    with path.open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == NAMES
    frame = pd.read_csv(path, dtype={"station_code": str}, parse_dates=["since", "until"])
    assert frame["name"].tolist() == NAMES
    assert frame["capacity"].isna().all()
    assert frame["is_renting"].dtype == bool
    assert frame["since"].iloc[0] == pd.Timestamp(START)
    found = duckdb.sql(f"SELECT name, capacity, since, is_renting FROM read_csv('{path}', header = true)").fetchall()
    assert [row[0] for row in found] == NAMES
    assert {row[1:] for row in found} == {(None, START, True)}


@given(
    name=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    lat=st.floats(-90, 90),
    bikes=st.integers(0, 10**6),
    docks=st.none() | st.integers(0, 100),
    reported=st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001 - UTC below
)
def test_every_spell_comes_back_from_its_line(
    name: str, lat: float, bikes: int, docks: int | None, reported: datetime | None
) -> None:
    at = reported and reported.replace(microsecond=0, tzinfo=UTC)
    one = spell(name=name, lat=lat, bikes=bikes, docks=docks, last_reported=at)
    (fields,) = csv.reader([csv_line(one)], strict=True)
    assert parse_row(fields) == one


def test_the_table_has_the_schema_of_a_spell_and_equals_the_rows(folder: Path) -> None:
    spells = many(1000, datetime(2024, 11, 6, 22, 50, tzinfo=UTC))
    archive_topic(folder, TopicInMemory(spells), PARIS)
    table = spells_table(folder)
    assert table.schema == SCHEMA
    assert table.schema.names == list(CSV_HEADER)
    assert table.schema.field("since").type == pa.timestamp("s", tz="UTC")
    assert not table.schema.field("bikes").nullable
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        tuple(getattr(one, name) for name in CSV_HEADER) for one in read_spells(folder)
    ]


def test_days_and_station_choose(folder: Path) -> None:
    spells = many(1000, datetime(2024, 11, 6, 22, 50, tzinfo=UTC))
    archive_topic(folder, TopicInMemory(spells), PARIS)
    midnight = datetime(2024, 11, 6, 23, tzinfo=UTC)
    last = date(2024, 11, 6)
    assert [file.day for file in committed_files(folder)] == [date(2024, 11, 6), date(2024, 11, 7)]
    assert list(read_spells(folder, (None, last))) == [one for one in spells if one.since < midnight]
    assert spells_table(folder, (date(2024, 11, 7), None)).num_rows == sum(s.since >= midnight for s in spells)
    assert {one.station_code for one in read_spells(folder, station="1003")} == {"1003"}
    assert list(read_spells(folder, (date(2030, 1, 1), None))) == []
    assert spells_table(folder, (date(2030, 1, 1), None)).schema == SCHEMA


def test_bytes_that_are_not_committed_are_not_read(folder: Path) -> None:
    archive_topic(folder, TopicInMemory(many(10)), PARIS)
    with (folder / "2024-11-07.csv").open("ab") as file:
        file.write(b"21310,half a ro")
    (folder / "2024-11-08.csv").write_text("nothing that counts")
    assert len(list(read_spells(folder))) == 10
    assert spells_table(folder).num_rows == 10


def test_a_reader_beside_a_writer_sees_whole_rows_only(folder: Path) -> None:
    spells = many(20_000)
    writer = threading.Thread(
        target=archive_topic, args=(folder, TopicInMemory(spells), PARIS), kwargs={"step_rows": 500}
    )
    writer.start()
    counts = []
    while writer.is_alive():
        if committed_files(folder):
            counts.append(spells_table(folder).num_rows)
    writer.join()
    assert counts == sorted(counts)
    assert spells_table(folder).num_rows == 20_000


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"21310,C", b"21310 C", "17 fields instead of 18"),
        (b",60,3,1,", b",60,x,1,", r"Expected `int`.*bikes"),
        (b",60,3,1,", b",60,,,1", r"Expected `int`.*bikes"),
        (b"true,true,true", b"true,maybe,tru", "Expected `bool`"),
        (b",60,3,", b",61,3,", "61 seconds between"),
        (b"T08:00:00Z", b"T08h00:00Z", "Invalid RFC3339"),
    ],
)
def test_a_malformed_row_is_named_by_file_and_line(folder: Path, old: bytes, new: bytes, words: str) -> None:
    spells = [spell(station_code="1", name="Deux\nlignes"), spell(station_code="2"), spell()]
    archive_topic(folder, TopicInMemory(spells), PARIS)
    path = folder / "2024-11-07.csv"
    good = path.read_bytes()
    at = good.rindex(b"21310,C")
    path.write_bytes(good[:at] + good[at:].replace(old, new.ljust(len(old)), 1))
    with pytest.raises(ArchiveError, match=rf"2024-11-07\.csv, line 5: .*{words}"):
        list(read_spells(folder))
    if b"61" not in new:
        with pytest.raises(ArchiveError, match=rf"2024-11-07\.csv, line 5: .*{words}"):
            spells_table(folder)


def test_another_header_is_refused(folder: Path) -> None:
    archive_topic(folder, TopicInMemory([spell()]), PARIS)
    path = folder / "2024-11-07.csv"
    path.write_bytes(path.read_bytes().replace(b"station_code", b"STATION_CODE"))
    for read in (lambda: list(read_spells(folder)), lambda: spells_table(folder)):
        with pytest.raises(ArchiveError, match=r"2024-11-07\.csv, line 1: the header is"):
            read()

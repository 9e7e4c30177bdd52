"""The export: one CSV of spells or of polls, whole or not at all, plain or for Excel."""

import csv
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from velib_dagster.archive.errors import ArchiveError, EmptyArchiveError
from velib_dagster.archive.export import POLLS_HEADER, Exported, export
from velib_dagster.archive.spreadsheet import TOO_LONG
from velib_dagster.archive.writer import archive_once, archive_topic
from velib_dagster.events.records import PollRecord
from velib_dagster.events.topics import admin
from velib_dagster.feed.reports import PollKind
from velib_dagster.settings import CREDIT, Feed, Settings
from velib_dagster_tests.archive.broker import Sender
from velib_dagster_tests.archive.parts import START, TopicInMemory, many, spell


def poll(time: datetime, kind: PollKind = PollKind.USABLE, snapshot: str | None = None) -> PollRecord:
    return PollRecord(
        snapshot=snapshot or f"{time:%Y%m%dT%H%M%SZ}-0",
        time=time,
        kind=kind,
        reason="",
        rows=1,
        total_count=1,
        reports=1,
        refused={},
        repaired=0,
        changed=0,
        unchanged=0,
        stale=0,
        spells=0,
        totals=None,
        clock_offset_seconds=None,
        last_usable=None,
        last_cut=None,
        absent={},
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(home=tmp_path / "home", feed=Feed("feed", ""))
    made.archive.mkdir(parents=True)
    return made


def rows_of(path: Path, delimiter: str = ",", encoding: str = "utf-8") -> list[dict[str, str]]:
    with path.open(newline="", encoding=encoding) as file:
        return list(csv.DictReader(file, delimiter=delimiter, strict=True))


def test_all_days_as_spells_are_the_day_files_joined(settings: Settings, tmp_path: Path) -> None:
    archive_topic(settings.archive, TopicInMemory(many(900, datetime(2024, 11, 6, 22, 50, tzinfo=UTC))), "Europe/Paris")
    target = tmp_path / "all.csv"
    told: list[tuple[int, int]] = []
    done = export(settings, target, on_progress=lambda *progress: told.append(progress))
    assert done == Exported(rows=900, path=target, credit=CREDIT)
    first, second = sorted(settings.archive.glob("*.csv"))
    assert target.read_bytes() == first.read_bytes() + second.read_bytes().partition(b"\r\n")[2]
    assert told[-1] == (900, 900)


def test_days_and_station_choose_and_nothing_found_is_said(settings: Settings, tmp_path: Path) -> None:
    archive_topic(settings.archive, TopicInMemory(many(900)), "Europe/Paris")
    target = tmp_path / "some.csv"
    assert export(settings, target, station="1003").rows == 30
    assert {row["station_code"] for row in rows_of(target)} == {"1003"}
    before = target.read_bytes()
    with pytest.raises(ArchiveError, match=r"no row of station 9.*has 2024-11-07 to 2024-11-07"):
        export(settings, target, station="9")
    with pytest.raises(ArchiveError, match=r"no row in the days 2030-01-01 to …"):
        export(settings, target, days=(date(2030, 1, 1), None))
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if "some" in path.name] == ["some.csv"]


def test_excel_gets_semicolons_decimal_commas_and_a_byte_order_mark(settings: Settings, tmp_path: Path) -> None:
    names = ["Rue; place", 'Bar "Le Coin"', "Hôtel, de Ville"]
    archive_topic(settings.archive, TopicInMemory([spell(name=name) for name in names]), "Europe/Paris")
    target = tmp_path / "excel.csv"
    export(settings, target, excel=True)
    content = target.read_bytes()
    assert content.startswith(b"\xef\xbb\xbfstation_code;name;")
    assert content.count(b"\r\n") == 4
    rows = rows_of(target, ";", "utf-8-sig")
    assert [row["name"] for row in rows] == names
    assert (rows[0]["lat"], rows[0]["lon"], rows[0]["since"]) == ("48,86", "2,27", "2024-11-07 08:00:00")
    assert (rows[0]["is_installed"], rows[0]["last_reported"]) == ("1", "2024-11-07 07:02:11")


def test_excel_alone_defuses_formulas(settings: Settings, tmp_path: Path) -> None:
    formula = '=HYPERLINK("http://x.example";"Open")'
    archive_topic(settings.archive, TopicInMemory([spell(name=formula, lon=-4.85)]), "Europe/Paris")
    target = tmp_path / "out.csv"
    export(settings, target)
    assert rows_of(target)[0]["name"] == formula
    export(settings, target, excel=True)
    [row] = rows_of(target, ";", "utf-8-sig")
    assert (row["name"], row["lon"]) == (f"'{formula}", "-4,85")


@pytest.mark.parametrize("station", [None, "1003"])
def test_more_rows_than_a_sheet_are_told_first_and_for_excel_alone(
    station: str | None, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_topic(settings.archive, TopicInMemory(many(900)), "Europe/Paris")
    rows = 900 if station is None else 30
    told: list[str] = []
    for limit, excel, warned in ((rows, True, True), (rows + 1, True, False), (rows, False, False)):
        monkeypatch.setattr("velib_dagster.archive.export.SHEET_ROWS", limit)
        done = export(settings, tmp_path / "out.csv", station=station, excel=excel, warn=told.append)
        assert done.rows == rows
        assert told == ([TOO_LONG] if warned else [])
        told.clear()
    assert "1,048,576" in TOO_LONG


def test_an_archive_without_a_row_and_a_folder_that_is_not_there_are_said(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(EmptyArchiveError, match="no finished spell yet"):
        export(settings, tmp_path / "all.csv")
    archive_topic(settings.archive, TopicInMemory([spell()]), "Europe/Paris")
    with pytest.raises(ArchiveError, match=r"nowhere does not exist: make it, or name another file"):
        export(settings, tmp_path / "nowhere" / "all.csv")


def test_the_archive_itself_is_never_overwritten(settings: Settings) -> None:
    archive_topic(settings.archive, TopicInMemory([spell()]), "Europe/Paris")
    path = settings.archive / "2024-11-07.csv"
    before = path.read_bytes()
    with pytest.raises(ArchiveError, match="lies in the archive itself"):
        export(settings, path, excel=True)
    assert path.read_bytes() == before


@pytest.mark.kafka
def test_polls_give_one_row_for_each_usable_poll_within_a_spell(
    kafka_settings: Settings, fresh_feed: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = fresh_feed(kafka_settings)
    sender = Sender(settings)
    minute = timedelta(minutes=1)
    sender.send(
        [
            spell(START, 120, bikes=1),
            spell(START + 2 * minute, 180, bikes=2),
            spell(START, 300, station_code="7", docks=None),
        ]
    )
    kinds = {2: PollKind.SHORT, 3: PollKind.REPAIRED}
    sender.send([poll(START + n * minute, kinds.get(n, PollKind.USABLE)) for n in range(6)])
    sender.send([poll(START + 4 * minute)])  # the newest poll may be written a second time
    archive_once(settings)
    target = tmp_path / "polls.csv"
    assert export(settings, target, rows="polls").rows == 8
    rows = rows_of(target)
    assert tuple(rows[0]) == POLLS_HEADER
    minutes = [(row["station_code"], row["poll_time"][14:16], row["bikes"]) for row in rows]
    assert minutes == [
        ("21310", "00", "1"),
        ("21310", "01", "1"),
        ("21310", "03", "2"),
        ("21310", "04", "2"),
        ("7", "00", "3"),
        ("7", "01", "3"),
        ("7", "03", "3"),
        ("7", "04", "3"),
    ]
    assert rows[-1]["docks"] == ""
    client = admin(settings)  # its futures end with it
    for future in client.delete_records([TopicPartition(settings.topic("polls"), 0, 2)]).values():
        future.result(20)
    with pytest.raises(ArchiveError, match=r"no longer knows the polls before 2024-11-07T08:03:00Z"):
        export(settings, target, rows="polls")
    absent = replace(settings, feed=replace(settings.feed, name="another"))
    with pytest.raises(ArchiveError, match=r"has no topic another\.polls"):
        export(absent, target, rows="polls")

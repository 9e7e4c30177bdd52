"""Every sample of the real feeds against a table written by hand: kind of poll, counts, one station's values."""

import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from velib_dagster.feed.answers import ANSWER, STATION_INFORMATION, STATION_STATUS, Answer
from velib_dagster.feed.decode import decode, decode_snapshot
from velib_dagster.feed.poll import poll_recordings
from velib_dagster.feed.recordings import RecordingReader, list_recordings
from velib_dagster.feed.reports import PollKind, Refusal, Report
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.settings import Feed, Settings

MONDOR_2026 = Report(
    station_code="40001",
    name="Hôpital Mondor",
    commune="Créteil",
    lat=48.798922410229,
    lon=2.4537451531298,
    capacity=28,
    bikes=27,
    mechanical=9,
    ebike=18,
    docks=1,
    is_installed=True,
    is_renting=True,
    is_returning=True,
    last_reported=datetime(2026, 8, 22, 21, 26, 32, tzinfo=UTC),
)

CASSINI_2025 = Report(
    station_code="16107",
    name="Benjamin Godard - Victor Hugo",
    commune="Paris",
    lat=48.865983,
    lon=2.275725,
    capacity=35,
    bikes=14,
    mechanical=12,
    ebike=2,
    docks=21,
    is_installed=True,
    is_renting=True,
    is_returning=True,
    last_reported=datetime(2025, 2, 11, 6, 20, 10, tzinfo=UTC),
)

KLEBER_2024 = Report(
    station_code="21310",
    name="Kléber - Gouverneur Général Eboué",
    commune="Issy-les-Moulineaux",
    lat=48.826885843069796,
    lon=2.2723413258790965,
    capacity=24,
    bikes=21,
    mechanical=20,
    ebike=1,
    docks=2,
    is_installed=True,
    is_renting=True,
    is_returning=True,
    last_reported=datetime(2024, 11, 5, 7, 59, 45, tzinfo=UTC),
)

KLEBER_WITHOUT_REFERENTIAL = Report(
    station_code="21310",
    name=None,
    commune=None,
    lat=None,
    lon=None,
    capacity=None,
    bikes=20,
    mechanical=18,
    ebike=2,
    docks=3,
    is_installed=True,
    is_renting=True,
    is_returning=True,
    last_reported=datetime(2024, 11, 4, 9, 58, 39, tzinfo=UTC),
)

TOUDOUZE_2020 = Report(
    station_code="9020",
    name="Toudouze - Clauzel",
    commune="Paris",
    lat=48.8792959173,
    lon=2.33736008406,
    capacity=21,
    bikes=1,
    mechanical=0,
    ebike=1,
    docks=20,
    is_installed=True,
    is_renting=True,
    is_returning=True,
    last_reported=datetime(2020, 6, 24, 10, 59, 31, tzinfo=UTC),
)

CLOSED_2022_ALONE = Report(
    station_code="21511",
    name=None,
    commune=None,
    lat=None,
    lon=None,
    capacity=None,
    bikes=0,
    mechanical=0,
    ebike=0,
    docks=46,
    is_installed=False,
    is_renting=False,
    is_returning=False,
    last_reported=datetime(2022, 2, 22, 6, 22, 51, tzinfo=UTC),
)

# file: (failure, reports, refused by reason, rows, total_count, words of the reason, one station)
TABLE = {
    "explore-v2.1-export-2026-04.csv": (PollKind.NOT_JSON, 0, {}, 0, None, "not JSON", None),
    "explore-v2.1-export-null-referential.json": (None, 1485, {}, 1485, None, "", KLEBER_WITHOUT_REFERENTIAL),
    "explore-v2.1-export-null-stationcode.json": (
        PollKind.NULL_STATIONCODE,
        0,
        {Refusal.NULL_STATIONCODE: 1482},
        1482,
        None,
        "1482 of 1482 rows",
        None,
    ),
    "explore-v2.1-export.json": (None, 1485, {}, 1485, None, "", KLEBER_2024),
    "explore-v2.1-records-2025-02-11.json": (None, 100, {}, 100, 1474, "", CASSINI_2025),
    "explore-v2.1-records-2026-08-22.json": (None, 100, {}, 100, 1519, "", MONDOR_2026),
    "gbfs-2022-02.json": (PollKind.EMPTY, 0, {}, 0, None, "no known shape", None),
    "gbfs-station-information-2022-02.json": (PollKind.EMPTY, 0, {}, 0, None, "no station_status", None),
    "gbfs-station-information-2025-02-11.json": (PollKind.EMPTY, 0, {}, 0, None, "no station_status", None),
    "gbfs-station-information-capacity-outage.json": (PollKind.EMPTY, 0, {}, 0, None, "no station_status", None),
    "gbfs-station-information-null-stationCode.json": (PollKind.EMPTY, 0, {}, 0, None, "no station_status", None),
    "gbfs-station-status-2022-02.json": (None, 1439, {}, 1439, None, "no station_information", CLOSED_2022_ALONE),
    "records-v1.0-2020-06.json": (None, 1398, {}, 1398, None, "", TOUDOUZE_2020),
}

RELAIS_2022 = Report(
    station_code="7101_Relais",
    name="Raspail - Chomel",
    commune=None,
    lat=48.85268431541086,
    lon=2.326505519449711,
    capacity=0,
    bikes=0,
    mechanical=0,
    ebike=0,
    docks=0,
    is_installed=True,
    is_renting=True,
    is_returning=True,
    last_reported=datetime(2022, 2, 23, 18, 11, 25, tzinfo=UTC),
)

GLARNER_2022 = Report(
    station_code="34002",  # its station_id, 11004671601, needs more than 32 bits
    name="Capitaine Glarner - Gabriel Péri",
    commune=None,
    lat=48.902449900418745,
    lon=2.3304807533425724,
    capacity=27,
    bikes=7,
    mechanical=4,
    ebike=3,
    docks=19,
    is_installed=True,
    is_renting=True,
    is_returning=True,
    last_reported=datetime(2022, 2, 23, 18, 10, 3, tzinfo=UTC),
)

# information joined with the status of 2022: (reports, refused by reason, reports without a name)
PAIRS = {
    "gbfs-station-information-2022-02.json": (1439, {}, 0),
    "gbfs-station-information-2025-02-11.json": (1439, {Refusal.NO_STATUS: 100}, 65),
    "gbfs-station-information-capacity-outage.json": (1439, {Refusal.NO_STATUS: 100}, 65),
    "gbfs-station-information-null-stationCode.json": (1439, {Refusal.NO_STATUS: 64}, 32),
}


@pytest.fixture
def samples(shared_data: Path) -> Path:
    return shared_data / "feed-samples"


def answer(path: Path, role: str = ANSWER) -> Answer:
    return Answer(role=role, url="http://feed.test/", status=200, headers={}, body=path.read_bytes())


def test_the_table_names_every_sample(samples):
    assert sorted(TABLE) == sorted(path.name for path in samples.iterdir())


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_sample_decodes_as_the_table_says(samples, name):
    failure, reports, refused, rows, total_count, words, station = TABLE[name]
    poll = decode([answer(samples / name)])
    assert (poll.failure, len(poll.reports), poll.refused) == (failure, reports, refused)
    assert (poll.rows, poll.total_count) == (rows, total_count)
    assert words in poll.reason
    assert bool(words) == bool(poll.reason)
    if station is not None:
        assert [report for report in poll.reports if report.station_code == station.station_code] == [station]


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_status_and_information_are_joined_by_station_id(samples, name):
    reports, refused, nameless = PAIRS[name]
    status = answer(samples / "gbfs-station-status-2022-02.json", STATION_STATUS)
    poll = decode([status, answer(samples / name, STATION_INFORMATION)])
    assert (poll.failure, poll.reason, len(poll.reports), poll.refused) == (None, "", reports, refused)
    assert poll.rows == reports
    assert sum(report.name is None for report in poll.reports) == nameless


def test_a_joined_gbfs_station_has_the_values_of_both_documents(samples):
    status = answer(samples / "gbfs-station-status-2022-02.json", STATION_STATUS)
    poll = decode([status, answer(samples / "gbfs-station-information-2022-02.json", STATION_INFORMATION)])
    by_code = {report.station_code: report for report in poll.reports}
    assert by_code["7101_Relais"] == RELAIS_2022
    assert by_code["34002"] == GLARNER_2022


def test_a_capacity_outage_keeps_its_zeros(samples):
    status = answer(samples / "gbfs-station-status-2022-02.json", STATION_STATUS)
    information = answer(samples / "gbfs-station-information-capacity-outage.json", STATION_INFORMATION)
    capacities = [report.capacity for report in decode([status, information]).reports]
    assert capacities.count(0) > 1200
    assert capacities.count(None) == 65  # stations that the later information no longer lists


def test_a_gbfs_of_codes_with_every_code_null_fails_as_a_whole(samples):
    body = (samples / "gbfs-station-status-2022-02.json").read_bytes()
    for code in (b'"stationCode":null,', b""):
        nulled = re.sub(rb'"stationCode":"[^"]*",', code, body)
        status = Answer(role=STATION_STATUS, url="", status=200, headers={}, body=nulled)
        information = answer(samples / "gbfs-station-information-null-stationCode.json", STATION_INFORMATION)
        poll = decode([status, information])
        assert poll.failure is PollKind.NULL_STATIONCODE
        assert poll.refused == {Refusal.NULL_STATIONCODE: 1439, Refusal.NO_STATUS: 64}
        assert not poll.reports


@pytest.mark.long  # end_to_end/test_backfill.py takes three of the days the whole way
def test_every_recording_goes_through_http_and_store_and_decodes(shared_data, tmp_path):
    recordings = list_recordings(shared_data / "feed-recordings")
    settings = Settings(home=tmp_path, feed=Feed("recordings", ""))
    kinds: Counter[tuple[PollKind | None, int]] = Counter()
    times = []

    def keep(snapshot):
        times.append(snapshot.poll_time)
        poll = decode_snapshot(snapshot)
        kinds[poll.failure, len(poll.reports)] += 1
        assert snapshot.error is None

    poll_recordings(settings, recordings, keep)
    assert kinds == {(None, 1485): 501, (PollKind.NULL_STATIONCODE, 0): 2}
    assert times == [recording.time for recording in recordings]
    assert times[0] == datetime(2024, 10, 31, 13, 50, 1, tzinfo=UTC)


def test_the_kept_bytes_of_a_recording_are_those_of_the_archive(shared_data, tmp_path):
    recordings = list_recordings(shared_data / "feed-recordings")[:3]
    settings = Settings(home=tmp_path, feed=Feed("recordings", ""))
    kept = []
    poll_recordings(settings, recordings, kept.append)
    store = SnapshotStore(settings.raw)
    reader = RecordingReader(recordings)
    for snapshot, recording in zip(kept, recordings, strict=True):
        assert store.read(snapshot.name) == snapshot
        assert {one.role: one.body for one in snapshot.answers} == reader.read(recording)

"""Recordings of a folder: their times, their order, their bytes, and what is said of unreadable ones."""

import gzip
import io
import lzma
import tarfile
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from velib_dagster.feed.errors import RecordingError
from velib_dagster.feed.recordings import RecordingReader, list_recordings


def pack(path, members, mode="w:xz"):
    with tarfile.open(path, mode) as tar:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


def bodies(recordings):
    reader = RecordingReader(recordings)
    return [reader.read(recording) for recording in recordings]


def test_local_names_are_paris_time_and_names_with_z_are_utc(tmp_path):
    (tmp_path / "velib_data_20241107_084501.json").write_bytes(b"[1]")
    (tmp_path / "20240707T064501Z-export.json").write_bytes(b"[2]")
    (tmp_path / "velib_data_20240707_084502.json").write_bytes(b"[3]")
    (tmp_path / "README.json").write_bytes(b"no recording")
    (tmp_path / "notes.txt").write_bytes(b"no recording")
    found = list_recordings(tmp_path)
    assert [one.time for one in found] == [
        utc(2024, 7, 7, 6, 45, 1),
        utc(2024, 7, 7, 6, 45, 2),
        utc(2024, 11, 7, 7, 45, 1),
    ]
    assert bodies(found) == [{"answer": b"[2]"}, {"answer": b"[3]"}, {"answer": b"[1]"}]
    assert list_recordings(tmp_path, ZoneInfo("America/New_York"))[-1].time == utc(2024, 11, 7, 13, 45, 1)


def test_the_hour_that_an_autumn_night_has_twice_goes_on_in_an_archives_order(tmp_path):
    names = ["015501", "020001", "023001", "020002", "023002", "030001"]
    pack(tmp_path / "night.tar.xz", [(f"velib_data_20241027_{name}.json", name.encode()) for name in names])
    assert [(one.time.hour, one.time.minute) for one in list_recordings(tmp_path)] == [
        (23, 55),
        (0, 0),
        (0, 30),
        (1, 0),
        (1, 30),
        (2, 0),
    ]


@pytest.mark.parametrize(("suffix", "mode"), [("tar.xz", "w:xz"), ("tar.gz", "w:gz"), ("tgz", "w:gz"), ("tar", "w")])
def test_every_kind_of_archive_and_file_is_read_also_one_level_below(tmp_path, suffix, mode):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "deeper").mkdir()
    pack(tmp_path / "below" / f"day.{suffix}", [("d/20241107T000000Z.json", b"a"), ("x.txt", b"")], mode)
    (tmp_path / "20241107T000100Z.json.gz").write_bytes(gzip.compress(b"b"))
    (tmp_path / "below" / "deeper" / "20241107T000200Z.json").write_bytes(b"not read")
    assert bodies(list_recordings(tmp_path)) == [{"answer": b"a"}, {"answer": b"b"}]


def test_archives_out_of_order_and_interleaved_are_read_right(tmp_path):
    for archive, minutes in (("a", (5, 1, 3)), ("b", (4, 0, 2))):
        pack(tmp_path / f"{archive}.tar.xz", [(f"20241107T000{n}00Z.json", str(n).encode()) for n in minutes])
    found = list_recordings(tmp_path)
    assert [one["answer"] for one in bodies(found)] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    reader = RecordingReader(found)
    assert [reader.read(one)["answer"] for one in reversed(found)] == [b"5", b"4", b"3", b"2", b"1", b"0"]
    assert reader.read(found[2])["answer"] == b"2"


def test_one_time_recorded_twice_is_two_recordings(tmp_path):
    pack(tmp_path / "a.tar.xz", [("20241107T000000Z.json", b"a"), ("20241107T000000Z.json", b"b")])
    assert bodies(list_recordings(tmp_path)) == [{"answer": b"a"}, {"answer": b"b"}]


def test_an_archive_is_unpacked_once_when_it_is_read_in_order(tmp_path, monkeypatch):
    for day in "12":
        members = [(f"2024110{day}T0000{n:02}Z.json", b"x" * 512) for n in range(50)]
        pack(tmp_path / f"{day}.tar.xz", members)
    found = list_recordings(tmp_path)
    opened = []
    real = lzma.open
    monkeypatch.setattr(lzma, "open", lambda path, *rest: opened.append(path.name) or real(path, *rest))
    assert len(bodies(found)) == 100
    assert opened == ["1.tar.xz", "2.tar.xz"]


def test_gbfs_status_goes_with_the_information_of_its_time_or_the_last_before(tmp_path):
    members = [
        ("20241107T000100Z-station_status.json", b"s1"),
        ("20241107T000200Z-station_information.json", b"i2"),
        ("20241107T000200Z-station_status.json", b"s2"),
        ("20241107T000300Z-station_status.json", b"s3"),
        ("20241107T000400Z-station_information.json", b"i4"),
        ("20241107T000400Z-station_status.json", b"s4"),
    ]
    pack(tmp_path / "gbfs.tar.xz", members)
    found = bodies(list_recordings(tmp_path))
    assert [(one["station_status"], one["station_information"]) for one in found] == [
        (b"s1", b"i2"),
        (b"s2", b"i2"),
        (b"s3", b"i2"),
        (b"s4", b"i4"),
    ]


def test_gbfs_status_alone_is_a_recording(tmp_path):
    (tmp_path / "20241107T000100Z-station_status.json").write_bytes(b"s")
    assert bodies(list_recordings(tmp_path)) == [{"station_status": b"s"}]


def test_a_folder_with_none_and_no_folder_are_told(tmp_path):
    with pytest.raises(RecordingError, match="has no recording"):
        list_recordings(tmp_path)
    with pytest.raises(RecordingError, match="is no folder"):
        list_recordings(tmp_path / "missing")


def test_a_name_with_an_impossible_time_is_told(tmp_path):
    (tmp_path / "velib_data_20241345_084501.json").write_bytes(b"[]")
    with pytest.raises(RecordingError, match="20241345"):
        list_recordings(tmp_path)


@pytest.mark.parametrize("left", [0, 10, 0.5, -8])
@pytest.mark.parametrize(("suffix", "mode"), [("tar.xz", "w:xz"), ("tar.gz", "w:gz")])
def test_a_cut_archive_is_named(tmp_path, suffix, mode, left):
    path = tmp_path / f"day.{suffix}"
    pack(path, [(f"20241107T0000{n:02}Z.json", str(n).encode() * 3000) for n in range(30)], mode)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * left) if isinstance(left, float) else left])
    with pytest.raises(RecordingError, match=rf"day.{suffix} can't be read as an archive"):
        list_recordings(tmp_path)


def test_an_archive_that_is_none_is_named(tmp_path):
    (tmp_path / "day.tar").write_bytes(b"nonsense" * 200)
    with pytest.raises(RecordingError, match=r"day\.tar"):
        list_recordings(tmp_path)


def test_a_damaged_file_is_named_when_it_is_read(tmp_path):
    (tmp_path / "20241107T000100Z.json.gz").write_bytes(b"nonsense")
    with pytest.raises(RecordingError, match=r"000100Z\.json\.gz can't be read"):
        bodies(list_recordings(tmp_path))


def test_an_archive_that_lost_members_since_it_was_listed_is_told(tmp_path):
    pack(tmp_path / "day.tar", [(f"20241107T0000{n:02}Z.json", b"x") for n in range(3)], "w")
    found = list_recordings(tmp_path)
    pack(tmp_path / "day.tar", [("20241107T000000Z.json", b"x")], "w")
    with pytest.raises(RecordingError, match="has changed"):
        bodies(found)


@pytest.mark.parametrize(
    "name",
    [
        "station_status_20261120_170000.json",
        "station_status__2026-11-20-17-00.json",
        "2026_11_20_17_00_00.json",
        "2026-11-20T17:00:00.json",
        "status-20261120-1700.json",
        "20261120170000.json",
        "2026-11-20 17.00.00 export.json",
        "20261120T080000Z.json",
        "2026-11-20T08-00-00Z.json",
        "2026-11-20T17:00:00+09:00.json",
        "status_1795161600.json",
        "status_1795161600123.json",
    ],
)
def test_names_of_many_collectors_carry_a_time(tmp_path, name):
    (tmp_path / name).write_bytes(b"[]")
    (one,) = list_recordings(tmp_path, ZoneInfo("Asia/Tokyo"))
    assert one.time == utc(2026, 11, 20, 8)


def test_a_document_without_a_time_goes_with_every_status_and_what_is_left_out_is_told(tmp_path):
    status = b'{"data": {"stations": [{"station_id": "1", "num_bikes_available": 1}]}}'
    for minute in "12":
        (tmp_path / f"2026_11_20_17_0{minute}_00.json").write_bytes(status)
    (tmp_path / "station_information.json").write_bytes(b"i")
    (tmp_path / "vehicle_types.json").write_bytes(b"v")
    (tmp_path / "readme.json").write_bytes(b"{}")
    left_out = []
    found = bodies(list_recordings(tmp_path, left_out=left_out))
    assert found == [{"station_status": status, "station_information": b"i", "vehicle_types": b"v"}] * 2
    assert left_out == ["readme.json"]


def test_an_information_with_a_time_counts_before_one_without(tmp_path):
    (tmp_path / "20261120T080000Z-station_status.json").write_bytes(b"s")
    (tmp_path / "20261120T080000Z-station_information.json").write_bytes(b"timed")
    (tmp_path / "station_information.json").write_bytes(b"untimed")
    left_out = []
    (found,) = bodies(list_recordings(tmp_path, left_out=left_out))
    assert (found["station_information"], left_out) == (b"timed", ["station_information.json"])


def test_a_folder_may_carry_the_time_or_the_day(tmp_path):
    for name in ("20261120_170000/station_status.json", "2026-11-20/17-01.json", "2026-11-20/notes.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    found = list_recordings(tmp_path, ZoneInfo("Asia/Tokyo"))
    assert [(one.time, *one.parts) for one in found] == [
        (utc(2026, 11, 20, 8), "station_status"),
        (utc(2026, 11, 20, 8, 1), "answer"),
    ]

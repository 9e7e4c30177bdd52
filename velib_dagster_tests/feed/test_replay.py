"""Recordings served again: one Date, theirs; and the whole way from a folder to the raw store."""

import gzip
import json
import socket
from datetime import UTC, datetime

import pytest
import requests

from velib_dagster.feed.decode import decode_snapshot
from velib_dagster.feed.errors import RecordingError
from velib_dagster.feed.poll import poll_once, poll_recordings, quota_spent_until
from velib_dagster.feed.recordings import list_recordings
from velib_dagster.feed.replay import ReplayServer
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.settings import Feed, Settings
from velib_dagster_tests.feed.local_feed import LocalFeed, Reply, free_port, json_reply
from velib_dagster_tests.feed.test_client import TOMORROW
from velib_dagster_tests.feed.test_decode import INFORMATION, ROW, STATUS


def raw_answer(url):
    host, _, path = url.removeprefix("http://").partition("/")
    name, port = host.split(":")
    with socket.create_connection((name, int(port)), timeout=10) as connection:
        connection.sendall(f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while piece := connection.recv(65536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return head.decode().split("\r\n"), body


def test_an_answer_has_exactly_one_date_the_recordings_own(tmp_path):
    (tmp_path / "velib_data_20241107_084501.json").write_bytes(b"[1]")
    with ReplayServer(list_recordings(tmp_path)) as server:
        lines, body = raw_answer(server.urls[0])
    dates = [line for line in lines if line.lower().startswith("date:")]
    assert dates == ["Date: Thu, 07 Nov 2024 07:45:01 GMT"]
    assert body == b"[1]"


def test_what_is_not_there_is_404(tmp_path):
    (tmp_path / "velib_data_20241107_084501.json").write_bytes(b"[1]")
    with ReplayServer(list_recordings(tmp_path)) as server:
        for path in ("/1", "/", "/x", "/0/gbfs.json", "/0/answer.json", "/0/../1"):
            assert requests.get(server.address + path, timeout=5).status_code == 404
        assert requests.get(server.url(0), timeout=5).content == b"[1]"


def test_the_server_is_gone_afterwards(tmp_path):
    (tmp_path / "velib_data_20241107_084501.json").write_bytes(b"[1]")
    with ReplayServer(list_recordings(tmp_path)) as server:
        url = server.url(0)
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def settings_of(tmp_path, url=""):
    return Settings(home=tmp_path / "home", feed=Feed("test", url))


def test_recordings_are_kept_with_their_times_and_bytes_whatever_they_hold(tmp_path):
    folder = tmp_path / "recorded"
    folder.mkdir()
    for name, body in (
        ("20241107T000000Z.json", json.dumps([ROW]).encode()),
        ("20241107T000500Z.json", b'[{"stationcode": "1\\u00'),
        ("20241107T001000Z.json", b""),
    ):
        (folder / name).write_bytes(body)
    kept = []
    poll_recordings(settings_of(tmp_path), list_recordings(folder), kept.append)
    assert [one.name for one in kept] == ["20241107T000000Z-0", "20241107T000500Z-0", "20241107T001000Z-0"]
    assert [decode_snapshot(one).failure for one in kept] == [None, "truncated", "empty"]
    assert SnapshotStore(tmp_path / "home" / "raw").read(kept[1].name) == kept[1]


def test_recorded_gbfs_takes_the_way_of_a_gbfs_feed(tmp_path):
    folder = tmp_path / "recorded"
    folder.mkdir()
    for minute in (1, 2):
        for role, row in (("station_status", STATUS), ("station_information", INFORMATION)):
            document = json.dumps({"data": {"stations": [row]}})
            (folder / f"20241107T000{minute}00Z-{role}.json").write_text(document)
    kept = []
    poll_recordings(settings_of(tmp_path), list_recordings(folder), kept.append)
    assert [one.poll_time for one in kept] == [datetime(2024, 11, 7, 0, minute, tzinfo=UTC) for minute in (1, 2)]
    assert [[answer.role for answer in one.answers] for one in kept] == [["station_status", "station_information"]] * 2
    assert decode_snapshot(kept[0]).reports[0].name == "Victor Hugo"


def test_an_unreadable_recording_stops_the_replay_and_is_named_and_those_before_are_kept(tmp_path):
    folder = tmp_path / "recorded"
    folder.mkdir()
    (folder / "20241107T000000Z.json.gz").write_bytes(gzip.compress(b"[]"))
    (folder / "20241107T000500Z.json.gz").write_bytes(b"nonsense")
    kept = []
    with pytest.raises(RecordingError, match=r"000500Z\.json\.gz can't be replayed.*restore it"):
        poll_recordings(settings_of(tmp_path), list_recordings(folder), kept.append)
    assert [one.name for one in kept] == SnapshotStore(tmp_path / "home" / "raw").names_after(None)
    assert len(kept) == 1


def test_one_poll_is_on_disk_when_it_returns(tmp_path):
    with LocalFeed({"/": [json_reply([ROW])]}) as feed:
        settings = settings_of(tmp_path, feed.address)
        snapshot = poll_once(settings)
    assert SnapshotStore(settings.raw).read(snapshot.name) == snapshot
    assert len(decode_snapshot(snapshot).reports) == 1


def test_a_poll_without_an_answer_is_kept_too(tmp_path):
    settings = settings_of(tmp_path, f"ftp://127.0.0.1:{free_port()}/")
    snapshot = poll_once(settings)
    assert decode_snapshot(SnapshotStore(settings.raw).read(snapshot.name)).failure == "no_answer"


def test_a_spent_quota_silences_the_polls_until_its_reset_and_each_says_so(tmp_path):
    refused = Reply(b"{}", status=429, headers={"X-RateLimit-Reset": TOMORROW.isoformat()})
    with LocalFeed({"/": [refused]}) as feed:
        settings = settings_of(tmp_path, feed.address)
        polls = [poll_once(settings) for _ in range(3)]
    assert len(feed.asked) == 1
    assert quota_spent_until(SnapshotStore(settings.raw)) == TOMORROW
    assert [decode_snapshot(one).failure for one in polls] == ["error_payload", "no_answer", "no_answer"]
    assert "quota is spent until" in decode_snapshot(polls[2]).reason
    assert len({one.name for one in polls}) == 3


def test_a_damaged_newest_snapshot_does_not_stop_the_polls(tmp_path):
    with LocalFeed({"/": [json_reply([ROW])]}) as feed:
        settings = settings_of(tmp_path, feed.address)
        store = SnapshotStore(settings.raw)
        store.path(poll_once(settings).name).write_bytes(b"")
        assert poll_once(settings).error is None
    assert len(store.names_after(None)) == 2

"""The standby poller steps in when nobody else polls, and only then."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from velib_dagster.feed.answers import Fetched
from velib_dagster.feed.errors import NotPolledError
from velib_dagster.feed.poll import poll_once
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.runtime.standby import stand_by
from velib_dagster.settings import Feed, Settings
from velib_dagster.simulator import Network, SimulatorServer


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with SimulatorServer(Network.generate(20, 1)) as server:
        yield Settings(home=tmp_path, feed=Feed("standby", server.url, every_seconds=4))


@contextmanager
def standing_by(settings: Settings) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=stand_by, args=(settings, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)
        assert not thread.is_alive()


def test_it_polls_once_no_snapshot_came_for_one_and_a_half_intervals(settings: Settings) -> None:
    store = SnapshotStore(settings.raw)
    with standing_by(settings):
        time.sleep(3)
        assert store.newest() is None
        deadline = time.monotonic() + 30
        while store.newest() is None and time.monotonic() < deadline:
            time.sleep(0.2)
    name = store.newest()
    assert name is not None
    assert store.read(name).answers[0].status == 200


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00"])
def test_a_damaged_newest_snapshot_does_not_end_it(settings: Settings, content: bytes) -> None:
    store = SnapshotStore(settings.raw)
    now = datetime.now(UTC)
    first = store.add(Fetched(poll_time=now.replace(microsecond=0), fetched_at=now, answers=(), error="test")).name
    store.path(first).write_bytes(content)
    with standing_by(settings):
        deadline = time.monotonic() + 30
        while store.newest() == first and time.monotonic() < deadline:
            time.sleep(0.2)
    name = store.newest()
    assert name is not None
    assert name != first
    assert store.read(name).answers[0].status == 200


def test_it_leaves_the_polling_to_others_while_they_do_it(settings: Settings) -> None:
    store = SnapshotStore(settings.raw)
    with standing_by(settings):
        for _ in range(6):
            now = datetime.now(UTC)
            store.add(Fetched(poll_time=now.replace(microsecond=0), fetched_at=now, answers=(), error="test"))
            time.sleep(1.5)
    assert len(store.names_after(None)) == 6


def test_a_feed_of_recordings_is_never_polled(tmp_path: Path) -> None:
    recordings = Settings(home=tmp_path, feed=Feed("recordings", ""))
    for poll in (lambda: poll_once(recordings), lambda: stand_by(recordings, threading.Event())):
        with pytest.raises(NotPolledError, match="velib backfill FOLDER"):
            poll()
    assert not recordings.raw.exists(), "an answer of now would make every recording late"

"""The archive on a real broker: committed records only, exactly once under kill -9, refusals, following."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from velib_dagster.archive import source
from velib_dagster.archive.errors import ArchiveError, KafkaAwayError
from velib_dagster.archive.reader import committed_files, read_spells
from velib_dagster.archive.writer import Archived, archive_once, follow
from velib_dagster.events.records import encode
from velib_dagster.events.topics import admin, ensure_topics
from velib_dagster.runtime.kafka import broker
from velib_dagster.runtime.ports import with_ports
from velib_dagster.runtime.process import running
from velib_dagster.settings import Feed, Settings
from velib_dagster_tests.archive.broker import Sender
from velib_dagster_tests.archive.parts import many

pytestmark = pytest.mark.kafka

MakeFeed = Callable[..., Settings]


def contents(settings: Settings) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(settings.archive.glob("*.csv"))}


def beside(settings: Settings, name: str) -> Settings:
    """The same feed and broker with a home of its own."""
    other = replace(settings, home=settings.home.with_name(name))
    other.save()
    shutil.copytree(settings.home / "secrets", other.home / "secrets")
    return other


@pytest.fixture
def settings(kafka_settings: Settings, fresh_feed: MakeFeed) -> Settings:
    return fresh_feed(kafka_settings)


def test_before_the_first_topic_and_the_first_spell_there_is_nothing_to_archive(settings: Settings) -> None:
    assert archive_once(settings) == Archived(files=(), rows=0, next_offset=0, lag=0, through=None)
    ensure_topics(settings)
    assert archive_once(settings) == Archived(files=(), rows=0, next_offset=0, lag=0, through=None)
    with pytest.raises(ArchiveError, match="no finished spell yet: the first come with the second poll"):
        list(read_spells(settings.archive))


def test_only_committed_spells_are_archived_each_once(settings: Settings) -> None:
    sender = Sender(settings)
    spells = many(3000)
    sender.send(spells[:1000])
    sender.send(spells[:500], abort=True)
    progress: list[tuple[int, int]] = []
    first = archive_once(settings, on_progress=lambda done, of: progress.append((done, of)))
    assert first.rows == 1000
    assert progress[-1][0] == progress[-1][1] == first.next_offset
    sender.send_in_steps(spells[1000:], 50)
    second = archive_once(settings)
    assert (second.rows, second.lag) == (2000, 0)
    assert archive_once(settings).rows == 0
    assert list(read_spells(settings.archive)) == spells


def test_an_open_transaction_waits_and_holds_up_nothing_before_it(settings: Settings) -> None:
    sender = Sender(settings)
    spells = many(200)
    sender.send(spells[:100])
    open_sender = sender.producer
    open_sender.begin_transaction()
    for one in spells[100:]:
        open_sender.produce(settings.topic("spells"), encode(one))
    open_sender.flush(20)
    waiting = archive_once(settings)
    assert (waiting.rows, waiting.lag) == (100, 100)
    open_sender.commit_transaction(20)
    assert archive_once(settings).rows == 100
    assert list(read_spells(settings.archive)) == spells


PROGRAM = (
    "from velib_dagster.archive import writer\n"
    "from velib_dagster.settings import Settings\n"
    "settings = Settings.load()\n"
    "with writer.only_writer(settings.archive), writer.KafkaTopic(settings, 'spells') as topic:\n"
    "    print('begun', flush=True)\n"
    "    writer.archive_topic(settings.archive, topic, settings.feed.timezone, step_rows=1_500)\n"
)


def test_killed_at_random_moments_and_started_again_the_archive_is_byte_for_byte_the_undisturbed_one(
    settings: Settings,
) -> None:
    spells = many(60_000)
    Sender(settings).send_in_steps(spells, 5_000)
    undisturbed = beside(settings, "undisturbed")
    begun = time.monotonic()
    archive_once(undisturbed)
    whole = time.monotonic() - begun
    chance = random.Random(3)
    killed_midway = 0
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "VELIB_HOME": str(settings.home)},
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(chance.uniform(0, whole))
            child.kill()
        rows = sum(file.rows for file in committed_files(settings.archive))
        killed_midway += 0 < rows < len(spells)
    archive_once(settings)
    assert killed_midway > 0
    assert contents(settings) == contents(undisturbed)
    assert sum(file.rows for file in committed_files(settings.archive)) == len(spells)


def test_a_broker_killed_while_it_is_read_and_started_again_changes_no_byte(tmp_path: Path) -> None:
    settings = with_ports(Settings(home=tmp_path / "home", feed=Feed("killed", "")))
    settings.save()
    spells = many(150_000)  # more than the client fetches ahead
    with running(broker(settings), settings.home) as child, contextlib.ExitStack() as later:
        Sender(settings).send_in_steps(spells, 5_000)
        undisturbed = beside(settings, "undisturbed")
        archive_once(undisturbed)
        kills: list[int] = []

        def kill_once(done: int, of: int) -> None:
            if not kills and child.pid is not None:
                kills.append(child.pid)
                os.kill(child.pid, signal.SIGKILL)
                while child.status() is None:
                    time.sleep(0.05)
                later.enter_context(running(broker(settings), settings.home))

        archived = archive_once(settings, on_progress=kill_once)
    assert kills
    assert archived.rows == len(spells)
    assert contents(settings) == contents(undisturbed)


def test_following_gives_the_bytes_of_one_shot(settings: Settings) -> None:
    sender = Sender(settings)
    spells = many(2000)
    stop = threading.Event()
    seen: list[Archived] = []
    follower = threading.Thread(target=follow, args=(settings, stop, seen.append), kwargs={"every_seconds": 0.2})
    follower.start()
    try:
        for start in range(0, 2000, 100):
            sender.send(spells[start : start + 100])
        waited = time.monotonic()
        while sum(one.rows for one in seen) < 2000 and time.monotonic() - waited < 20:
            time.sleep(0.05)
    finally:
        stop.set()
        follower.join()
    assert len(seen) > 1
    one_shot = beside(settings, "one_shot")
    archive_once(one_shot)
    assert contents(settings) == contents(one_shot)


def test_spells_deleted_by_retention_before_they_were_archived_are_not_lost_silently(
    settings: Settings,
) -> None:
    sender = Sender(settings)
    spells = many(600)
    sender.send(spells[:200])
    at = archive_once(settings).next_offset
    sender.send_in_steps(spells[200:], 100)
    partition = TopicPartition(settings.topic("spells"), 0, at + 150)
    client = admin(settings)  # its futures end with it
    for future in client.delete_records([partition]).values():
        future.result(20)
    with pytest.raises(ArchiveError, match=rf"150 offsets of .* \({at} to {at + 149}\) were deleted"):
        archive_once(settings)
    assert len(list(read_spells(settings.archive))) == 200
    assert 200 < 200 + archive_once(settings, accept_missing=True).rows < 600
    assert archive_once(settings).rows == 0


def test_a_topic_made_anew_is_refused(settings: Settings) -> None:
    Sender(settings).send(many(10))
    archive_once(settings)
    client = admin(settings)  # its futures end with it
    for future in client.delete_topics([settings.topic("spells")]).values():
        future.result(20)
    time.sleep(0.5)
    with pytest.raises(ArchiveError, match=r"has no topic .*\.spells, from which .* was made"):
        archive_once(settings)
    ensure_topics(settings)
    with pytest.raises(ArchiveError, match=r"and Kafka now has .*offsets mean nothing there"):
        archive_once(settings)


def test_an_absent_kafka_is_said_with_its_address(tmp_path: Path, settings: Settings) -> None:
    nowhere = replace(settings, kafka_address="127.0.0.1:9")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "ANSWER_SECONDS", 1.0)
        with pytest.raises(KafkaAwayError, match=r"Kafka at 127\.0\.0\.1:9 does not answer.*velib up"):
            archive_once(nowhere)


def test_following_waits_for_an_absent_kafka_and_says_so_once(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "ANSWER_SECONDS", 0.3)
    stop = threading.Event()
    threading.Timer(1.5, stop.set).start()
    follow(replace(settings, kafka_address="127.0.0.1:9"), stop, every_seconds=0.1)
    assert [record.message for record in caplog.records if "does not answer" in record.message] == caplog.messages
    assert len(caplog.messages) == 1

"""Records that can't be read, in each of the three topics: the job goes on behind them, as the archive does."""

import subprocess
import sys

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from velib_dagster.archive.errors import ArchiveError
from velib_dagster.archive.reader import read_spells
from velib_dagster.archive.writer import archive_once
from velib_dagster.cli import app
from velib_dagster.events.topics import client_config
from velib_dagster.settings import Settings
from velib_dagster.store.connect import connect
from velib_dagster.store.reads import newest_polls, stations_now
from velib_dagster.streaming import job
from velib_dagster_tests.streaming.conftest import JOB, Sender, rows, run_until_idle
from velib_dagster_tests.streaming.make import START, poll, spells, state
from velib_dagster_tests.streaming.recount import assert_same_windows
from velib_dagster_tests.streaming.test_job import windows_frame

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.spark]


def write(settings: Settings, topic: str, value: bytes, headers: dict[str, bytes] | None = None) -> None:
    client = Producer({**client_config(settings), "acks": "all"})
    client.produce(settings.topic(topic), value, b"?", headers=headers or {})
    assert client.flush(20) == 0


def words_of_a_failure(settings: Settings) -> str:
    result = subprocess.run(
        [sys.executable, str(JOB), str(settings.home), "until-idle"],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode != 0
    return result.stderr


def test_a_damaged_archive_does_not_stop_what_is_live(feed: Settings, caplog: pytest.LogCaptureFixture) -> None:
    assert job._set_aside(feed) == frozenset()
    feed.archive.mkdir(parents=True, exist_ok=True)
    (feed.archive / "commit.json").write_text("{")
    assert job._set_aside(feed) == frozenset()
    assert "commit.json is damaged" in caplog.text


def test_the_job_passes_over_what_cannot_be_read_and_over_spells_once_the_archive_has_set_them_aside(
    feed: Settings, sender: Sender
) -> None:
    sent = spells(stations=10, minutes=40)
    first = [poll(START), poll(START.replace(minute=10))]
    sender.send(spells=sent[:80], states=[state("1", START)], polls=first[:1])
    for topic in ("states", "polls"):
        write(feed, topic, b'{"station_code": 5}')
    write(feed, "spells", b"{}")
    write(feed, "spells", b"\xffnot json")
    sender.send(spells=sent[80:], states=[state("2", START)], polls=first[1:])

    assert f"A record of {feed.topic('spells')} can't be read: the archive sets it aside" in words_of_a_failure(feed)
    assert archive_once(feed).unreadable == 2
    run_until_idle(feed)
    assert_same_windows(windows_frame(feed), sent)
    assert list(read_spells(feed.archive)) == sent
    with connect(feed) as connection:
        assert newest_polls(connection) == first[::-1]
        assert [found.station_code for found in stations_now(connection)] == ["1", "2"]
    listed = CliRunner().invoke(app, ["set-aside", "--home", str(feed.home)])
    assert listed.exit_code == 0, listed.output
    for topic, count in (("spells", 2), ("states", 1), ("polls", 1)):
        assert listed.stdout.count(f"{feed.topic(topic)}  offset ") == count, listed.stdout

    before = rows(feed, "SELECT count(*), sum(seconds) FROM windows")
    write(feed, "spells", b"{}", {"version": b"2"})
    with pytest.raises(ArchiveError, match="is of version 2"):
        archive_once(feed)
    assert "A newer program wrote a record" in words_of_a_failure(feed)
    assert rows(feed, "SELECT count(*), sum(seconds) FROM windows") == before

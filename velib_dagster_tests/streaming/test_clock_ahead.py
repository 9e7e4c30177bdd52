"""Polls of a clock that was ahead, through the whole chain: once it is right, every store is what it would be."""

import subprocess
import sys
from datetime import timedelta

import pytest

from velib_dagster.archive.reader import archived_through, read_spells
from velib_dagster.archive.writer import archive_once
from velib_dagster.events.producer import publish
from velib_dagster.feed.answers import Answer, Fetched
from velib_dagster.feed.reports import PollKind
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.settings import Settings
from velib_dagster_tests.events.test_producer import rows_of
from velib_dagster_tests.feed.machine import EIGHT, Machine
from velib_dagster_tests.streaming.conftest import JOB, rows, run_until_idle
from velib_dagster_tests.streaming.recount import assert_same_windows
from velib_dagster_tests.streaming.test_job import windows_frame

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.spark, pytest.mark.long]
MINUTES = 25


def run_again_until_idle(settings: Settings) -> None:
    """As the supervisor does: a job that ends since a clock was ahead is started again."""
    first = subprocess.run(
        [sys.executable, str(JOB), str(settings.home), "until-idle"],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert first.returncode == 0 or "a clock was ahead" in first.stderr, first.stderr[-3000:]
    run_until_idle(settings)


def keep(settings: Settings, since: int, jump: timedelta) -> None:
    """Polls of 25 minutes by a program that knew no other clock than the one that was ahead by `jump`."""
    store = SnapshotStore(settings.raw)
    for minute in range(since, since + MINUTES):
        moment = EIGHT + timedelta(minutes=minute) + jump
        answer = Answer(role="answer", url="http://feed", status=200, headers={}, body=rows_of(minute % 7))
        store.add(Fetched(poll_time=moment, fetched_at=moment, answers=(answer,)))


@pytest.mark.parametrize(
    ("jump", "watermark_too"),
    [(timedelta(days=1), False), (timedelta(days=3652), True)],
    ids=str,
)
def test_every_store_is_right_again(feed: Settings, jump: timedelta, watermark_too: bool) -> None:
    keep(feed, -2 * MINUTES, timedelta())
    if watermark_too:
        publish(feed)
        run_until_idle(feed)
    keep(feed, -MINUTES, jump)
    publish(feed)
    archive_once(feed)
    run_until_idle(feed)
    assert archived_through(feed.archive) > EIGHT + jump / 2
    if watermark_too:
        keep(feed, -2, jump)
        publish(feed)
        run_until_idle(feed)
        assert rows(feed, "SELECT max(watermark) FROM stream_progress")[0][0] > EIGHT + jump / 2

    machine = Machine.keeping(feed.raw)
    for minute in range(MINUTES):
        machine.poll(body=rows_of(minute % 5))
        machine.wait(minutes=1)
    assert publish(feed).kinds == {PollKind.USABLE: MINUTES}
    archive_once(feed)
    archive_once(feed)
    run_again_until_idle(feed)

    now = machine.time
    spells = list(read_spells(feed.archive))
    assert {spell.since for spell in spells if spell.since >= EIGHT}, "real spells came after"
    assert archived_through(feed.archive) <= now
    assert_same_windows(windows_frame(feed), spells)
    for newest in (
        "SELECT max(time) FROM polls",
        "SELECT max(since) FROM station_states",
        "SELECT max(window_end) FROM station_windows WHERE complete",
    ):
        assert EIGHT - timedelta(minutes=10) <= rows(feed, newest)[0][0] <= now, newest
    ((watermark,),) = rows(feed, "SELECT watermark FROM stream_progress WHERE query = 'windows'")
    assert watermark is None or watermark <= now, "it is that of the batch before"

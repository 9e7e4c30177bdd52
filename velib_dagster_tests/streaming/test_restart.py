"""The streaming job killed, cut off and started from nothing: the tables are those of an undisturbed run."""

import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from velib_dagster.settings import Settings
from velib_dagster.streaming.binding import FILE
from velib_dagster.streaming.job import CHECKPOINTS
from velib_dagster_tests.streaming.conftest import Sender, has_tables, rows, run_until_idle, running_job, wait_for
from velib_dagster_tests.streaming.make import START, poll, spells, state

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.spark]

TABLES = {
    "windows": "SELECT * FROM windows ORDER BY station_code, window_start, name, zone, cell",
    "station_states": "SELECT * FROM station_states ORDER BY station_code, since",
    "polls": "SELECT * FROM polls ORDER BY snapshot",
}


def tables(settings: Settings) -> dict[str, list[tuple[object, ...]]]:
    return {name: rows(settings, statement) for name, statement in TABLES.items()}


def send_in_parts(sender: Sender, first: int, last: int) -> None:
    """Ten-minute parts of one fixed stream: the same records whoever sends them."""
    sent = spells(stations=200, minutes=120)
    for part in range(first, last):
        begin, end = START + timedelta(minutes=10 * part), START + timedelta(minutes=10 * (part + 1))
        sender.send(
            spells=[spell for spell in sent if begin < spell.until <= end],
            states=[state(str(n), begin, bikes=part) for n in range(20)],
            left=[("19", end)] if part == 5 else (),
            polls=[poll(end)],
        )


@pytest.fixture
def undisturbed(services: Settings, fresh_feed: Callable[..., Settings]) -> dict[str, list[tuple[object, ...]]]:
    from velib_dagster.events.topics import ensure_topics

    settings = fresh_feed(services)
    ensure_topics(settings)
    send_in_parts(Sender(settings), 0, 12)
    run_until_idle(settings)
    return tables(settings)


def leave_half_planned(checkpoints: Path) -> None:
    """What Spark leaves when it is killed while it writes down its first batch; it refuses to begin beside it."""
    for query in CHECKPOINTS.values():
        for folder in ("offsets", "commits", "sources/0", "state/0/_metadata"):
            (checkpoints / query / folder).mkdir(parents=True)
        (checkpoints / query / "offsets" / f".0.{uuid.uuid4()}.tmp").write_text("v1\n")
        (checkpoints / query / "state" / "0" / "_metadata" / "metadata").write_text("v1\n")


def test_killed_in_the_middle_and_with_a_checkpoint_deleted_the_tables_are_the_same(
    feed: Settings, sender: Sender, undisturbed: dict[str, list[tuple[object, ...]]]
) -> None:
    assert len(undisturbed["windows"]) > 2300
    with running_job(feed) as process:
        send_in_parts(sender, 0, 4)
        wait_for(lambda: has_tables(feed) and rows(feed, "SELECT 1 FROM windows LIMIT 1"), 120)
        send_in_parts(sender, 4, 8)
        process.send_signal(signal.SIGKILL)
    with running_job(feed) as process:
        wait_for(lambda: rows(feed, "SELECT count(*) FROM polls")[0][0] not in {0, 1, 2, 3, 4}, 120)
        process.send_signal(signal.SIGKILL)
    shutil.rmtree(feed.checkpoints)
    leave_half_planned(feed.checkpoints)
    send_in_parts(sender, 8, 12)
    run_until_idle(feed)
    assert tables(feed) == undisturbed


def test_another_kafka_ends_the_job_with_words_and_a_status(feed: Settings) -> None:
    feed.checkpoints.mkdir(parents=True)
    (feed.checkpoints / FILE).write_text('{"cluster_id": "another", "topic_ids": {}, "database_made": ""}')
    script = Path(__file__).with_name("run_job.py")
    ended = subprocess.run(
        [sys.executable, str(script), str(feed.home)], check=False, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 1
    assert "StreamError: the checkpoints" in ended.stderr
    assert "delete the folder" in ended.stderr


def test_spark_submit_runs_the_thin_entry(feed: Settings, sender: Sender) -> None:
    from velib_dagster.runtime.java import java_home

    sender.send(spells=spells(2, 20), states=[state("1", START)], polls=[poll(START + timedelta(minutes=20))])
    folder = Path(sys.executable).parent
    entry = Path(__file__).parents[2] / "spark" / "streaming.py"
    ended = subprocess.run(
        [str(folder / "spark-submit"), str(entry), "--home", str(feed.home), "--until-idle"],
        check=False, capture_output=True, text=True, timeout=240,
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "JAVA_HOME": str(java_home())},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert rows(feed, "SELECT count(*) FROM station_windows WHERE complete") == [(4,)]
    assert rows(feed, "SELECT station_code FROM station_now") == [("1",)]

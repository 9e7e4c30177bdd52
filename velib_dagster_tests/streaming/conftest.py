"""A feed with topics of its own, a producer as transactional as the real one, and the job as a process."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from confluent_kafka import Producer

from velib_dagster.events.records import PollRecord, Spell, StationState, encode
from velib_dagster.events.topics import client_config, ensure_topics
from velib_dagster.settings import Settings
from velib_dagster.store.connect import connect

JOB = Path(__file__).with_name("run_job.py")


@pytest.fixture(autouse=True)
def few_rows(spark_of_small_data: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """For the jobs that a test starts as processes of their own; end_to_end runs them as a user does."""
    for name, value in spark_of_small_data.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def feed(services: Settings, fresh_feed: Callable[..., Settings]) -> Settings:
    settings = fresh_feed(services)
    ensure_topics(settings)
    return settings


class Sender:
    """Sends records in committed transactions, or leaves one open."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = Producer({**client_config(settings), "transactional.id": settings.feed.name, "linger.ms": 5})
        self._client.init_transactions()

    def send(
        self,
        *,
        spells: Sequence[Spell] = (),
        states: Sequence[StationState] = (),
        left: Sequence[tuple[str, datetime]] = (),
        polls: Sequence[PollRecord] = (),
        commit: bool = True,
    ) -> None:
        self._client.begin_transaction()
        for topic, key, value, headers in [
            *(("spells", spell.station_code, encode(spell), []) for spell in spells),
            *(("states", state.station_code, encode(state), []) for state in states),
            *(("states", code, None, [("at", at.isoformat().encode())]) for code, at in left),
            *(("polls", poll.snapshot, encode(poll), []) for poll in polls),
        ]:
            while True:
                try:
                    self._client.produce(self._settings.topic(topic), value, key, headers=headers)
                    break
                except BufferError:
                    self._client.poll(0.1)
        self._client.flush()
        if commit:
            self._client.commit_transaction()

    def abort(self) -> None:
        self._client.abort_transaction()


@pytest.fixture
def sender(feed: Settings) -> Sender:
    return Sender(feed)


def run_until_idle(settings: Settings, timeout: float = 300) -> str:
    """Run the job until it has written all; its words."""
    result = subprocess.run(
        [sys.executable, str(JOB), str(settings.home), "until-idle"],
        check=False, capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stderr


@contextmanager
def running_job(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """The job as a process that is killed at the end, if it still runs; its words go to `job.log` in the home."""
    with (settings.home / "job.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, str(JOB), str(settings.home)], stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], object], seconds: float = 60, *, what: str = "") -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what or condition} did not come true within {seconds:.0f} s"
        time.sleep(0.1)


def rows(settings: Settings, statement: str) -> list[tuple[object, ...]]:
    """What a query gives as the owner; nothing where a table is not there yet."""
    with connect(settings) as connection:
        return connection.execute(statement).fetchall()  # type: ignore[call-overload, no-any-return]


def has_tables(settings: Settings) -> bool:
    """Whether the job has made the database and its tables yet."""
    with connect(settings, database="postgres") as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (settings.database,)).fetchone()
    return bool(known) and rows(settings, "SELECT to_regclass('polls') IS NOT NULL") == [(True,)]

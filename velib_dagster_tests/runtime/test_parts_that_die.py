"""A part that dies while a command works: it is started again and waited for, or the command ends in words."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from velib_dagster.events.topics import KafkaError
from velib_dagster.runtime import backfill
from velib_dagster.runtime.services import looked_after_services
from velib_dagster.settings import Feed, Settings
from velib_dagster.store.connect import StoreUnreachableError, connect


def answers(settings: Settings) -> bool:
    try:
        with connect(settings) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except StoreUnreachableError:
        return False


@pytest.mark.platform
def test_a_part_that_dies_while_a_command_works_is_started_again(tmp_path: Path) -> None:
    console = Console(record=True, quiet=False, width=400)

    def task(settings: Settings) -> int:
        pid = json.loads((settings.home / "run" / "postgres.json").read_bytes())["pid"]
        os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 120
        while not answers(settings):
            assert time.monotonic() < until
            time.sleep(0.2)
        return pid

    settings = Settings(home=tmp_path / "home", feed=Feed("dies", ""))
    with looked_after_services(settings, ("postgres",), console) as (running, look_after):
        assert look_after(lambda: task(running))
    assert "PostgreSQL ended by itself (status -9); starting it again in 1 s" in console.export_text()


class Clock:
    """Stands for the clock of the module: sleeping takes no time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(backfill, "time", found)
    return found


@pytest.fixture
def progress() -> Progress:
    return Progress(console=Console(quiet=True))


def patiently(settings: Settings, progress: Progress, task: object) -> object:
    return backfill._patiently(settings, "kafka", progress, task)  # type: ignore[arg-type]


def test_what_is_away_and_started_again_is_waited_for(
    tmp_path: Path, clock: Clock, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "is_running", lambda *_: clock.now > 3)
    tries: list[float] = []

    def task() -> str:
        tries.append(clock.now)
        if clock.now < 90:
            clock.now += 10
            raise KafkaError("Kafka is away")
        return "done"

    assert patiently(Settings(tmp_path, Feed("away", "")), progress, task) == "done"
    assert len(tries) > 5


def test_what_nobody_starts_again_ends_the_command_within_15_seconds(
    tmp_path: Path, clock: Clock, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "is_running", lambda *_: False)

    def task() -> None:
        clock.now += 10  # the longest that a commit waits
        raise KafkaError("Kafka is away")

    with pytest.raises(KafkaError, match="Kafka is away"):
        patiently(Settings(tmp_path, Feed("away", "")), progress, task)
    assert clock.now <= 15


def test_what_runs_and_does_not_answer_for_two_minutes_ends_the_command(
    tmp_path: Path, clock: Clock, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "is_running", lambda *_: True)

    def task() -> None:
        clock.now += 20
        raise KafkaError("Kafka is away")

    with pytest.raises(KafkaError, match="Kafka is away"):
        patiently(Settings(tmp_path, Feed("away", "")), progress, task)
    assert 120 < clock.now < 180

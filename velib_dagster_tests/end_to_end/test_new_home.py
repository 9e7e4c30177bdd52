"""A new simulated home, as `make run` starts it: in ten minutes every asset is there by itself, and no tick is red."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from velib_dagster.events.memory import newest_poll
from velib_dagster.feed.client import FeedClient
from velib_dagster.feed.clocks import boot_clock
from velib_dagster.feed.poll import poll_once
from velib_dagster.orchestration.materialized import of_instance
from velib_dagster.runtime import dagster_services
from velib_dagster.settings import Settings
from velib_dagster.simulator.network import Network
from velib_dagster.simulator.server import SimulatorServer
from velib_dagster_tests.end_to_end.conftest import START_SECONDS, processes_of

pytestmark = [pytest.mark.long, pytest.mark.platform]
TEN_MINUTES = 600
LOOK_EVERY = 30
DAY = timedelta(days=1)
OFTEN = ("raw_snapshots", "station_events", "csv_archive", "station_forecasts", "live_station_windows")
"""What is materialized every ten minutes or more often."""


@pytest.fixture(scope="module")
def new_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that the module's tests start one after the other."""
    return tmp_path_factory.mktemp("new") / "home"


@contextmanager
def up(home: Path, **environment: str) -> Iterator[None]:
    """`velib up` on the simulated feed from "everything is up" until Ctrl-C."""
    said = home.parent / "said.txt"
    with said.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "velib_dagster.cli", "up", "--feed", "simulated", "--home", str(home)],
            env={**os.environ, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 2 * START_SECONDS
        while "everything is up" not in said.read_text():
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(1)
        yield
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, said.read_text()
    finally:
        process.kill()
        for left in processes_of(home):
            left.kill()


def assets(home: Path) -> "subprocess.CompletedProcess[str]":
    """What `velib status --assets` prints: its exit status is 0 once every asset is there and no tick failed."""
    return subprocess.run(
        [sys.executable, "-m", "velib_dagster.cli", "status", "--assets", "--home", str(home)],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def all_there_within(home: Path, seconds: float) -> str:
    """What was printed once all were there.

    Raises:
        AssertionError: they were not in time; carries what was printed last.
    """
    deadline = time.monotonic() + seconds
    while (shown := assets(home)).returncode != 0:
        assert time.monotonic() < deadline, shown.stdout + shown.stderr
        time.sleep(LOOK_EVERY)
    return shown.stdout


def poll_a_day_ahead(home: Path) -> None:
    """One poll of this home whose feed and local clock are both a day ahead; the boot clock is as it is."""
    settings = Settings.load(home)
    with SimulatorServer(Network.generate(20), clock=lambda: time.time() + DAY.total_seconds()) as server:
        feed = replace(settings.feed, url=server.url)
        client = FeedClient(feed, now=lambda: datetime.now(UTC) + DAY, boot=boot_clock)
        snapshot = poll_once(settings, client=client)
    assert snapshot.fetched_at > datetime.now(UTC) + DAY / 2


def demand_all_by_itself(shown: str) -> None:
    print(shown)
    assert "never" not in shown
    assert "a person" not in shown
    for name in ("station_stats", "station_forecasts", "full_station_model", "storage", "live_zone_windows"):
        assert name in shown


def test_a_new_home_has_everything_within_ten_minutes(new_home: Path) -> None:
    with up(new_home):
        shown = all_there_within(new_home, TEN_MINUTES)
    demand_all_by_itself(shown)


def test_one_started_just_after_midnight_has_too(tmp_path: Path) -> None:
    """Its day has hardly begun: in the feed's time zone it is between 0 and 1 o'clock."""
    zone = next(
        f"Etc/GMT{hours:+d}" for hours in range(-14, 13) if (datetime.now(UTC) - timedelta(hours=hours)).hour == 0
    )
    with up(tmp_path / "home", VELIB_TIMEZONE=zone):
        shown = all_there_within(tmp_path / "home", TEN_MINUTES)
    demand_all_by_itself(shown)


@pytest.mark.parametrize("ahead", [False, True], ids=["after-a-new-start", "after-a-poll-a-day-ahead"])
def test_ten_minutes_later_all_goes_on(new_home: Path, ahead: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due every minute, five minutes or ten is there anew, and still no tick is red."""
    with up(new_home):
        since = datetime.now(UTC)
        if ahead:
            poll_a_day_ahead(new_home)
        time.sleep(TEN_MINUTES)
        shown = assets(new_home)
        print(shown.stdout)
        assert shown.returncode == 0, shown.stdout + shown.stderr
        settings = Settings.load(new_home)
        for name, value in dagster_services.environment(settings).items():
            monkeypatch.setenv(name, value)
        found, _ = of_instance(settings)
        newest = {one.asset: one.at for one in found if one.at is not None}
        assert [name for name in OFTEN if newest[name] < since] == []
        last = newest_poll(settings)
        assert last is not None
        assert since < last.time < datetime.now(UTC)

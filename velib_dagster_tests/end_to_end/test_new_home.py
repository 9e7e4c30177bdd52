"""A new simulated home, as `make run` starts it: in ten minutes every asset is there by itself, and no tick is red."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from velib_dagster_tests.end_to_end.conftest import START_SECONDS, processes_of

pytestmark = [pytest.mark.long, pytest.mark.platform]
TEN_MINUTES = 600
LOOK_EVERY = 30


@contextmanager
def up(home: Path) -> Iterator[None]:
    """`velib up` on the simulated feed from "everything is up" until Ctrl-C."""
    said = home.parent / "said.txt"
    with said.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "velib_dagster.cli", "up", "--feed", "simulated", "--home", str(home)],
            env=dict(os.environ),
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


def test_a_new_home_has_everything_within_ten_minutes_and_after_a_new_start_too(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for start in ("new", "again"):
        with up(home):
            shown = all_there_within(home, TEN_MINUTES)
            print(f"--- {start}\n{shown}")
            assert "never" not in shown
            assert "a person" not in shown
            for name in ("station_stats", "station_forecasts", "full_station_model", "storage", "live_zone_windows"):
                assert name in shown

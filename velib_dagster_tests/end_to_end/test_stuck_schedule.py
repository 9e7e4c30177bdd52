"""A code server that stands still in a tick: the minutes are kept, the health check tells, and it goes on by itself."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.runtime import health
from velib_dagster.settings import Settings
from velib_dagster_tests.end_to_end.conftest import velib
from velib_dagster_tests.end_to_end.test_new_home import up

pytestmark = [pytest.mark.long, pytest.mark.platform]
PAUSE_SECONDS = 600


def words(home: Path) -> str:
    """What `velib health dagster_daemon` complains of."""
    return velib(home, "health", "dagster_daemon").stderr


def test_no_minute_is_lost_the_health_check_tells_and_the_schedule_goes_on(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with up(home):
        settings = Settings.load(home)
        while words(home):
            time.sleep(5)
        pid = json.loads((home / "run" / "dagster_code.json").read_bytes())["pid"]
        before = SnapshotStore(settings.raw).newest()
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(PAUSE_SECONDS)
            told = words(home)
            kept = SnapshotStore(settings.raw).names_after(before)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert "that Dagster has not looked at: " in told
        assert "every_minute for " in told
        assert len(kept) >= PAUSE_SECONDS / 60 - 2
        deadline = time.monotonic() + health.LATE_TICKS_SECONDS
        while words(home):
            assert time.monotonic() < deadline, words(home)
            time.sleep(5)

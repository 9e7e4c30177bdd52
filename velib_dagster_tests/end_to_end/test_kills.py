"""Fifty seeded kills, half of them of the broker, amid backfills: every store is that of an undisturbed run.

`make test-long` runs it; one home alone: `make test-long PYTEST_ARGS="-k kills-and-seed-3"`.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from velib_dagster.archive.doubled import doubled_rows
from velib_dagster.settings import Settings
from velib_dagster.simulator.days import write_days
from velib_dagster_tests.end_to_end.test_backfill import backfill, csv_files, finish, part, snapshots, tables

pytestmark = [pytest.mark.platform, pytest.mark.long]

HOMES = 5
KILLS = 10
"""A home; half of them of the broker."""
PARTS = 6
POLLS = 54
"""A part: each backfill sends one part more than the one before, is disturbed some times, and finished."""
OTHERS = ("command", "command", "streaming", "postgres", "command")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders of answers of a small simulated network, each with what the one before has and some hours more."""
    folder = tmp_path_factory.mktemp("answers")
    write_days(folder, days=2, every_seconds=300, stations=60, end=datetime(2026, 3, 3, tzinfo=UTC))
    answers = sorted(path for path in folder.rglob("*") if path.is_file())
    found = []
    for number in range(PARTS):
        target = tmp_path_factory.mktemp(f"part-{number}")
        for path in answers[: POLLS * (number + 1)]:
            os.link(path, target / path.name)
        found.append(target)
    return found


@pytest.fixture(scope="module")
def undisturbed(parts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict]:
    home = tmp_path_factory.mktemp("undisturbed")
    for folder in parts:
        finish(backfill(folder, home, "--no-statistics"))
    return csv_files(home), tables(home)


def until(condition: Callable[[], object], run: subprocess.Popen, seconds: float = 240) -> bool:
    """Wait for the condition; False where the backfill ended before."""
    deadline = time.monotonic() + seconds
    while not condition():
        if run.poll() is not None:
            return False
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return run.poll() is None


def is_up(home: Path, name: str, before: int) -> bool:
    """Whether a part that was killed was started again and, the broker, answers."""
    try:
        if part(home, name) == before:
            return False
    except (OSError, ValueError):
        return False
    return name != "kafka" or broker_answers(home)


def broker_answers(home: Path) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", Settings.load(home).port("kafka"))) == 0


def kill(target: str, home: Path, run: subprocess.Popen) -> bool:
    """Kill it, and wait until it is back; whether the same backfill goes on."""
    if target == "command":
        children = psutil.Process(run.pid).children(True)
        run.kill()
        run.wait()
        psutil.wait_procs(children, timeout=60)
        return False
    pid = part(home, target)
    for process in [psutil.Process(pid), *psutil.Process(pid).children(True)]:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    return until(lambda: is_up(home, target, pid), run)


@pytest.mark.parametrize("seed", range(HOMES), ids=lambda seed: f"kills-and-seed-{seed}")
def test_killed_ten_times_in_the_middle_every_store_is_that_of_an_undisturbed_run(
    seed: int, parts: list[Path], undisturbed: tuple[dict, dict], tmp_path: Path
) -> None:
    chance = random.Random(seed)
    targets = [*["kafka"] * (KILLS // 2), *OTHERS]
    chance.shuffle(targets)
    left = deque(targets)
    home = tmp_path / "home"
    for number, folder in enumerate(parts):
        run = backfill(folder, home, "--no-statistics")
        at = POLLS * number + chance.randrange(2, POLLS - 20)
        goes_on = until(lambda at=at: snapshots(home) >= at, run)
        # what is left is spread over the parts to come; the last one is for kills that found a backfill done
        for _ in range(-(-len(left) // max(1, PARTS - 1 - number))):
            if not goes_on:  # it was killed itself: what comes next disturbs the one that finishes its work
                run.communicate(timeout=600)
                if run.returncode == 0:  # no, it was done
                    break
                run = backfill(folder, home, "--no-statistics")
                goes_on = until(lambda: broker_answers(home), run)
            time.sleep(chance.uniform(0, 0.8))
            if run.poll() is not None or not left:
                break
            goes_on = kill(left.popleft(), home, run)
        words, _ = run.communicate(timeout=600)
        for _ in range(2):
            if run.returncode == 0:
                break
            run = backfill(folder, home, "--no-statistics")
            words, _ = run.communicate(timeout=600)
        assert run.returncode == 0, words
    assert not left, "every kill found a backfill to disturb"
    files, rows = undisturbed
    assert csv_files(home) == files
    assert list(doubled_rows(home / "archive")) == []
    found = tables(home)
    for table, expected in rows.items():
        assert found[table] == expected, f"{table} differs"
    shutil.rmtree(home)

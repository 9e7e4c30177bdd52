"""The recorded days through the whole chain, by the command, with everything real: broker, Spark, PostgreSQL, CSV."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import duckdb
import psutil
import pytest

from velib_dagster.archive.reader import read_spells
from velib_dagster.events.memory import committed_messages, committed_reader
from velib_dagster.events.records import decode_poll
from velib_dagster.feed.decode import decode_snapshot
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.runtime.services import services
from velib_dagster.settings import Settings
from velib_dagster.store.connect import connect
from velib_dagster_tests.end_to_end.conftest import velib

pytestmark = pytest.mark.platform
HOLD = timedelta(seconds=660)


def backfill(folder: Path, home: Path, *options: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "velib_dagster.cli", "backfill", str(folder), "--home", str(home), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "VELIB_FEED": "recordings"},
    )


def finish(run: subprocess.Popen) -> str:
    words, _ = run.communicate(timeout=600)
    assert run.returncode == 0, words
    return words


def csv_files(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((home / "archive").glob("*.csv"))}


def tables(home: Path) -> dict[str, list[tuple]]:
    with services(Settings.load(home), ("postgres",)) as settings, connect(settings) as connection:
        return {
            "windows": connection.execute(
                "SELECT * FROM windows ORDER BY station_code, window_start, name, zone, cell"
            ).fetchall(),
            "polls": connection.execute("SELECT * FROM polls ORDER BY snapshot").fetchall(),
            "station_states": connection.execute(
                "SELECT * FROM station_states ORDER BY station_code, since"
            ).fetchall(),
        }


@pytest.fixture(scope="module")
def recordings(shared_data: Path) -> Path:
    return shared_data / "feed-recordings"


@pytest.fixture(scope="module")
def three_days(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those with a null batch in them, and one more; days are missing between them."""
    folder = tmp_path_factory.mktemp("three-days")
    for day in ("20241101", "20241102", "20241106"):
        shutil.copy(recordings / f"explore-v2.1-export-{day}.tar.xz", folder)
    return folder


@pytest.fixture(scope="module")
def whole(three_days: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of an undisturbed backfill of recorded days."""
    home = tmp_path_factory.mktemp("whole")
    assert "160 usable" in finish(backfill(three_days, home, "--no-statistics"))
    return home


def test_every_answer_has_its_poll_record_with_the_right_kind(whole: Path) -> None:
    with services(Settings.load(whole), ("kafka",)) as settings, committed_reader(settings) as consumer:
        polls = {}
        for message in committed_messages(consumer, settings, settings.topic("polls"), 0):
            record = decode_poll(message.value())
            polls[record.snapshot] = record
    kinds = [record.kind for record in polls.values()]
    assert len(polls) == 162
    assert (kinds.count("usable"), kinds.count("null_stationcode")) == (160, 2)


def test_known_seconds_are_those_between_usable_polls_and_spells_neither_overlap_nor_leave_a_hole(whole: Path) -> None:
    store = SnapshotStore(whole / "raw")
    seen: dict[str, list] = {}
    last = None
    for name in store.names_after(None):
        snapshot = store.read(name)
        decoded = decode_snapshot(snapshot)
        if decoded.failure is None:
            last = snapshot.poll_time
            for report in decoded.reports:
                seen.setdefault(report.station_code, []).append(snapshot.poll_time)
    expected = {
        code: sum((min(b - a, HOLD) for a, b in pairwise([*times, last])), timedelta()).total_seconds()
        for code, times in seen.items()
    }
    found: dict[str, int] = {}
    until: dict[str, object] = {}
    held: dict[str, set] = {code: set(times) for code, times in seen.items()}
    for spell in read_spells(whole / "archive"):
        code = spell.station_code
        found[code] = found.get(code, 0) + spell.seconds
        if code in until and until[code] != spell.since:
            assert until[code] < spell.since, f"{code}: spells overlap at {spell.since}"
            assert spell.since in held[code], f"{code}: a spell starts after a hole at {spell.since}, without a poll"
        until[code] = spell.until
    assert found == expected


def test_windows_in_postgresql_equal_a_recount_from_the_csv(whole: Path) -> None:
    duck = duckdb.connect()
    duck.execute("SET TimeZone = 'UTC'")
    service = "(is_installed AND is_renting AND is_returning)"
    for grain, key in (("station", "station_code"), ("zone", "zone"), ("cell", "cell")):
        recount = duck.execute(
            f"""SELECT {key}::VARCHAR, time_bucket(INTERVAL '10 minutes', since) AS start, sum(seconds),
            sum(seconds) FILTER ({service}), sum(seconds * bikes) FILTER ({service}) / sum(seconds) FILTER ({service}),
            sum(seconds * docks) FILTER ({service}) / sum(seconds) FILTER ({service}),
            sum(seconds * bikes / capacity) FILTER ({service} AND capacity > 0)
              / sum(seconds) FILTER ({service} AND capacity > 0),
            coalesce(sum(seconds) FILTER ({service} AND docks = 0), 0) / sum(seconds) FILTER ({service})
            FROM read_csv('{whole}/archive/*.csv', types={{'station_code': 'VARCHAR', 'since': 'TIMESTAMPTZ'}})
            GROUP BY ALL ORDER BY ALL"""
        ).fetchall()
        with services(Settings.load(whole), ("postgres",)) as settings, connect(settings) as connection:
            stored = connection.execute(
                f"SELECT {key}, window_start, seconds, nullif(seconds_in_service, 0), bikes_mean, docks_mean,"
                f" occupancy_mean, full_share FROM {grain}_windows"
            ).fetchall()
        stored.sort(key=lambda row: (row[0], row[1]))
        recount.sort(key=lambda row: (row[0], row[1]))
        assert len(stored) == len(recount) > 0
        for mine, theirs in zip(stored, recount, strict=True):
            assert mine[:4] == theirs[:4]
            for a, b in zip(mine[4:], theirs[4:], strict=True):
                assert (a is None and b is None) or abs(a - b) < 1e-9, (mine, theirs)


def test_all_windows_up_to_the_last_poll_are_complete(whole: Path) -> None:
    with services(Settings.load(whole), ("postgres",)) as settings, connect(settings) as connection:
        open_windows = connection.execute(
            "SELECT DISTINCT window_start FROM station_windows WHERE NOT complete"
        ).fetchall()
        newest = connection.execute("SELECT max(window_start) FROM station_windows").fetchone()
    assert open_windows in ([], [newest])


def test_a_second_backfill_says_nothing_new_and_leaves_every_byte(whole: Path, three_days: Path) -> None:
    before = csv_files(whole)
    assert "nothing new" in finish(backfill(three_days, whole, "--no-statistics"))
    assert csv_files(whole) == before


def test_a_backfill_ends_with_the_statistics_and_older_recordings_are_refused_by_number(
    recordings: Path, spark_of_small_data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in spark_of_small_data.items():
        monkeypatch.setenv(name, value)
    newer = tmp_path / "newer"
    newer.mkdir()
    shutil.copy(recordings / "explore-v2.1-export-20241101.tar.xz", newer)
    home = tmp_path / "home"
    words = finish(backfill(newer, home))
    assert "statistics of 1 days are in PostgreSQL" in words
    assert "WARN" not in words, "Spark's own words reached the terminal"
    shown = velib(home, "stats", "zones", "--top", "3")
    assert shown.returncode == 0, shown.stderr
    assert "Paris" in shown.stdout, "a stopped platform shows what it holds"
    older = tmp_path / "older"
    older.mkdir()
    shutil.copy(recordings / "explore-v2.1-export-20241031.tar.xz", older)
    run = backfill(older, home, "--no-statistics")
    words, _ = run.communicate(timeout=300)
    assert run.returncode == 3
    assert "4 recordings are older" in words


@pytest.fixture(scope="module")
def one_day(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some hours of it: enough for each part to be disturbed in the middle."""
    folder = tmp_path_factory.mktemp("one-day")
    with tarfile.open(recordings / "explore-v2.1-export-20241106.tar.xz") as archive:
        for member in sorted(archive.getmembers(), key=lambda one: one.name)[:40]:
            archive.extract(member, folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def undisturbed(one_day: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict]:
    home = tmp_path_factory.mktemp("undisturbed")
    finish(backfill(one_day, home, "--no-statistics"))
    return csv_files(home), tables(home)


def snapshots(home: Path) -> int:
    return sum(1 for _ in (home / "raw").rglob("*.json"))


def commits(home: Path) -> int:
    """Batches of window sums that the streaming job has completed since its checkpoint was made."""
    return sum(1 for _ in (home / "checkpoints" / "windows_once" / "commits").glob("[0-9]*"))


def part(home: Path, name: str) -> int:
    return json.loads((home / "run" / f"{name}.json").read_bytes())["pid"]


def until(condition: Callable[[], bool], run: subprocess.Popen, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert run.poll() is None, "the backfill ended before it was disturbed"
        assert time.monotonic() < deadline
        time.sleep(0.01)


Disturbance = Callable[[Path, subprocess.Popen], None]


def producer_killed(home: Path, run: subprocess.Popen) -> None:
    before = snapshots(home)
    until(lambda: snapshots(home) >= before + 20, run)
    run.kill()


def broker_killed(home: Path, run: subprocess.Popen) -> None:
    before = snapshots(home)
    until(lambda: snapshots(home) >= before + 20, run)
    os.kill(part(home, "kafka"), signal.SIGKILL)


def checkpoint_deleted(home: Path, run: subprocess.Popen) -> None:
    before = commits(home)
    until(lambda: commits(home) > before, run)
    job = psutil.Process(part(home, "streaming"))
    run.kill()
    run.wait()
    job.wait(60)
    shutil.rmtree(home / "checkpoints")


def streaming_and_postgres_killed(home: Path, run: subprocess.Popen) -> None:
    until((home / "checkpoints" / "windows_once" / "offsets" / "0").exists, run)
    job = psutil.Process(part(home, "streaming"))
    for process in [job, *job.children(True)]:
        with suppress(psutil.NoSuchProcess):  # of Hadoop's short-lived helpers
            process.kill()
    os.kill(part(home, "postgres"), signal.SIGKILL)


@pytest.mark.parametrize(
    "in_turn",
    [
        pytest.param((producer_killed, broker_killed), id="producer_and_broker_killed"),
        # test_restart.py holds the same for the streaming job alone, in a third of the time
        pytest.param(
            (checkpoint_deleted, streaming_and_postgres_killed),
            id="checkpoint_deleted-streaming_and_postgres_killed",
            marks=pytest.mark.long,
        ),
    ],
)
def test_after_disturbances_and_another_run_everything_is_as_if_undisturbed(
    in_turn: tuple[Disturbance, ...], one_day: Path, undisturbed: tuple[dict, dict], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    for disturb in in_turn:
        run = backfill(one_day, home, "--no-statistics")
        disturb(home, run)
        run.communicate(timeout=300)
    finish(backfill(one_day, home, "--no-statistics"))
    files, rows = undisturbed
    assert csv_files(home) == files
    found = tables(home)
    for table, expected in rows.items():
        assert found[table] == expected, f"{table} differs"

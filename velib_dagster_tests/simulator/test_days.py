"""What `write_days` must leave in its folder."""

import gzip
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from velib_dagster.simulator import Network, Simulation, write_days
from velib_dagster.simulator.answers import explore_rows

END = datetime(2026, 11, 24, 12, 3, 20, tzinfo=UTC)


def test_a_day_has_a_recording_for_each_step_up_to_the_end_floored(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    written = write_days(
        tmp_path / "new" / "folder",
        days=1,
        every_seconds=600,
        stations=30,
        seed=1,
        end=END,
        on_progress=lambda done, total: steps.append((done, total)),
    )
    names = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    last = datetime(2026, 11, 24, 12, tzinfo=UTC)
    moments = [last - timedelta(minutes=10 * i) for i in range(144)]
    assert written == 144
    assert names == sorted(moment.strftime("%Y%m%dT%H%M%SZ.json.gz") for moment in moments)
    assert steps == [(done, 144) for done in range(1, 145)]


def test_a_recording_is_what_the_server_would_have_answered_then(tmp_path: Path) -> None:
    write_days(tmp_path, days=1, every_seconds=43_200, stations=30, seed=2, end=END)
    simulation = Simulation(Network.generate(30, 2))
    for path in tmp_path.iterdir():
        moment = datetime.strptime(path.name, "%Y%m%dT%H%M%SZ.json.gz").replace(tzinfo=UTC)
        counts = simulation.at(int(moment.timestamp()))
        assert json.loads(gzip.decompress(path.read_bytes())) == explore_rows(simulation.network, counts)


def test_the_same_call_writes_the_same_bytes_again(tmp_path: Path) -> None:
    for folder in ("a", "b", "b"):
        write_days(tmp_path / folder, days=1, every_seconds=21_600, stations=25, seed=3, end=END)
    first, second = ({path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()} for folder in ("a", "b"))
    assert first == second
    assert len(first) == 4


def test_an_end_without_time_zone_or_an_impossible_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="time zone"):
        write_days(tmp_path, days=1, end=END.replace(tzinfo=None))
    with pytest.raises(ValueError, match="days=0"):
        write_days(tmp_path, days=0)
    with pytest.raises(ValueError, match="every_seconds=0"):
        write_days(tmp_path, days=1, every_seconds=0)
    assert list(tmp_path.iterdir()) == []


def test_two_days_of_the_usual_network_are_written_within_seconds(tmp_path: Path) -> None:
    began = time.process_time()
    assert write_days(tmp_path, days=2, end=END) == 576
    assert time.process_time() - began < 15

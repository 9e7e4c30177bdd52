"""Which recordings of a folder a backfill takes, and that there is one backfill at a time."""

import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from velib_dagster.feed.recordings import Recording
from velib_dagster.locks import hold
from velib_dagster.runtime.backfill import BackfillError, backfill_recordings, plan
from velib_dagster.settings import Feed, Settings

START = datetime(2024, 11, 7, 8, 0, tzinfo=UTC)


def recordings(*minutes: int) -> list[Recording]:
    return [Recording(START + timedelta(minutes=m), f"answer {n}", {}) for n, m in enumerate(minutes)]


def stored(*minutes: int) -> Counter[datetime]:
    return Counter(START + timedelta(minutes=m) for m in minutes)


def test_all_are_new_in_an_empty_home() -> None:
    found = plan(recordings(0, 5, 10), stored())
    assert (len(found.new), len(found.late)) == (3, 0)


def test_those_that_are_stored_are_left_out() -> None:
    found = plan(recordings(0, 5, 10), stored(0, 5))
    assert [r.time.minute for r in found.new] == [10]


def test_the_same_date_twice_is_two_recordings_also_after_a_stop_between_them() -> None:
    found = plan(recordings(0, 5, 5), stored(0, 5))
    assert [r.time.minute for r in found.new] == [5]
    assert found.late == ()


def test_what_is_older_than_the_newest_and_not_stored_is_late() -> None:
    found = plan(recordings(0, 5, 10), stored(5))
    assert [r.time.minute for r in found.late] == [0]
    assert [r.time.minute for r in found.new] == [10]


def test_a_second_backfill_of_a_home_is_refused_and_names_the_first(tmp_path: Path) -> None:
    (tmp_path / "velib_data_20241107_084501.json").write_bytes(b"[]")
    settings = Settings(home=tmp_path / "home", feed=Feed("recordings", ""))
    with hold(settings.home / "run" / "backfill.lock"), pytest.raises(BackfillError, match=f"process {os.getpid()}"):
        backfill_recordings(settings, tmp_path, Console(quiet=True))

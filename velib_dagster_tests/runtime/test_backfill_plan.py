"""Which recordings of a folder a backfill takes."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from velib_dagster.feed.recordings import Recording
from velib_dagster.runtime.backfill import plan

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

"""Which days' statistics are due, by what is archived and what is computed."""

from datetime import UTC, date, datetime, timedelta

import pytest

from velib_dagster.statistics.due_days import Computed, Doubt, due_days, newest_stretch

TODAY = date(2026, 3, 3)
YESTERDAY = date(2026, 3, 2)
NOW = datetime(2026, 3, 3, 12, tzinfo=UTC)
ASSETS = ("station_stats", "zone_stats")


def computed(day: date, length: int, minutes_ago: float, assets: tuple[str, ...] = ASSETS) -> list[Computed]:
    return [Computed(asset, day, length, NOW - timedelta(minutes=minutes_ago)) for asset in assets]


def due(archived: dict[date, int], *rows: list[Computed]) -> list[date]:
    return due_days(archived, [row for some in rows for row in some], ASSETS, NOW, TODAY)


def doubt(day: date, minutes_ago: float, tries: int = 1, length: int = 10, program: str = "one") -> Doubt:
    return Doubt(day, NOW - timedelta(minutes=minutes_ago), tries, length, program)


def due_with(doubted: Doubt, length: int = 10, program: str = "one") -> bool:
    """Whether a day that was never computed is due, since it is in doubt."""
    return bool(due_days({doubted.day: length}, [], ASSETS, NOW, TODAY, [doubted], program))


@pytest.mark.parametrize(("tries", "hours"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 24), (7, 24), (5000, 24)])
def test_a_day_in_doubt_is_tried_again_after_an_hour_doubling_to_a_day(tries: int, hours: int) -> None:
    assert not due_with(doubt(YESTERDAY, 60 * hours - 1, tries))
    assert due_with(doubt(YESTERDAY, 60 * hours, tries))


def test_a_day_in_doubt_is_tried_at_once_when_its_file_grows_or_the_program_changes() -> None:
    assert not due_with(doubt(YESTERDAY, 1, tries=6))
    assert due_with(doubt(YESTERDAY, 1, tries=6), length=11)
    assert due_with(doubt(YESTERDAY, 1, tries=6), program="two")


def test_today_in_doubt_is_not_tried_at_each_row_that_comes_in() -> None:
    assert not due_with(doubt(TODAY, 5), length=11)
    assert due_with(doubt(TODAY, 56), length=11)


def test_a_try_by_a_clock_that_was_ahead_holds_no_day_back() -> None:
    assert due_with(doubt(YESTERDAY, minutes_ago=-60 * 24 * 365))


def test_a_day_in_doubt_holds_no_other_back() -> None:
    rows = {TODAY: 5, YESTERDAY: 10}
    assert due_days(rows, [], ASSETS, NOW, TODAY, [doubt(YESTERDAY, 1)], "one") == [TODAY]


def test_the_newest_days_in_a_row_are_a_stretch_of_a_week_at_most() -> None:
    days = [TODAY - timedelta(days=number) for number in range(9)]
    assert newest_stretch(days, {}) == days[6::-1]
    assert newest_stretch([days[0], days[2], days[3]], {}) == [days[0]]
    assert newest_stretch(days[:3], dict.fromkeys(days, 200_000)) == [days[1], days[0]]
    assert newest_stretch(days[:3], dict.fromkeys(days, 2_000_000)) == [days[0]]


def test_days_never_computed_are_due_newest_first() -> None:
    assert due({YESTERDAY: 10, TODAY: 5}) == [TODAY, YESTERDAY]


def test_a_day_whose_file_has_not_grown_is_not_due() -> None:
    assert due({YESTERDAY: 10}, computed(YESTERDAY, 10, minutes_ago=3000)) == []


def test_a_day_that_ended_or_got_late_rows_is_due_once_more() -> None:
    assert due({YESTERDAY: 11}, computed(YESTERDAY, 10, minutes_ago=1)) == [YESTERDAY]


def test_today_is_due_once_an_hour() -> None:
    assert due({TODAY: 11}, computed(TODAY, 10, minutes_ago=50)) == []
    assert due({TODAY: 11}, computed(TODAY, 10, minutes_ago=56)) == [TODAY]
    assert due({TODAY: 10}, computed(TODAY, 10, minutes_ago=56)) == []


def test_a_day_that_one_asset_lacks_is_due() -> None:
    assert due({TODAY: 10}, computed(TODAY, 10, 5, assets=ASSETS[:1])) == [TODAY]

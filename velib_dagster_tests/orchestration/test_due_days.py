"""Which days' statistics are due, by what is archived and what is computed."""

from datetime import UTC, date, datetime, timedelta

from velib_dagster.orchestration.due_days import Computed, due_days

TODAY = date(2026, 3, 3)
YESTERDAY = date(2026, 3, 2)
NOW = datetime(2026, 3, 3, 12, tzinfo=UTC)
ASSETS = ("station_stats", "zone_stats")


def computed(day: date, length: int, minutes_ago: float, assets: tuple[str, ...] = ASSETS) -> list[Computed]:
    return [Computed(asset, day, length, NOW - timedelta(minutes=minutes_ago)) for asset in assets]


def due(archived: dict[date, int], *rows: list[Computed]) -> list[date]:
    return due_days(archived, [row for some in rows for row in some], ASSETS, NOW, TODAY)


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

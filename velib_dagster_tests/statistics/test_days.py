from datetime import UTC, date, datetime

import pytest

from velib_dagster.statistics.days import Days, day_seconds, day_start, days_from_text, waking_span
from velib_dagster.statistics.errors import StatisticsError

PARIS = "Europe/Paris"


@pytest.mark.parametrize(("day", "hours"), [(date(2024, 11, 7), 24), (date(2024, 3, 31), 23), (date(2024, 10, 27), 25)])
def test_a_day_has_24_hours_or_what_the_clocks_make_of_it(day: date, hours: int) -> None:
    assert day_seconds(day, PARIS) == hours * 3600


def test_a_day_starts_at_local_midnight() -> None:
    assert day_start(date(2024, 11, 7), PARIS) == datetime(2024, 11, 6, 23, tzinfo=UTC)
    assert day_start(date(2024, 7, 7), PARIS) == datetime(2024, 7, 6, 22, tzinfo=UTC)


def test_a_day_whose_midnight_is_skipped_starts_when_it_begins() -> None:
    assert day_start(date(2024, 3, 10), "America/Havana") == datetime(2024, 3, 10, 5, tzinfo=UTC)
    assert day_seconds(date(2024, 3, 10), "America/Havana") == 23 * 3600


def test_waking_hours_are_16_hours_on_every_day() -> None:
    for day in (date(2024, 11, 7), date(2024, 3, 31), date(2024, 10, 27)):
        start, end = waking_span(day, PARIS)
        assert (end - start).total_seconds() == 16 * 3600
    assert waking_span(date(2024, 10, 27), PARIS)[0] == datetime(2024, 10, 27, 5, tzinfo=UTC)


def test_days_are_both_ends_and_what_lies_between() -> None:
    days = days_from_text("2024-10-26..2024-10-28")
    assert list(days) == [date(2024, 10, 26), date(2024, 10, 27), date(2024, 10, 28)]
    assert (days.end - days.start).total_seconds() == 73 * 3600
    assert days_from_text("2024-10-26") == Days.one(date(2024, 10, 26))


@pytest.mark.parametrize("text", ["2024-10-28..2024-10-26", "yesterday", "2024-10-26..", "..", "2024-10-26...27"])
def test_days_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(StatisticsError):
        days_from_text(text)

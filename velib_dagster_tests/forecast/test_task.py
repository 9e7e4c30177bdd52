"""Splits, horizons, the request's words: what is refused, and how; no Spark."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from velib_dagster.forecast.errors import ForecastError, TooLittleDataError
from velib_dagster.forecast.request import Options, request_from_text
from velib_dagster.forecast.task import (
    CLOCK,
    FeatureSet,
    Split,
    Target,
    checked_horizons,
    feature_names,
    split_of,
    usual_split,
)

RECORDED = [date(2024, 10, 31), *(date(2024, 11, day) for day in (1, 2, 3, 6, 7, 9, 10))]


def test_the_recorded_days_split_as_the_figures_are_told() -> None:
    split = usual_split(RECORDED)
    assert split == Split(date(2024, 11, 7), date(2024, 11, 9))
    assert [split.part(day) for day in RECORDED] == ["train"] * 5 + ["validation"] + ["test"] * 2


def test_many_days_keep_every_part_in_order() -> None:
    days = [date(2025, 1, 1) + timedelta(days=number) for number in range(40)]
    parts = [usual_split(days).part(day) for day in days]
    assert parts == ["train"] * 25 + ["validation"] * 5 + ["test"] * 10


def test_two_days_are_too_few_and_are_named() -> None:
    with pytest.raises(TooLittleDataError, match=r"there are 2: 2024-10-31, 2024-11-01"):
        usual_split(RECORDED[:2])


def hours(begin: datetime, count: int) -> list[tuple[date, int]]:
    moments = [begin + timedelta(hours=number) for number in range(count)]
    return [(moment.date(), moment.hour) for moment in moments]


@pytest.mark.parametrize("hour", range(24))
def test_two_days_split_into_parts_of_some_hours_whenever_they_began(hour: int) -> None:
    known = hours(datetime(2026, 3, 2, hour, tzinfo=UTC), 48)
    split = split_of(known)
    parts = [split.part(*one) for one in known]
    assert parts == sorted(parts, key=("train", "validation", "test").index), "in a row of time"
    assert min(parts.count(part) for part in ("train", "validation", "test")) >= 6
    assert split.within_days == (hour == 0 or not 6 <= hour <= 18)


def test_whole_days_are_split_as_days() -> None:
    known = [(day, hour) for day in RECORDED for hour in range(9, 21)]
    assert split_of(known) == usual_split(RECORDED)


def test_a_day_that_has_just_begun_is_no_test_of_its_own() -> None:
    known = hours(datetime(2026, 3, 2, 12, tzinfo=UTC), 63)
    assert known[-1] == (date(2026, 3, 5), 2)
    split = split_of(known)
    assert sum(split.part(*one) == "test" for one in known) == 15
    assert (split.validation_begins, split.test_begins) == ("2026-03-03 20 h", "2026-03-04 12 h")


@pytest.mark.parametrize("count", [0, 1, 24, 39])
def test_too_few_hours_are_counted_in_the_words(count: int) -> None:
    with pytest.raises(TooLittleDataError, match=rf"there are {count} hours on"):
        split_of(hours(datetime(2026, 3, 2, 22, tzinfo=UTC), count))


def test_a_test_before_its_validation_is_refused() -> None:
    with pytest.raises(ForecastError, match="must begin after"):
        Split(date(2024, 11, 9), date(2024, 11, 9))
    with pytest.raises(ForecastError, match=r"test \(from 2024-11-09 3 h\) must begin after"):
        Split(date(2024, 11, 9), date(2024, 11, 9), 12, 3)


@pytest.mark.parametrize("minutes", [(0,), (7,), (-5,), (1500,), ()])
def test_a_horizon_is_a_whole_number_of_steps(minutes: tuple[int, ...]) -> None:
    with pytest.raises(ForecastError, match="horizon"):
        checked_horizons(minutes, 300)


def test_the_lags_set_is_the_briefs_three_counts() -> None:
    assert feature_names(Target.FULL, FeatureSet.LAGS) == ["docks_lag1", "docks_lag2", "docks_lag3"]
    assert feature_names(Target.EMPTY, FeatureSet.LAGS) == ["bikes_lag1", "bikes_lag2", "bikes_lag3"]
    rich = feature_names(Target.FULL, FeatureSet.RICH, clock=False)
    assert {"bikes", "capacity", "neighbour_fill", "rate", "trend"} < set(rich)
    assert set(feature_names(Target.FULL, FeatureSet.RICH)) - set(rich) == set(CLOCK)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"target": "busy"}, "target 'busy': one of full, empty, both"),
        ({"horizons": "soon"}, "horizons 'soon'"),
        ({"models": "gbt"}, "model gbt: one or more of logistic_lags"),
        ({"models": ""}, "one or more of"),
        ({"validate_from": "2024-11-07"}, "give both days"),
        ({"validate_from": "x", "test_from": "y"}, "a day is YYYY-MM-DD"),
        ({"days": (date(2024, 11, 7), date(2024, 11, 6))}, "the first day is after the last"),
        ({"history": [Path("nowhere.parquet")]}, "nowhere.parquet: no such file"),
    ],
)
def test_words_that_make_no_request_are_named(words: dict[str, object], told: str) -> None:
    with pytest.raises(ForecastError, match=told):
        request_from_text(**words)  # type: ignore[arg-type]


def test_words_become_a_request() -> None:
    made = request_from_text(target="full", horizons="15, 30", station="16107", validate_from="2024-11-07",
                             test_from="2024-11-09", models="gbt_lags, logistic_lags", seed=3)  # fmt: skip
    assert made.options == Options(
        targets=(Target.FULL,), models=("gbt_lags", "logistic_lags"), station_code="16107", seed=3
    )
    assert made.horizons == (15, 30)
    assert made.split == Split(date(2024, 11, 7), date(2024, 11, 9))

"""The question that is asked: which event, how far ahead, from which features, learned and measured on which days.

Pure names and dates, no Spark. Features, models, measures, the export and the live forecast all take theirs from here.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from velib_dagster.forecast.errors import ForecastError, TooLittleDataError

LAGS: Final = 3
"""Counts that every model sees: at the origin, one step and two steps before it."""
HORIZONS: Final = (5, 15, 30, 60)
"""Minutes from the origin to the target, by default."""
USED_HORIZONS: Final = (15, 30, 60)
"""Those that the platform forecasts with."""
FORECAST_SECONDS: Final = 600
"""The platform forecasts so often. With polls of each minute origins lie so far apart too: rows a minute apart tell
nearly the same."""
LEAST_PART_HOURS: Final = 6
"""Hours that each part of a split by days must have: of a day that has just begun nothing can be told."""
LEAST_HOURS: Final = 40
"""Hours from which an archive of too few days is split by hours."""
PARTS: Final = ("train", "validation", "test")
NEWEST_DAYS: Final = 28
"""Days that a training takes unless told otherwise, the newest: four of each weekday, and a laptop's memory."""
LEAST_CLOCK_DAYS: Final = 14
"""Training days from which the rich set holds the hour and the weekday: of fewer days a model learns those very days
(on four recorded ones the hour took PR-AUC at 15 minutes from 0.49 to 0.41)."""
MODEL_NAMES: Final = ("logistic_lags", "gbt_lags", "forest_lags", "gbt_rich", "forest_rich")
"""The models that are compared, the brief's first; what each is made with: `models.py`."""
NEXT_POLL: Final = 0
"""In place of a horizon where the target is the next poll, whenever it came (`history.py`)."""


class Target(StrEnum):
    """The event: a station in service without a free dock, or without a bike."""

    FULL = "full"
    EMPTY = "empty"

    @property
    def level(self) -> str:
        """The count that is 0 at the event."""
        return "docks" if self is Target.FULL else "bikes"

    @property
    def other(self) -> str:
        """The other count of the station."""
        return "bikes" if self is Target.FULL else "docks"

    @property
    def model(self) -> str:
        """`station-full`: name of the registered model and of the experiment behind the feed's; formerly the whole."""
        return f"station-{self}"


class FeatureSet(StrEnum):
    """What a model sees: the three lags alone, or those and more."""

    LAGS = "lags"
    RICH = "rich"


def lag_names(target: Target) -> list[str]:
    """`docks_lag1` (at the origin), `docks_lag2`, `docks_lag3` for full; the same with bikes for empty."""
    return [f"{target.level}_lag{number}" for number in range(1, LAGS + 1)]


CLOCK: Final = ("hour_sin", "hour_cos", "weekday_sin", "weekday_cos")
"""Hour of day and weekday of the target, local, on a circle."""
AGES: Final = ("age_lag1", "age_lag2", "age_lag3")
"""Where lags are polls at uneven times: minutes from each to the target."""


def feature_names(target: Target, features: FeatureSet, *, ages: bool = False, clock: bool = True) -> list[str]:
    """The columns that a model of the set sees, in order. What each is: docs/forecast.md."""
    names = [*lag_names(target), *(AGES if ages else ())]
    if features is FeatureSet.LAGS:
        return names
    names += [target.other, "capacity", "trend", "neighbour_fill", "rate"]
    return [*names, *CLOCK] if clock else names


@dataclass(frozen=True)
class Split:
    """Days in a row of time: training before `validate_from`, validation before `test_from`, the test from then on.

    Each begins at midnight, or at a local hour where the archive is too short for whole days.
    """

    validate_from: date
    test_from: date
    validate_hour: int = 0
    test_hour: int = 0

    def __post_init__(self) -> None:
        if (self.test_from, self.test_hour) <= (self.validate_from, self.validate_hour):
            msg = f"the test (from {self.test_begins}) must begin after the validation (from {self.validation_begins})"
            raise ForecastError(msg)

    @property
    def validation_begins(self) -> str:
        """`2024-11-07`, or `2024-11-07 12 h`."""
        return _moment(self.validate_from, self.validate_hour)

    @property
    def test_begins(self) -> str:
        """The same of the test."""
        return _moment(self.test_from, self.test_hour)

    @property
    def within_days(self) -> bool:
        """Whether a part begins within a day: the archive was too short for whole days."""
        return bool(self.validate_hour or self.test_hour)

    def part(self, day: date, hour: int = 0) -> str:
        """`train`, `validation` or `test`."""
        if (day, hour) < (self.validate_from, self.validate_hour):
            return "train"
        return "validation" if (day, hour) < (self.test_from, self.test_hour) else "test"


def _moment(day: date, hour: int) -> str:
    return f"{day} {hour} h" if hour else str(day)


def usual_split(days: Iterable[date]) -> Split:
    """The last quarter of the days is the test, the eighth before it the validation; at least one day each.

    Raises:
        TooLittleDataError: there are fewer than three days.
    """
    known = sorted(set(days))
    if len(known) < 3:
        named = ", ".join(map(str, known)) or "none"
        msg = f"three days at least are needed, to train, to validate and to test; there are {len(known)}: {named}"
        raise TooLittleDataError(msg)
    test = max(1, len(known) // 4)
    validation = max(1, len(known) // 8)
    return Split(known[-test - validation], known[-test])


Hour = tuple[date, int]
"""A local day and an hour of it."""


def split_of(hours: Iterable[Hour]) -> Split:
    """The usual split of the days that have these hours; where one of its parts would be too short for figures, the
    last quarter of the hours is the test, the quarter before it the validation.

    Raises:
        TooLittleDataError: neither can be had.
    """
    known = sorted(set(hours))
    days = sorted({day for day, _ in known})
    if len(days) >= 3:
        split = usual_split(days)
        held = Counter(split.part(*hour) for hour in known)
        if min(held[part] for part in PARTS) >= LEAST_PART_HOURS:
            return split
    if len(known) < LEAST_HOURS:
        named = f"{days[0]} to {days[-1]}" if days else "none"
        msg = (
            f"three days at least are needed, to train, to validate and to test, or {LEAST_HOURS} hours; there are "
            f"{len(known)} hours on {len(days)} days: {named}"
        )
        raise TooLittleDataError(msg)
    test, validation = known[-(len(known) // 4)], known[-(len(known) // 2)]
    return Split(validation[0], test[0], validation[1], test[1])


def checked_horizons(minutes: Sequence[int], step_seconds: int) -> tuple[int, ...]:
    """The horizons in order, each once.

    Raises:
        ForecastError: one is not a whole number of steps, or lies beyond a day.
    """
    for horizon in minutes:
        if horizon <= 0 or horizon * 60 % step_seconds or horizon > 1440:
            msg = (
                f"horizon {horizon} min: a positive number of whole steps of {step_seconds / 60:g} min, at most a day, "
                "is needed"
            )
            raise ForecastError(msg)
    if not minutes:
        msg = "no horizon is given: name minutes, as 15,30,60"
        raise ForecastError(msg)
    return tuple(sorted(set(minutes)))

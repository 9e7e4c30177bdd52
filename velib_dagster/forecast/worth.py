"""What the figures of a training are worth, in words, by the days that it had.

Said wherever a model is shown: Dagster's metadata, MLflow's note, `velib forecast`.
"""

from collections.abc import Sequence
from datetime import date
from typing import Final

from velib_dagster.forecast.sources import Source
from velib_dagster.forecast.task import LEAST_CLOCK_DAYS, Split

SETTLED_DAYS: Final = 21
"""Archived days from which hours and weekdays tell something: three of each weekday."""


def worth(source: Source, *, simulated: bool) -> str:
    """A sentence or two; empty where there is nothing to warn of."""
    return worth_of(source.days, source.split, simulated=simulated)


def worth_of(days: Sequence[date], split: Split, *, simulated: bool) -> str:
    """The same of the days that have rows and their split."""
    warned = []
    if split.within_days:
        warned.append(
            f"A first try on {_days(len(days))}: parts of days train (to {split.validation_begins}), validate and test "
            f"(from {split.test_begins}), at different hours of day. Which score is best may be chance."
        )
    elif len(days) < SETTLED_DAYS:
        trained = sum(split.part(day) == "train" for day in days)
        warned.append(
            f"Learned from {_days(trained)} and tested on {_days(sum(split.part(day) == 'test' for day in days))}, of "
            f"{len(days)} archived; {SETTLED_DAYS} are wanted before a figure can be relied on."
        )
    if warned and sum(split.part(day) == "train" for day in days) < LEAST_CLOCK_DAYS:
        warned.append("Hours and weekdays are not learned yet. The training of each week replaces it.")
    if simulated:
        warned.append("SIMULATED: what it says is of an invented network.")
    return " ".join(warned)


def _days(number: int) -> str:
    return "1 day" if number == 1 else f"{number} days"

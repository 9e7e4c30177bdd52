"""Intervals by the bootstrap, for the measures of several scores on the same rows: pure numpy.

Rows of one station within an hour are nearly the same row, so rows are never drawn alone. On a few days, stations are
drawn anew within each one-hour block; on ten days and more, whole days are. Every score sees the same draws, so that
their differences have intervals of their own (Efron & Tibshirani 1993, chapters 8 and 13: percentile intervals).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from velib_dagster.forecast.measures import Bools, Floats

LEVEL: Final = 0.95
LEAST_DAYS: Final = 10
"""Test days from which days are drawn."""
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A measure with the interval that holds the middle 95 % of the draws."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside: of a difference, that it is no chance."""
        return self.low > 0 or self.high < 0


def units(station: Whole, hour_block: Whole, day: Whole) -> tuple[Whole, Whole, str]:
    """What is drawn: each row's unit, each unit's block, and words for both. Units are drawn within their block."""
    days = np.unique(day)
    if len(days) >= LEAST_DAYS:
        _, unit = np.unique(day, return_inverse=True)
        return unit, np.zeros(len(days), dtype=np.int64), "days"
    pairs = np.stack([hour_block, station], axis=1)
    kept, unit = np.unique(pairs, axis=0, return_inverse=True)
    _, block = np.unique(kept[:, 0], return_inverse=True)
    return unit.reshape(-1), block, "stations within one-hour blocks"


def draws(block: Whole, times: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """How often each unit is drawn, once for each time: within a block as many draws as it has units."""
    generator = np.random.default_rng(seed)
    order = np.argsort(block, kind="stable")
    sizes = np.bincount(block)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    start_of, size_of = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    for _ in range(times):
        drawn = order[start_of + (generator.random(len(order)) * size_of).astype(np.int64)]
        yield np.bincount(drawn, minlength=len(order)).astype(np.float32)


class _Ranked:
    """Average precision of one score under many weightings: the order and the ties are found once."""

    def __init__(self, truth: Bools, score: Floats, unit: Whole) -> None:
        order = np.argsort(-score, kind="stable")
        ordered = score[order]
        ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
        true = truth[order]
        true_at = np.flatnonzero(true)
        # The end of the tie that each true row lies in: precision is counted there.
        end_of_true = ends[np.searchsorted(ends, true_at)]
        counted, self.segment_of_true = np.unique(end_of_true, return_inverse=True)
        # Rows between two such ends are only ever summed; those behind the last one don't count at all.
        self.starts = np.concatenate([[0], counted[:-1] + 1]) if len(counted) else counted
        self.unit = unit[order][: counted[-1] + 1 if len(counted) else 0]
        self.unit_of_true = unit[order][true_at]
        self.hits_until = np.searchsorted(true_at, end_of_true, side="right") - 1

    def average_precision(self, drawn: NDArray[np.float32]) -> float:
        mass = drawn[self.unit_of_true].astype(np.float64)
        hits = np.cumsum(mass)
        if not len(hits) or hits[-1] == 0:
            return float("nan")
        sums = np.add.reduceat(drawn[self.unit], self.starts)
        predicted = np.cumsum(sums, dtype=np.float64)[self.segment_of_true]
        held = mass > 0
        return float(np.sum(mass[held] * hits[self.hits_until][held] / predicted[held]) / hits[-1])


class _Called:
    """F1 of fixed calls: sums by unit are all that is needed."""

    def __init__(self, truth: Bools, called: Bools, unit: Whole, count: int) -> None:
        self.hits = np.bincount(unit, truth & called, count)
        self.called = np.bincount(unit, called, count)
        self.true = np.bincount(unit, truth, count)

    def f1(self, drawn: NDArray[np.float32]) -> float:
        whole = float(drawn @ (self.called + self.true))
        return 2 * float(drawn @ self.hits) / whole if whole else float("nan")


class _Mean:
    """The mean of a figure per row, as the Brier score."""

    def __init__(self, figure: Floats, unit: Whole, count: int) -> None:
        self.sums, self.rows = np.bincount(unit, figure, count), np.bincount(unit, minlength=count)

    def mean(self, drawn: NDArray[np.float32]) -> float:
        rows = float(drawn @ self.rows)
        return float(drawn @ self.sums) / rows if rows else float("nan")


@dataclass(frozen=True)
class Scored:
    """One score on the test rows: what is called an event, and the squared errors where it is a probability."""

    score: Floats
    called: Bools
    squared_error: Floats | None


Samples = dict[str, dict[str, Floats]]
"""Score → measure (`pr_auc`, `onset_pr_auc`, `f1`, `brier`) → its value in each draw."""


def samples(
    truth: Bools, onset: Bools, scores: Mapping[str, Scored], unit: Whole, block: Whole, times: int, seed: int
) -> Samples:
    """Every measure of every score in every draw; `onset` marks the rows without the event at the last lag."""
    count = len(block)
    ranked = {name: _Ranked(truth, one.score, unit) for name, one in scores.items()}
    onsets = {name: _Ranked(truth[onset], one.score[onset], unit[onset]) for name, one in scores.items()}
    called = {name: _Called(truth, one.called, unit, count) for name, one in scores.items()}
    errors = {
        name: _Mean(one.squared_error, unit, count) for name, one in scores.items() if one.squared_error is not None
    }
    found: dict[str, dict[str, list[float]]] = {
        name: {"pr_auc": [], "onset_pr_auc": [], "f1": [], **({"brier": []} if name in errors else {})}
        for name in scores
    }
    for drawn in draws(block, times, seed):
        for name, kept in found.items():
            kept["pr_auc"].append(ranked[name].average_precision(drawn))
            kept["onset_pr_auc"].append(onsets[name].average_precision(drawn))
            kept["f1"].append(called[name].f1(drawn))
            if name in errors:
                kept["brier"].append(errors[name].mean(drawn))
    return {name: {measure: np.array(values) for measure, values in kept.items()} for name, kept in found.items()}


def interval(value: float, drawn: Floats) -> Interval:
    """The percentile interval around a value; NaN where no draw has one."""
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))

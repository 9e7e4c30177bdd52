"""The rivals as what a forecast can be made with: where no model is champion, the best of them stands in.

Pure numpy. A count is a ranking and no risk: how often stations with so many free docks (bikes) were full (empty) a
horizon later makes it one.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from velib_dagster.forecast.evaluation import HISTORY_RATE, PERSISTENCE, Evaluation, Rows, minus_count
from velib_dagster.forecast.measures import Bools, Floats
from velib_dagster.forecast.scorer import FORMAT, Document, Scorer
from velib_dagster.forecast.task import Target, lag_names

MOST_COUNT: Final = 40
"""Counts from here on share one risk."""
_HOURS: Final = 24
_RECORDED: Final[Mapping[Target, Mapping[int, tuple[float, ...]]]] = {
    Target.FULL: {
        15: (0.642, 0.162, 0.069, 0.036, 0.019, 0.011, 0.008, 0.004, 0.002, 0.002, 0.001, 0.0),
        30: (0.549, 0.16, 0.09, 0.057, 0.032, 0.025, 0.016, 0.009, 0.007, 0.005, 0.004, 0.002, 0.001),
        60: (0.441, 0.148, 0.093, 0.069, 0.047, 0.04, 0.029, 0.021, 0.015, 0.013, 0.011, 0.008, 0.006, 0.002),
    },
    Target.EMPTY: {
        15: (0.674, 0.121, 0.038, 0.013, 0.005, 0.002, 0.002, 0.0),
        30: (0.564, 0.141, 0.055, 0.024, 0.013, 0.006, 0.003, 0.002, 0.001, 0.001, 0.001, 0.0),
        60: (0.451, 0.151, 0.072, 0.038, 0.024, 0.014, 0.009, 0.006, 0.004, 0.002, 0.002, 0.001, 0.001, 0.001, 0.0),
    },
}  # fmt: skip
"""Event → minutes → share of the stations in service with 0, 1, 2 … free docks (bikes) that were full (empty) so much
later: eight recorded days of Vélib' Métropole, 2024-10-31 … 11-10, by day from 9 to 21 h."""


def best_rival(evaluations: Mapping[str, Evaluation]) -> str:
    """The rival with the best PR-AUC on the validation days, as a champion is chosen."""
    own = [one for one in evaluations.values() if one.rival]
    return max(own, key=lambda one: (one.validation.pr_auc, one.name)).name


def rival_scorer(
    name: str,
    target: Target,
    horizon: int,
    timezone: str,
    validation: Rows,
    test: Rows,
    rates: Mapping[str, list[float]],
    network: list[float],
) -> Scorer:
    """A rival ready to score, its risks taken from the validation and test days, the newest there are.

    `rates` are the stations' own by hour of day, `network` those of a station that is not among them.
    """
    if name == HISTORY_RATE:
        document = _document(name, target, horizon, timezone, kind="rate", columns=["rate"])
        document["rates"], document["rate_hours"] = dict(rates), network
        return Scorer(document)
    counts = np.concatenate([validation.last, test.last])
    truth = np.concatenate([validation.truth, test.truth])
    table = calibrated(np.minimum(counts, 1) if name == PERSISTENCE else counts, truth)
    return _by_count(name, target, horizon, timezone, table)


def calibrated(count: Floats, truth: Bools) -> list[float]:
    """Share of rows with the event by count (0, 1, …; the last entry for that many and more), never rising with it.

    Isotonic regression by pooling adjacent violators (Barlow et al. 1972); a count that no row has takes the share of
    the next lower one.
    """
    kept = np.minimum(count.astype(np.int64), MOST_COUNT)
    rows = np.bincount(kept, minlength=1)
    events = np.bincount(kept, truth.astype(float), minlength=1)
    pools: list[tuple[float, float, int]] = []
    for number in range(len(rows)):
        pools.append((float(rows[number]), float(events[number]), 1))
        while len(pools) > 1 and _violates(pools[-2], pools[-1]):
            upper, lower = pools.pop(), pools.pop()
            pools.append((lower[0] + upper[0], lower[1] + upper[1], lower[2] + upper[2]))
    return [share for n, e, width in pools for share in [e / n if n else 0.0] * width]


def _violates(lower: tuple[float, float, int], upper: tuple[float, float, int]) -> bool:
    return upper[0] == 0 or lower[0] == 0 or upper[1] * lower[0] > lower[1] * upper[0]


def usual_stand_in(target: Target, horizon: int, timezone: str) -> Scorer:
    """−count with the risks of recorded days: what a platform forecasts with before its first training."""
    nearest = min(_RECORDED[target], key=lambda known: abs(known - horizon))
    return _by_count(minus_count(target), target, horizon, timezone, list(_RECORDED[target][nearest]))


def _by_count(name: str, target: Target, horizon: int, timezone: str, table: list[float]) -> Scorer:
    document = _document(name, target, horizon, timezone, kind="counts", columns=lag_names(target)[:1])
    document["counts"] = table
    return Scorer(document)


def _document(name: str, target: Target, horizon: int, timezone: str, *, kind: str, columns: list[str]) -> Document:
    return {
        "format": FORMAT,
        "target": target.value,
        "horizon_minutes": horizon,
        "step_seconds": 0,  # the state at the origin is all that is looked at
        "timezone": timezone,
        "model": name,
        "kind": kind,
        "columns": columns,
        "threshold": 0.5,
        "intercept": 0.0,
        "coefficients": [],
        "trees": [],
        "tree_weights": [],
        "rate_hours": [0.0] * _HOURS,
        "rates": {},
    }

"""How good each score is: rivals and models alike, on the validation and the test days, on onsets, by hour and zone.

Pure numpy. The rule that makes a champion stands here too; what MLflow keeps of it all is `tracking.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from velib_dagster.forecast import bootstrap, measures
from velib_dagster.forecast.bootstrap import Interval
from velib_dagster.forecast.measures import Bools, Floats
from velib_dagster.forecast.task import Target

PERSISTENCE: Final = "persistence"
HISTORY_RATE: Final = "history_rate"


def minus_count(target: Target) -> str:
    """Name of the rival that ranks by −count at the last lag: `minus_docks`, `minus_bikes`."""
    return f"minus_{target.level}"


@dataclass(frozen=True)
class Rows:
    """Rows of one part (validation or test), one entry each in every array.

    `station` numbers; `at` the origin, seconds since 1970; `day` (ordinal) and `hour` of the target, local; `truth`;
    `last` the count at the last lag; `after` the count at the target; `rate` the station's own.
    """

    station: NDArray[np.int64]
    at: NDArray[np.int64]
    day: NDArray[np.int64]
    hour: NDArray[np.int64]
    truth: Bools
    last: Floats
    after: Floats
    rate: Floats

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.truth)

    @property
    def onset(self) -> Bools:
        """Rows without the event at the last lag: only there can a forecast tell what persistence does not."""
        return self.last > 0


@dataclass(frozen=True)
class Score:
    """One score on both parts. `probability`: whether it is one, so that Brier and log loss mean something."""

    name: str
    validation: Floats
    test: Floats
    probability: bool = True
    threshold: float | None = None
    """Given, or None to tune it on the validation part."""


def rivals(target: Target, validation: Rows, test: Rows) -> list[Score]:
    """Persistence, the score −count at the last lag, and the station's historical rate in that hour."""
    return [
        Score(PERSISTENCE, (validation.last == 0).astype(float), (test.last == 0).astype(float), threshold=0.5),
        Score(minus_count(target), -validation.last, -test.last, probability=False),
        Score(HISTORY_RATE, validation.rate, test.rate),
    ]


@dataclass(frozen=True)
class Figures:
    """The measures of one score on some rows. Brier, log loss and calibration error are None where it is no
    probability."""

    rows: int
    events: int
    pr_auc: float
    precision: float
    recall: float
    f1: float
    brier: float | None
    log_loss: float | None
    calibration_error: float | None

    @property
    def base_rate(self) -> float:
        """Share of the rows with the event: the PR-AUC of a score that knows nothing."""
        return self.events / self.rows if self.rows else float("nan")


def figures(truth: Bools, score: Floats, threshold: float, *, probability: bool) -> Figures:
    """All measures at a threshold."""
    called = measures.decide(truth, score, threshold)
    return Figures(
        rows=len(truth),
        events=int(np.count_nonzero(truth)),
        pr_auc=measures.average_precision(truth, score),
        precision=called.precision,
        recall=called.recall,
        f1=called.f1,
        brier=measures.brier(truth, score) if probability else None,
        log_loss=measures.log_loss(truth, score) if probability else None,
        calibration_error=measures.calibration_error(truth, score) if probability else None,
    )


@dataclass(frozen=True)
class Evaluation:
    """One score's figures. `intervals` has each measure of the test with its interval, `better_than` each difference to
    a rival: rival → measure → interval; above 0 is better, of the Brier score as well."""

    name: str
    rival: bool
    probability: bool
    threshold: float
    validation: Figures
    validation_onset: Figures
    test: Figures
    test_onset: Figures
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    better_than: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)


def evaluate(
    target: Target, validation: Rows, test: Rows, models: Sequence[Score], *, draws: int, seed: int
) -> dict[str, Evaluation]:
    """Every rival and model by name, with intervals from the same draws; `units_drawn` tells what was drawn."""
    scores = [*rivals(target, validation, test), *models]
    named_rivals = {PERSISTENCE, minus_count(target), HISTORY_RATE}
    thresholds = {
        one.name: measures.best_threshold(validation.truth, one.validation) if one.threshold is None else one.threshold
        for one in scores
    }
    unit, block, _ = bootstrap.units(test.station, test.at // 3600, test.day)
    drawn = bootstrap.samples(
        test.truth,
        test.onset,
        {
            one.name: bootstrap.Scored(
                one.test,
                one.test >= thresholds[one.name],
                (one.test - test.truth) ** 2 if one.probability else None,
            )
            for one in scores
        },
        unit,
        block,
        draws,
        seed,
    )
    plain = {
        one.name: {
            part: figures(rows.truth[kept], values[kept], thresholds[one.name], probability=one.probability)
            for part, rows, values, kept in (
                ("validation", validation, one.validation, slice(None)),
                ("validation_onset", validation, one.validation, validation.onset),
                ("test", test, one.test, slice(None)),
                ("test_onset", test, one.test, test.onset),
            )
        }
        for one in scores
    }
    return {
        one.name: Evaluation(
            name=one.name,
            rival=one.name in named_rivals,
            probability=one.probability,
            threshold=thresholds[one.name],
            **plain[one.name],
            intervals={
                measure: bootstrap.interval(_value(plain[one.name], measure), values)
                for measure, values in drawn[one.name].items()
            },
            better_than={
                rival: {
                    measure: bootstrap.interval(
                        _sign(measure) * (_value(plain[one.name], measure) - _value(plain[rival], measure)),
                        _sign(measure) * (values - drawn[rival][measure]),
                    )
                    for measure, values in drawn[one.name].items()
                    if measure in drawn[rival]
                }
                for rival in (PERSISTENCE, minus_count(target))
                if rival != one.name
            },
        )
        for one in scores
    }


def _sign(measure: str) -> int:
    return -1 if measure == "brier" else 1


def _value(parts: Mapping[str, Figures], measure: str) -> float:
    if measure == "onset_pr_auc":
        return parts["test_onset"].pr_auc
    value = getattr(parts["test"], measure)
    return float("nan") if value is None else float(value)


@dataclass(frozen=True)
class Verdict:
    """Whether a model may become champion, and in words why (not)."""

    name: str
    earned: bool
    reasons: tuple[str, ...]


def verdict(target: Target, of: Evaluation, all_of: Mapping[str, Evaluation]) -> Verdict:
    """The registry's rule, on the validation days alone: PR-AUC above −count, F1 above persistence, and PR-AUC on
    onsets above −count."""
    ranked, persistence = all_of[minus_count(target)], all_of[PERSISTENCE]
    compared = (
        ("PR-AUC", of.validation.pr_auc, ranked.validation.pr_auc, ranked.name),
        ("F1", of.validation.f1, persistence.validation.f1, persistence.name),
        ("onset PR-AUC", of.validation_onset.pr_auc, ranked.validation_onset.pr_auc, ranked.name),
    )
    lost = tuple(
        f"{measure} {own:.4f} is not above {rival}'s {theirs:.4f}"
        for measure, own, theirs, rival in compared
        if not own > theirs
    )
    return Verdict(of.name, not lost, lost)


def champion_of(target: Target, all_of: Mapping[str, Evaluation]) -> Verdict | None:
    """The model with the best PR-AUC on the validation days among those that earned it; None where none did."""
    earned = [one for name, one in all_of.items() if not one.rival and verdict(target, one, all_of).earned]
    if not earned:
        return None
    best = max(earned, key=lambda one: (one.validation.pr_auc, one.name))
    return verdict(target, best, all_of)


@dataclass(frozen=True)
class GroupFigures:
    """One score within one group of test rows (an hour of day, a zone)."""

    group: str
    rows: int
    events: int
    pr_auc: float
    f1: float
    brier: float | None
    mae: float
    """Mean distance of the counts at the origin and at the target: persistence's error in docks (bikes)."""


def by_group(
    rows: Rows, groups: Sequence[str], group: NDArray[np.int64], score: Score, threshold: float
) -> list[GroupFigures]:
    """The score's figures on the test rows of each group that has a row."""
    found = []
    for number in np.unique(group):
        kept = group == number
        own = figures(rows.truth[kept], score.test[kept], threshold, probability=score.probability)
        mae = float(np.mean(np.abs(rows.after[kept] - rows.last[kept])))
        found.append(GroupFigures(groups[number], own.rows, own.events, own.pr_auc, own.f1, own.brier, mae))
    return found


def persistence_mae(rows: Rows) -> float:
    """Mean absolute error of "the count stays as it is", in docks (bikes)."""
    return float(np.mean(np.abs(rows.after - rows.last))) if len(rows) else float("nan")

"""Measures of a score against what came: pure numpy, no Spark, no MLflow.

Every function takes `truth` (bool, one per row) and `score` (float, one per row, higher = more likely), and optional
`weight` (a row counted so many times). scikit-learn's functions of the same names agree (the tests hold that); they are
not called here, since the forecast of every ten minutes scores its past with these and must stay small.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

CLIP: Final = 1e-7
"""Probabilities are kept so far from 0 and 1 for the log loss, which would be infinite for persistence."""


@dataclass(frozen=True)
class Curve:
    """Precision and recall at each distinct score, the highest first: rows at or above it count as predicted."""

    thresholds: Floats
    precision: Floats
    recall: Floats


def precision_recall_curve(truth: Bools, score: Floats, weight: Floats | None = None) -> Curve:
    """One point per distinct score; recall is 0 throughout where nothing is true."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    mass = np.ones(len(score)) if weight is None else weight[order]
    hits = np.cumsum(np.where(truth[order], mass, 0.0))
    predicted = np.cumsum(mass)
    ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True)) if len(ordered) else np.array([], dtype=int)
    hits, predicted = hits[ends], predicted[ends]
    total = hits[-1] if len(hits) else 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(predicted > 0, hits / predicted, 1.0)
    recall = hits / total if total > 0 else np.zeros_like(hits)
    return Curve(ordered[ends], precision, recall)


def average_precision(truth: Bools, score: Floats, weight: Floats | None = None) -> float:
    """PR-AUC as Σ (recall step × precision), without interpolation; NaN where nothing is true.

    The definition of scikit-learn's `average_precision_score`: trapezoids would flatter a score with many ties.
    """
    if not truth.any():
        return float("nan")
    curve = precision_recall_curve(truth, score, weight)
    return float(np.sum(np.diff(curve.recall, prepend=0.0) * curve.precision))


@dataclass(frozen=True)
class Decision:
    """What comes of calling every row at or above a threshold an event."""

    threshold: float
    precision: float
    recall: float
    f1: float


def decide(truth: Bools, score: Floats, threshold: float) -> Decision:
    """Precision, recall and F1 at a threshold; 0 where they are undefined."""
    called = score >= threshold
    hits = float(np.count_nonzero(called & truth))
    precision = hits / max(int(np.count_nonzero(called)), 1)
    recall = hits / max(int(np.count_nonzero(truth)), 1)
    return Decision(threshold, precision, recall, f1_of(precision, recall))


def f1_of(precision: float, recall: float) -> float:
    """Harmonic mean of the two; 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def best_threshold(truth: Bools, score: Floats) -> float:
    """The threshold with the best F1; tuned on the validation days, used on all others."""
    curve = precision_recall_curve(truth, score)
    if not len(curve.thresholds):
        return 0.5
    both = curve.precision + curve.recall
    f1 = np.where(both > 0, 2 * curve.precision * curve.recall / np.where(both > 0, both, 1.0), 0.0)
    return float(curve.thresholds[int(np.argmax(f1))])


def brier(truth: Bools, probability: Floats) -> float:
    """Mean squared distance of probability and outcome (Brier 1950, in its form for two classes)."""
    return float(np.mean((probability - truth) ** 2)) if len(truth) else float("nan")


def log_loss(truth: Bools, probability: Floats) -> float:
    """Mean of −ln of the probability that the outcome was given, at least `CLIP`."""
    kept = np.clip(probability, CLIP, 1 - CLIP)
    return float(-np.mean(np.where(truth, np.log(kept), np.log1p(-kept)))) if len(truth) else float("nan")


@dataclass(frozen=True)
class Reliability:
    """Bins of equal width in probability that hold a row: mean probability, share true, rows."""

    predicted: Floats
    observed: Floats
    rows: NDArray[np.int64]


def reliability(truth: Bools, probability: Floats, bins: int = 10) -> Reliability:
    """The reliability curve: on the diagonal, a risk of 30 % comes true three times in ten."""
    index = np.minimum((probability * bins).astype(np.int64), bins - 1)
    rows = np.bincount(index, minlength=bins)
    held = rows > 0
    predicted = np.bincount(index, probability, bins)[held] / rows[held]
    observed = np.bincount(index, truth.astype(float), bins)[held] / rows[held]
    return Reliability(predicted, observed, rows[held])


def calibration_error(truth: Bools, probability: Floats, bins: int = 10) -> float:
    """Expected calibration error: the mean distance of the reliability curve from the diagonal, weighted by rows."""
    curve = reliability(truth, probability, bins)
    return float(np.sum(curve.rows * np.abs(curve.predicted - curve.observed)) / max(len(truth), 1))

"""The pictures that decide: precision–recall curves together, calibration, by hour of day, importance. PNG bytes.

Drawn without pyplot, which keeps figures alive. What is drawn is computed in `evaluation.py`.
"""

import io
from collections.abc import Mapping
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from velib_dagster.forecast import measures
from velib_dagster.forecast.training import Outcome

_DPI: Final = 90
_POINTS: Final = 400
"""Points of a curve: enough for the eye."""


def pr_curves(outcome: Outcome) -> bytes:
    """Precision over recall of every score on the test days, onsets beside."""
    figure = Figure((10, 4.2), _DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    onset = outcome.test.onset
    for name, score in outcome.scores.items():
        whole = outcome.evaluations[name]
        for axes, truth, values, value in (
            (left, outcome.test.truth, score.test, whole.test.pr_auc),
            (right, outcome.test.truth[onset], score.test[onset], whole.test_onset.pr_auc),
        ):
            curve = measures.precision_recall_curve(truth, values)
            kept = np.unique(np.linspace(0, len(curve.recall) - 1, _POINTS).astype(int))
            style = "--" if whole.rival else "-"
            axes.plot(curve.recall[kept], curve.precision[kept], style, lw=1.3, label=f"{name} {value:.3f}")
    left.set_title(f"{_title(outcome)}: test days", fontsize=9)
    right.set_title(f"onsets only (not {outcome.task.target} at the last lag)", fontsize=9)
    for axes in (left, right):
        axes.set_xlabel("recall", fontsize=8)
        axes.set_ylabel("precision", fontsize=8)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.tick_params(labelsize=7)
        axes.legend(fontsize=6.5, title="PR-AUC", title_fontsize=7)
    return _png(figure)


def calibration(outcome: Outcome) -> bytes:
    """Share of events over probability, in ten bins, of every score that is a probability."""
    figure = Figure((5, 4.2), _DPI, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", lw=1)
    for name, score in outcome.scores.items():
        if not score.probability:
            continue
        curve = measures.reliability(outcome.test.truth, score.test)
        axes.plot(curve.predicted, curve.observed, "o-", ms=3, lw=1.2, label=name)
    axes.set_title(f"{_title(outcome)}: calibration", fontsize=9)
    axes.set_xlabel("probability said", fontsize=8)
    axes.set_ylabel("share that came true", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=6.5)
    return _png(figure)


def by_hour(outcome: Outcome) -> bytes:
    """PR-AUC of every score by hour of day, with the share of rows with the event."""
    figure = Figure((8, 3.4), _DPI, layout="constrained")
    axes = figure.subplots()
    hours = np.unique(outcome.test.hour)
    for name, score in outcome.scores.items():
        values = [
            measures.average_precision(outcome.test.truth[kept], score.test[kept])
            for kept in (outcome.test.hour == hour for hour in hours)
        ]
        axes.plot(hours, values, "--" if outcome.evaluations[name].rival else "-", lw=1.2, marker=".", label=name)
    shares = [float(outcome.test.truth[outcome.test.hour == hour].mean()) for hour in hours]
    axes.bar(hours, shares, color="0.85", label="share of events")
    axes.set_title(f"{_title(outcome)}: PR-AUC by hour of day", fontsize=9)
    axes.set_xlabel("hour", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=6, ncols=2)
    return _png(figure)


def importances(name: str, values: Mapping[str, float]) -> bytes:
    """One bar per column: the share of the gain, or the coefficient."""
    figure = Figure((5, 0.5 + 0.28 * len(values)), _DPI, layout="constrained")
    axes = figure.subplots()
    ordered = sorted(values.items(), key=lambda one: abs(one[1]))
    axes.barh([column for column, _ in ordered], [value for _, value in ordered])
    axes.set_title(f"{name}: importance", fontsize=9)
    axes.tick_params(labelsize=7)
    return _png(figure)


def _title(outcome: Outcome) -> str:
    station = f", station {outcome.station_code}" if outcome.station_code else ""
    return f"{outcome.task.target}, {outcome.horizon_name}{station}"


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()

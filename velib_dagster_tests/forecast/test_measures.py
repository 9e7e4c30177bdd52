"""The measures, held to scikit-learn and to cases worked out by hand; no Spark."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from velib_dagster.forecast import measures

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=60)


def arrays(rows: list[tuple[bool, int]]) -> tuple[measures.Bools, measures.Floats]:
    return np.array([truth for truth, _ in rows]), np.array([score / 5 for _, score in rows])


@given(ROWS)
def test_average_precision_is_that_of_scikit_learn_ties_and_all(rows: list[tuple[bool, int]]) -> None:
    truth, score = arrays(rows)
    found = measures.average_precision(truth, score)
    if truth.any():
        assert found == pytest.approx(metrics.average_precision_score(truth, score))
    else:
        assert math.isnan(found)


@given(ROWS)
def test_a_weight_counts_a_row_so_many_times(rows: list[tuple[bool, int]]) -> None:
    truth, score = arrays(rows)
    weight = np.arange(len(rows)) % 3 + 0.0
    repeated = np.repeat(np.arange(len(rows)), weight.astype(int))
    if truth[repeated].any():
        found = measures.average_precision(truth, score, weight)
        assert found == pytest.approx(measures.average_precision(truth[repeated], score[repeated]))


@given(ROWS)
def test_precision_recall_and_f1_at_a_threshold_are_those_of_scikit_learn(rows: list[tuple[bool, int]]) -> None:
    truth, score = arrays(rows)
    found = measures.decide(truth, score, 0.5)
    wanted = metrics.precision_recall_fscore_support(truth, score >= 0.5, average="binary", zero_division=0)[:3]
    assert (found.precision, found.recall, found.f1) == pytest.approx(wanted)


@given(ROWS)
def test_no_threshold_has_a_better_f1_than_the_tuned_one(rows: list[tuple[bool, int]]) -> None:
    truth, score = arrays(rows)
    tuned = measures.decide(truth, score, measures.best_threshold(truth, score)).f1
    assert tuned == pytest.approx(max(measures.decide(truth, score, value).f1 for value in set(score)))


@given(ROWS)
def test_brier_and_log_loss_are_those_of_scikit_learn(rows: list[tuple[bool, int]]) -> None:
    truth, score = arrays(rows)
    assert measures.brier(truth, score) == pytest.approx(np.mean((score - truth) ** 2))
    kept = np.clip(score, measures.CLIP, 1 - measures.CLIP)
    assert measures.log_loss(truth, score) == pytest.approx(metrics.log_loss(truth, kept, labels=[False, True]))


def test_reliability_puts_each_row_into_the_bin_of_its_probability() -> None:
    curve = measures.reliability(np.array([True, False, True, True]), np.array([0.05, 0.05, 0.55, 1.0]))
    assert curve.rows.tolist() == [2, 1, 1]
    assert curve.predicted.tolist() == [0.05, 0.55, 1.0]
    assert curve.observed.tolist() == [0.5, 1.0, 1.0]
    assert measures.calibration_error(np.array([True, False]), np.array([0.5, 0.5])) == pytest.approx(0)


def test_persistence_by_hand() -> None:
    # Three of four events were there before; one call of four is wrong.
    truth = np.array([True, True, True, True, False, False, False, False])
    score = np.array([1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    assert measures.decide(truth, score, 0.5) == measures.Decision(0.5, 0.75, 0.75, 0.75)
    assert measures.average_precision(truth, score) == pytest.approx(0.75 * 0.75 + 0.25 * 0.5)

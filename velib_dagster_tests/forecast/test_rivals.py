"""The rivals as forecasts: risks by count, and which of them stands in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from velib_dagster.forecast.evaluation import HISTORY_RATE, PERSISTENCE, Rows, minus_count
from velib_dagster.forecast.rivals import MOST_COUNT, calibrated, rival_scorer, usual_stand_in
from velib_dagster.forecast.scorer import Scorer
from velib_dagster.forecast.task import Target


@given(st.lists(st.tuples(st.integers(0, 60), st.booleans()), min_size=1, max_size=200))
def test_risks_never_rise_with_the_count_and_keep_the_number_of_events(drawn: list[tuple[int, bool]]) -> None:
    count = np.array([float(number) for number, _ in drawn])
    truth = np.array([came for _, came in drawn])
    table = np.array(calibrated(count, truth))
    assert np.all(np.diff(table) <= 1e-12)
    risks = table[np.minimum(count.astype(int), min(MOST_COUNT, len(table) - 1))]
    assert np.sum(risks) == pytest.approx(np.sum(truth))


def test_counts_that_keep_their_order_keep_their_shares() -> None:
    count = np.array([0.0] * 4 + [1.0] * 4 + [3.0] * 2)
    truth = np.array([True, True, True, False, True, False, False, False, False, False])
    assert calibrated(count, truth)[:2] == [0.75, 0.25]
    assert calibrated(count, truth)[3] == 0.0


def rows(last: list[float], truth: list[bool]) -> Rows:
    whole = np.zeros(len(last), dtype=np.int64)
    counts = np.array(last)
    return Rows(whole, whole, whole, whole, np.array(truth), counts, counts, np.full(len(last), 0.25))


def test_each_rival_is_a_scorer_that_survives_its_document() -> None:
    held = rows([0.0, 0.0, 1.0, 5.0], [True, False, False, False])
    values = {"bikes_lag1": np.array([0.0, 1.0, 7.0]), "rate": np.array([0.1, 0.2, 0.3])}
    found = {}
    for name in (PERSISTENCE, minus_count(Target.EMPTY), HISTORY_RATE):
        made = rival_scorer(name, Target.EMPTY, 15, "Europe/Paris", held, held, {"7": [0.5] * 24}, [0.1] * 24)
        again = Scorer.from_json(made.to_json())
        assert (again.document["model"], again.document["horizon_minutes"]) == (name, 15)
        found[name] = again.score(values).tolist()
    assert found == {
        PERSISTENCE: [0.5, 0.0, 0.0],
        "minus_bikes": [0.5, 0.0, 0.0],
        HISTORY_RATE: [0.1, 0.2, 0.3],
    }


@pytest.mark.parametrize("target", Target)
def test_before_a_training_the_risk_falls_with_the_count_and_spreads_with_the_horizon(target: Target) -> None:
    counts = {f"{target.level}_lag1": np.arange(30.0)}
    risks = {horizon: usual_stand_in(target, horizon, "Europe/Paris").score(counts) for horizon in (5, 15, 30, 60, 120)}
    for risk in risks.values():
        assert np.all(np.diff(risk) <= 0)
        assert 0.4 < risk[0] < 0.7
    assert risks[15][0] > risks[30][0] > risks[60][0]
    assert risks[15][4] < risks[30][4] < risks[60][4]

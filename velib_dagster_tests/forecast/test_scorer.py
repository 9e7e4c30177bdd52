"""The exported form: trees and coefficients by hand; no Spark. That it equals Spark's scores: `test_models.py`."""

import math

import numpy as np
import pytest

from velib_dagster.forecast.errors import ForecastError
from velib_dagster.forecast.scorer import FORMAT, LEAF, Document, Scorer, Tree

STUMP: Tree = {"column": [0, LEAF, LEAF], "threshold": [2.0, 0.0, 0.0], "left": [1, 0, 0], "right": [2, 0, 0],
               "value": [0.0, 0.75, 0.25]}  # fmt: skip
ALONE: Tree = {"column": [LEAF], "threshold": [0.0], "left": [0], "right": [0], "value": [0.5]}


def document(kind: str, **changes: object) -> Document:
    made: Document = {
        "format": FORMAT, "target": "full", "horizon_minutes": 15, "step_seconds": 300, "timezone": "Europe/Paris",
        "model": f"{kind}_lags", "kind": kind, "columns": ["docks_lag1", "docks_lag2"], "threshold": 0.4,
        "intercept": 0.0, "coefficients": [], "trees": [], "tree_weights": [], "rate_hours": [0.02] * 24, "rates": {},
    }  # fmt: skip
    return {**made, **changes}  # type: ignore[typeddict-item]


ROWS = {"docks_lag1": np.array([0.0, 2.0, 2.5]), "docks_lag2": np.array([1.0, 1.0, 1.0])}


def test_a_forest_is_the_mean_of_its_leaves_and_equal_goes_left() -> None:
    scorer = Scorer(document("forest", trees=[STUMP, ALONE]))
    assert scorer.score(ROWS).tolist() == [0.625, 0.625, 0.375]


def test_boosted_trees_are_the_logistic_function_of_twice_their_sum() -> None:
    scorer = Scorer(document("gbt", trees=[STUMP, ALONE], tree_weights=[1.0, 0.1]))
    assert scorer.score(ROWS)[2] == pytest.approx(1 / (1 + math.exp(-2 * (0.25 + 0.05))))


def test_the_logistic_model_is_the_logistic_function_of_its_sum() -> None:
    scorer = Scorer(document("logistic", coefficients=[-1.0, 0.5], intercept=0.25))
    assert scorer.score(ROWS)[1] == pytest.approx(1 / (1 + math.exp(-(-2 + 0.5 + 0.25))))
    huge = {name: np.full(1, 1e6) for name in ROWS}
    assert scorer.score(huge).tolist() == [0.0]


def test_a_document_survives_being_written_and_read() -> None:
    scorer = Scorer(document("gbt", trees=[STUMP], tree_weights=[1.0], rates={"16107": [0.5] * 24}))
    again = Scorer.from_json(scorer.to_json())
    assert again.document == scorer.document
    assert (again.rate("16107", 8), again.rate("unseen", 8)) == (0.5, 0.02)


def test_a_document_of_another_format_is_refused() -> None:
    text = Scorer(document("gbt")).to_json().replace(f'"format":{FORMAT}', '"format":99')
    with pytest.raises(ForecastError, match="format 99"):
        Scorer.from_json(text)

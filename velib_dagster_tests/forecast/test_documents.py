"""The document about the forecast names every feature, model, rival and alias there is; no Spark."""

import re
from pathlib import Path

from velib_dagster.forecast.evaluation import HISTORY_RATE, PERSISTENCE, minus_count
from velib_dagster.forecast.registry import CHAMPION, alias_of
from velib_dagster.forecast.task import MODEL_NAMES, FeatureSet, Target, feature_names

TEXT = (Path(__file__).parents[2] / "docs" / "forecast.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([\w-]+)`", TEXT))


def test_every_feature_is_described() -> None:
    assert set(feature_names(Target.FULL, FeatureSet.RICH, ages=True)) <= NAMED
    assert {"bikes_lag1", "docks"} <= NAMED


def test_every_model_rival_and_alias_is_described() -> None:
    rivals = {PERSISTENCE, HISTORY_RATE, *(minus_count(target) for target in Target)}
    assert {*MODEL_NAMES, *rivals} <= NAMED
    assert {CHAMPION, alias_of(15)} <= NAMED | {"champion"}
    assert all(f"`velib.{target.model}`" in TEXT for target in Target)

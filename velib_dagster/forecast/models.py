"""The models of pyspark.ml: which there are, what each is fitted on, what it finds important.

Each is a pipeline of a `VectorAssembler` and a classifier. What rows mean belongs to `features.py`, how good a score is
to `measures.py`, MLflow to `tracking.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from pyspark.ml import Estimator, Pipeline, PipelineModel
from pyspark.ml.classification import (
    GBTClassificationModel,
    GBTClassifier,
    LogisticRegression,
    LogisticRegressionModel,
    RandomForestClassificationModel,
    RandomForestClassifier,
)
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation

from velib_dagster.forecast.features import LABEL
from velib_dagster.forecast.task import FeatureSet

WEIGHT: Final = "weight"
Fitted = LogisticRegressionModel | GBTClassificationModel | RandomForestClassificationModel
Parameters = Mapping[str, int | float | str]


@dataclass(frozen=True)
class Model:
    """A model by name: its kind, the columns it sees, the parameters that its classifier is made with."""

    name: str
    kind: str
    features: FeatureSet
    parameters: Parameters


_LOGISTIC: Final[Parameters] = {"maxIter": 20, "regParam": 0.0}
# Spark's boosting takes plain gradient steps, each tree a chain of jobs: few shallow trees and long steps come as far
# as many short ones, and by far sooner. Lags are small whole numbers: as many bins as they have values.
_GBT: Final[Parameters] = {"maxIter": 20, "maxDepth": 4, "stepSize": 0.5, "maxBins": 96, "minInstancesPerNode": 5}
_GBT_RICH: Final[Parameters] = {
    "maxIter": 20,
    "maxDepth": 4,
    "stepSize": 0.3,
    "maxBins": 48,
    "minInstancesPerNode": 100,
}
# Rows of lags are counted together, so that drawing them anew would leave out whole patterns.
_FOREST: Final[Parameters] = {
    "numTrees": 30, "maxDepth": 8, "maxBins": 96, "minInstancesPerNode": 5, "bootstrap": "false",
    "featureSubsetStrategy": "2",
}  # fmt: skip
_FOREST_RICH: Final[Parameters] = {
    "numTrees": 30, "maxDepth": 9, "maxBins": 64, "minInstancesPerNode": 20, "bootstrap": "true",
    "featureSubsetStrategy": "auto",
}  # fmt: skip

MODELS: Final = (
    Model("logistic_lags", "logistic", FeatureSet.LAGS, _LOGISTIC),
    Model("gbt_lags", "gbt", FeatureSet.LAGS, _GBT),
    Model("forest_lags", "forest", FeatureSet.LAGS, _FOREST),
    Model("gbt_rich", "gbt", FeatureSet.RICH, _GBT_RICH),
    Model("forest_rich", "forest", FeatureSet.RICH, _FOREST_RICH),
)
"""The models that are compared, the brief's first."""


def _logistic(parameters: Parameters, seed: int) -> LogisticRegression:
    del seed  # nothing is drawn
    return LogisticRegression(
        maxIter=int(parameters["maxIter"]),
        regParam=float(parameters["regParam"]),
        labelCol=LABEL,
        weightCol=WEIGHT,
    )


def _gbt(parameters: Parameters, seed: int) -> GBTClassifier:
    return GBTClassifier(
        maxIter=int(parameters["maxIter"]),
        maxDepth=int(parameters["maxDepth"]),
        stepSize=float(parameters["stepSize"]),
        maxBins=int(parameters["maxBins"]),
        minInstancesPerNode=int(parameters["minInstancesPerNode"]),
        labelCol=LABEL,
        weightCol=WEIGHT,
        seed=seed,
    )


def _forest(parameters: Parameters, seed: int) -> RandomForestClassifier:
    return RandomForestClassifier(
        numTrees=int(parameters["numTrees"]),
        maxDepth=int(parameters["maxDepth"]),
        maxBins=int(parameters["maxBins"]),
        minInstancesPerNode=int(parameters["minInstancesPerNode"]),
        featureSubsetStrategy=str(parameters["featureSubsetStrategy"]),
        bootstrap=parameters["bootstrap"] == "true",
        labelCol=LABEL,
        weightCol=WEIGHT,
        seed=seed,
    )


_MADE: Final[Mapping[str, Callable[[Parameters, int], Estimator[Any]]]] = {
    "logistic": _logistic,
    "gbt": _gbt,
    "forest": _forest,
}


def training_rows(rows: DataFrame, columns: Sequence[str], most: int, seed: int, of: int | None = None) -> DataFrame:
    """The rows that a model is fitted on: its columns, `label`, and `weight`, how many rows each stands for.

    Few distinct rows (lags are small whole numbers) are counted together, which loses nothing. More than `most` rows
    (`of` is their number) are thinned: all events stay, and each row without one that stays stands for those that
    went, so that probabilities need no correction.
    """
    if of is None or of <= most:
        thin = rows.withColumn(WEIGHT, F.lit(1.0))
    else:
        kept = max(0.01, most / of)
        drawn = F.pmod(F.xxhash64("station", "at", F.lit(seed)), F.lit(1_000_000)) < int(kept * 1_000_000)
        thin = rows.withColumn(WEIGHT, F.when(F.col(LABEL) > 0, 1.0).otherwise(1.0 / kept)).where(
            (F.col(LABEL) > 0) | drawn
        )
    return thin.groupBy(*columns, LABEL).agg(F.sum(WEIGHT).alias(WEIGHT))


def fit(model: Model, rows: DataFrame, columns: Sequence[str], seed: int) -> PipelineModel:
    """The fitted pipeline. `rows` are those of `training_rows`; the same rows and seed give the same model."""
    # One partition in one order: a tree's candidate splits and a forest's draws follow the order of the rows.
    ordered = rows.coalesce(1).sortWithinPartitions(*columns, LABEL).cache()
    try:
        assembler = VectorAssembler(inputCols=list(columns), outputCol="features")
        return Pipeline(stages=[assembler, _MADE[model.kind](model.parameters, seed)]).fit(ordered)
    finally:
        ordered.unpersist()


def classifier_of(fitted: PipelineModel) -> Fitted:
    """The classifier in a fitted pipeline."""
    return cast("Fitted", fitted.stages[-1])


def columns_of(fitted: PipelineModel) -> list[str]:
    """The columns that a fitted pipeline sees, in order."""
    return list(cast("VectorAssembler", fitted.stages[0]).getInputCols())


def scored(fitted: PipelineModel, rows: DataFrame) -> DataFrame:
    """The rows with `score`, the model's probability of the event."""
    return fitted.transform(rows).withColumn("score", vector_to_array(F.col("probability"))[1])


def importance(fitted: PipelineModel) -> dict[str, float]:
    """Column → its importance: the share of the gain in trees, the coefficient in the logistic model."""
    classifier = classifier_of(fitted)
    found = (
        classifier.coefficients if isinstance(classifier, LogisticRegressionModel) else classifier.featureImportances
    )
    return dict(zip(columns_of(fitted), (float(value) for value in found.toArray()), strict=True))

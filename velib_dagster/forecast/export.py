"""A fitted Spark model → the document of `scorer.py`.

Trees are read from what Spark itself writes when a model is saved: its node table, one row per node.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.ml import PipelineModel
from pyspark.ml.classification import GBTClassificationModel, LogisticRegressionModel

from velib_dagster.forecast.features import Task
from velib_dagster.forecast.models import Fitted, Model, classifier_of, columns_of
from velib_dagster.forecast.scorer import FORMAT, LEAF, Document, Scorer, Tree
from velib_dagster.forecast.stations import Stations

HOURS = 24


def scorer_of(
    fitted: PipelineModel,
    model: Model,
    task: Task,
    threshold: float,
    stations: Stations,
    rates: Mapping[tuple[int, int], float],
) -> Scorer:
    """The fitted pipeline as a scorer; `rates` (station, hour → rate; station −1 is the network) go along where the
    model looks at them."""
    classifier = classifier_of(fitted)
    logistic = classifier if isinstance(classifier, LogisticRegressionModel) else None
    boosted = classifier if isinstance(classifier, GBTClassificationModel) else None
    trees = [] if logistic is not None else _trees(classifier, boosted=boosted is not None)
    rated = "rate" in columns_of(fitted)
    network, own = by_code(stations, rates)
    document: Document = {
        "format": FORMAT,
        "target": task.target.value,
        "horizon_minutes": task.horizon,
        "step_seconds": task.step_seconds,
        "timezone": task.timezone,
        "model": model.name,
        "kind": model.kind,
        "columns": columns_of(fitted),
        "threshold": threshold,
        "intercept": float(logistic.intercept) if logistic is not None else 0.0,
        "coefficients": [float(value) for value in logistic.coefficients.toArray()] if logistic is not None else [],
        "trees": trees,
        "tree_weights": [float(weight) for weight in boosted.treeWeights] if boosted is not None else [],
        "rate_hours": network,
        "rates": own if rated else {},
    }
    return Scorer(document)


def by_code(stations: Stations, rates: Mapping[tuple[int, int], float]) -> tuple[list[float], dict[str, list[float]]]:
    """The network's rate by hour of day, and each station's by its code; `rates` as `features.rate_table` gives it."""
    network = [rates.get((-1, hour), 0.0) for hour in range(HOURS)]
    seen = sorted({station for station, _ in rates if station >= 0})
    return network, {
        stations.known[station].code: [rates.get((station, hour), network[hour]) for hour in range(HOURS)]
        for station in seen
    }


def _trees(classifier: Fitted, *, boosted: bool) -> list[Tree]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        classifier.write().save(path.as_uri())
        nodes = pq.read_table(path / "data").to_pylist()
    trees: dict[int, list[dict[str, object]]] = {}
    for row in nodes:
        trees.setdefault(row["treeID"], []).append(row["nodeData"])
    return [_tree(trees[number], boosted=boosted) for number in sorted(trees)]


def _tree(nodes: list[dict[str, object]], *, boosted: bool) -> Tree:
    by_id = {node["id"]: node for node in nodes}
    tree: Tree = {"column": [], "threshold": [], "left": [], "right": [], "value": []}
    for number in range(len(by_id)):  # Spark numbers a tree's nodes from 0, the root first
        node = by_id[number]
        split: dict[str, list[float]] = node["split"]  # type: ignore[assignment]
        inner = node["leftChild"] != -1
        tree["column"].append(split["featureIndex"] if inner else LEAF)  # type: ignore[arg-type]
        tree["threshold"].append(split["leftCategoriesOrThreshold"][0] if inner else 0.0)
        tree["left"].append(node["leftChild"] if inner else 0)  # type: ignore[arg-type]
        tree["right"].append(node["rightChild"] if inner else 0)  # type: ignore[arg-type]
        stats: list[float] = node["impurityStats"]  # type: ignore[assignment]
        share = stats[1] / sum(stats) if not boosted else node["prediction"]
        tree["value"].append(share if not inner else 0.0)  # type: ignore[arg-type]
    return tree

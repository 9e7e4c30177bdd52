"""A fitted model as a small document that numpy evaluates: no Java, no pyspark, no MLflow.

The form is JSON of our own, format 1 (docs/forecast.md): the columns, the coefficients or the trees as arrays of node
numbers, and what the live features need. ONNX was weighed: its tree operators compare in 32 bits, which moves rows to
other leaves, and its converter for Spark follows Spark's releases late; MLeap and PMML score on a JVM.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from velib_dagster.forecast.errors import ForecastError
from velib_dagster.forecast.measures import Floats

FORMAT: Final = 1
FILE: Final = "scorer.json"
"""Name of the document among a run's artifacts."""
LEAF: Final = -1


class Tree(TypedDict):
    """One tree: per node the column looked at (−1 in a leaf), the threshold (left where value ≤ it), both children's
    numbers, and the leaf's value."""

    column: list[int]
    threshold: list[float]
    left: list[int]
    right: list[int]
    value: list[float]


class Document(TypedDict):
    """What `scorer.json` holds."""

    format: int
    target: str
    horizon_minutes: int
    step_seconds: int
    timezone: str
    model: str
    kind: str
    columns: list[str]
    threshold: float
    intercept: float
    coefficients: list[float]
    trees: list[Tree]
    tree_weights: list[float]
    rate_hours: list[float]
    rates: dict[str, list[float]]
    counts: NotRequired[list[float]]


@dataclass(frozen=True)
class _Forest:
    """All trees side by side: node arrays joined, the roots' numbers."""

    column: NDArray[np.int64]
    threshold: Floats
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: Floats
    roots: NDArray[np.int64]

    @classmethod
    def of(cls, trees: Sequence[Tree]) -> "_Forest":
        sizes = [len(tree["column"]) for tree in trees]
        roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64) if sizes else np.zeros(0, np.int64)

        def joined(name: str, kind: type, shift: bool = False) -> NDArray[np.float64]:
            parts: list[NDArray[np.float64]] = [
                np.asarray(tree[name], dtype=kind) + (root if shift else 0)  # type: ignore[literal-required]
                for tree, root in zip(trees, roots, strict=True)
            ]
            return np.concatenate(parts) if parts else np.zeros(0, dtype=kind)

        return cls(
            joined("column", np.int64).astype(np.int64),
            joined("threshold", np.float64),
            joined("left", np.int64, shift=True).astype(np.int64),
            joined("right", np.int64, shift=True).astype(np.int64),
            joined("value", np.float64),
            roots,
        )

    def leaves(self, rows: Floats) -> Floats:
        """The value of the leaf that each row comes to in each tree, shape (rows, trees)."""
        node = np.tile(self.roots, (len(rows), 1))
        index = np.arange(len(rows))[:, None]
        while (inner := self.column[node] != LEAF).any():
            column = np.maximum(self.column[node], 0)
            goes_left = rows[index, column] <= self.threshold[node]
            node = np.where(inner, np.where(goes_left, self.left[node], self.right[node]), node)
        return np.asarray(self.value[node])


class Scorer:
    """A model that is ready to score."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.columns = document["columns"]
        self._forest = _Forest.of(document["trees"])
        self._weights = np.asarray(document["tree_weights"])

    @classmethod
    def from_json(cls, text: str | bytes) -> "Scorer":
        """The model in a document.

        Raises:
            ForecastError: it is of another format.
        """
        document: Document = json.loads(text)
        if document.get("format") != FORMAT:
            msg = f"{FILE} is of format {document.get('format')}, and this program knows {FORMAT}: train again"
            raise ForecastError(msg)
        return cls(document)

    def to_json(self) -> str:
        """The document."""
        return json.dumps(self.document, separators=(",", ":"))

    def score(self, values: Mapping[str, Floats]) -> Floats:
        """Probability of the event, one per row; `values` has a float array per column.

        As in Spark: the logistic function of Σ coefficient × value for the logistic model and of 2 × Σ weight × leaf
        for boosted trees, the mean over trees of the leaf's share of events for a forest. A rival that stands in is the
        risk by the count in its column (kind `counts`), or that column itself (kind `rate`).
        """
        rows = np.column_stack([np.asarray(values[name], dtype=np.float64) for name in self.columns])
        document = self.document
        if document["kind"] == "logistic":
            return _logistic(rows @ np.asarray(document["coefficients"]) + document["intercept"])
        if document["kind"] == "rate":
            return np.asarray(rows[:, 0])
        if document["kind"] == "counts":
            table = np.asarray(document["counts"])
            return np.asarray(table[np.clip(rows[:, 0].astype(np.int64), 0, len(table) - 1)])
        leaves = self._forest.leaves(rows)
        if document["kind"] == "gbt":
            return _logistic(2 * (leaves @ self._weights))
        return np.asarray(leaves.mean(axis=1))

    def rate(self, code: str, hour: int) -> float:
        """The station's own rate in an hour of day; the network's for a station that training did not see."""
        return self.document["rates"].get(code, self.document["rate_hours"])[hour]


def _logistic(margin: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-margin)))

"""The notebook of part 4: what its source keeps to, and a whole run of it over a small archive."""

import ast
import os
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import nbformat
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from velib_dagster.archive.rows import HEADER_LINE, csv_line
from velib_dagster.events.records import Spell
from velib_dagster_tests.forecast.make import QUIET, code_of, network
from velib_dagster_tests.notebooks.conftest import REPOSITORY
from velib_dagster_tests.notebooks.run_notebook import Widgets
from velib_dagster_tests.notebooks.test_source import NOT_ON_SPARK_CONNECT, _texts, render

__all__ = ["render"]

NOTEBOOK = REPOSITORY / "spark" / "notebooks" / "part4_forecast.py"


class DbUtils:
    """Databricks' own, as far as the notebook uses it."""

    def __init__(self, given: dict[str, str]) -> None:
        self.widgets = AnyDefault(given)


class AnyDefault(Widgets):
    """Widgets of which one may be empty at first."""

    def text(self, name: str, default: str, label: str) -> None:
        del default
        assert label
        assert name in self.given


@pytest.fixture(scope="module")
def source() -> str:
    return NOTEBOOK.read_text(encoding="utf-8")


def test_the_source_imports_nothing_of_ours_and_nothing_that_databricks_lacks(source: str) -> None:
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(source))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - sys.stdlib_module_names == {"IPython", "pandas", "pyspark"}
    used = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    assert used & NOT_ON_SPARK_CONNECT == set()


def test_each_text_cell_is_french_with_english_beneath(render: Any, source: str) -> None:
    texts = [text for kind, text in render.cells(source) if kind == "markdown"]
    assert len(texts) == 5
    for text in texts:
        assert text.rstrip().endswith("*"), text
        assert re.search(r"\b(le|la|les|un|une|des|du|et)\b", text, re.IGNORECASE), text


def test_the_rendered_copy_was_made_from_the_source_and_tells_nothing_of_the_machine(render: Any, source: str) -> None:
    rendered = nbformat.read(NOTEBOOK.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(rendered)
    wanted = [(cell.id, cell.cell_type, cell.source) for cell in render.unexecuted(source).cells]
    assert [(cell.id, cell.cell_type, cell.source) for cell in rendered.cells] == wanted
    code = [cell for cell in rendered.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    whole = "\n".join(_texts(rendered))
    assert re.findall(r"(?:file:|/tmp|/home|/root|/work|/usr|\.venv|\b202[5-9]-)", whole) == []
    assert "2024-10-31 … 2024-11-10" in whole
    assert "persistence" in whole


@pytest.mark.spark
@pytest.mark.long  # as the other notebook's runs
def test_it_runs_and_the_regression_beats_persistence_as_a_risk(
    spark: SparkSession, tmp_path: Path, source: str
) -> None:
    spells = [msgspec.convert(row, Spell) for row in network(stations=5).to_pylist()]
    (tmp_path / "velib.csv").write_bytes(HEADER_LINE + "".join(csv_line(spell) for spell in spells).encode())
    zone = spark.conf.get("spark.sql.session.timeZone")
    # As on Databricks: a path that is relative would be Java's own folder's.
    widgets = {"path": str(tmp_path / "velib.csv"), "timezone": "Europe/Paris", "station": ""}
    names: dict[str, Any] = {"__name__": "__main__", "display": lambda *_: None, "dbutils": DbUtils(widgets)}
    try:
        exec(compile(source.replace("from IPython.display import display", ""), NOTEBOOK.name, "exec"), names)  # noqa: S102 - the thing tested
    finally:
        spark.conf.set("spark.sql.session.timeZone", zone or "UTC")
    figures: pd.DataFrame = names["figures"]
    assert names["station"] in {code_of(number) for number in range(1, 5)}
    assert names["station"] != QUIET
    assert str(names["test_from"]) == "2024-11-08"
    assert figures.loc["logistic regression", "Brier"] < figures.loc["persistence", "Brier"]
    assert figures.loc["logistic regression", "PR-AUC"] > figures.loc["persistence", "PR-AUC"]
    assert os.environ.get("SPARK_REMOTE") is None

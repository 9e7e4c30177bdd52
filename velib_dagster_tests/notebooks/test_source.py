"""The notebook's source and its rendered copy, as text: no Spark here."""

import ast
import base64
import importlib.util
import re
import sys
from types import ModuleType

import nbformat
import pytest
from nbformat import NotebookNode

from velib_dagster_tests.notebooks.conftest import NOTEBOOK

NOT_ON_SPARK_CONNECT = {"rdd", "cache", "persist", "unpersist", "sparkContext", "foreach", "_jdf", "_jvm"}


@pytest.fixture(scope="module")
def render() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render", NOTEBOOK.with_name("render.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def source() -> str:
    return NOTEBOOK.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rendered() -> NotebookNode:
    notebook: NotebookNode = nbformat.read(NOTEBOOK.with_suffix(".ipynb"), as_version=4)
    return notebook


def _texts(rendered: NotebookNode) -> list[str]:
    """What a reader sees of the outputs, pictures left out."""
    found = []
    for cell in rendered.cells:
        for output in cell.get("outputs", []):
            found.append(output.get("text", ""))
            found += [text for kind, text in output.get("data", {}).items() if kind.startswith("text/")]
    return found


def test_the_rendered_copy_comes_from_the_source(render: ModuleType, source: str, rendered: NotebookNode) -> None:
    wanted = [(cell.id, cell.cell_type, cell.source) for cell in render.unexecuted(source).cells]
    assert [(cell.id, cell.cell_type, cell.source) for cell in rendered.cells] == wanted


def test_every_cell_of_the_rendered_copy_was_executed_in_order_and_none_failed(rendered: NotebookNode) -> None:
    nbformat.validate(rendered)
    code = [cell for cell in rendered.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = [output.output_type for cell in code for output in cell.outputs]
    assert "error" not in kinds
    pictures = [o.data["image/png"] for c in code for o in c.outputs if "image/png" in o.get("data", {})]
    assert len(pictures) >= 4
    assert max(len(base64.b64decode(picture)) for picture in pictures) < 150_000


def test_the_rendered_copy_is_small_and_tells_nothing_of_the_machine(rendered: NotebookNode) -> None:
    assert NOTEBOOK.with_suffix(".ipynb").stat().st_size < 1_500_000
    whole = "\n".join(_texts(rendered))
    assert re.findall(r"(?:file:|/tmp|/home|/root|/work|/usr|\.venv|\b202[5-9]-)", whole) == []
    assert all(cell.metadata == {} for cell in rendered.cells)
    assert set(rendered.metadata) == {"kernelspec", "language_info"}


def test_the_rendered_copy_shows_the_recordings_and_credits_them(rendered: NotebookNode) -> None:
    assert "ODbL" in rendered.cells[0].source
    assert any("2024-10-31 … 2024-11-10" in text for text in _texts(rendered))


def test_the_source_imports_nothing_of_ours_and_nothing_that_databricks_lacks(source: str) -> None:
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            imported.add(node.module.split(".")[0])
    assert imported - sys.stdlib_module_names == {"IPython", "matplotlib", "pandas", "pyspark"}


def test_the_source_uses_nothing_that_spark_connect_lacks(source: str) -> None:
    used = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    assert used & NOT_ON_SPARK_CONNECT == set()


def test_each_text_cell_is_french_with_english_beneath(render: ModuleType, source: str) -> None:
    texts = [text for kind, text in render.cells(source) if kind == "markdown"]
    assert len(texts) >= 12
    for text in texts:
        assert text.rstrip().endswith("*"), text
        assert re.search(r"\b(le|la|les|un|une|des|du|et)\b", text, re.IGNORECASE), text


@pytest.mark.parametrize(
    "text", ["print(1)\n", "# Databricks notebook source\n# MAGIC %sql\n# MAGIC SELECT 1\n"], ids=["no header", "%sql"]
)
def test_a_source_that_cant_be_rendered_is_refused(render: ModuleType, text: str) -> None:
    with pytest.raises(ValueError, match=r"Databricks|%md"):
        render.cells(text)


def test_a_source_becomes_cells_without_its_marks(render: ModuleType) -> None:
    text = "# Databricks notebook source\n# MAGIC %md\n# MAGIC # Titre\n# MAGIC\n# MAGIC du texte\n"
    text += "\n# COMMAND ----------\n\nx = 1\n\n\nprint(x)\n"
    assert render.cells(text) == [("markdown", "# Titre\n\ndu texte"), ("code", "x = 1\n\n\nprint(x)")]

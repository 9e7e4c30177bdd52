"""The notebooks' sources made Jupyter notebooks, executed over a CSV, with what their cells show kept beside them.

`python spark/notebooks/render.py velib.csv [part4_forecast.py …]`, or `make notebook CSV=velib.csv` for all of them.
The sources alone are written by hand; nothing of this machine (paths, names, times) is kept in the rendered copies.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from velib_dagster.runtime.java import java_home

SOURCES: Final = tuple(sorted(Path(__file__).parent.glob("part*.py")))

_HEADER: Final = "# Databricks notebook source\n"
_BETWEEN_CELLS: Final = "\n# COMMAND ----------\n"
_MAGIC: Final = "# MAGIC"
_SPARK: Final = (
    "--master local[2] --driver-memory 3g --conf spark.driver.host=127.0.0.1 --conf spark.driver.bindAddress=127.0.0.1"
    " --conf spark.ui.enabled=false --conf spark.ui.showConsoleProgress=false"
    " --conf spark.sql.shuffle.partitions=2 pyspark-shell"
)
_METADATA: Final = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def cells(source: str) -> list[tuple[str, str]]:
    """Kind (markdown or code) and text of each cell of a notebook in Databricks source format, in order.

    Raises:
        ValueError: the source is not of that format.
    """
    if not source.startswith(_HEADER):
        msg = f"the first line is not {_HEADER.strip()!r}: no notebook in Databricks source format"
        raise ValueError(msg)
    return [_cell(text.strip()) for text in source.removeprefix(_HEADER).split(_BETWEEN_CELLS)]


def _cell(text: str) -> tuple[str, str]:
    if not text.startswith(_MAGIC):
        return "code", text
    lines = [line.removeprefix(_MAGIC).removeprefix(" ") for line in text.splitlines()]
    if lines[0] != "%md":
        msg = f"a magic cell begins with {lines[0]!r}: only %md can be rendered"
        raise ValueError(msg)
    return "markdown", "\n".join(lines[1:]).strip()


def unexecuted(source: str) -> NotebookNode:
    """The source as a notebook without outputs; the same source gives the same notebook, cell ids included."""
    make: dict[str, Callable[..., NotebookNode]] = {
        "markdown": nbformat.v4.new_markdown_cell,
        "code": nbformat.v4.new_code_cell,
    }
    notebook: NotebookNode = nbformat.v4.new_notebook(
        cells=[make[kind](text, id=f"cell-{number:02}") for number, (kind, text) in enumerate(cells(source))],
        metadata=_METADATA,
    )
    return notebook


def executed(notebook: NotebookNode, csv: Path) -> NotebookNode:
    """The notebook with its outputs, computed by a local Spark of two threads over the CSV.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    environment = {
        **os.environ,
        "JAVA_HOME": str(java_home()),
        "PYSPARK_SUBMIT_ARGS": _SPARK,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "velib.csv").symlink_to(csv.resolve(strict=True))
        client = NotebookClient(
            notebook, timeout=1800, record_timing=False, resources={"metadata": {"path": folder}}, kernel_name="python3"
        )
        client.execute(env=environment)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_noise(output)]
    notebook.metadata = nbformat.from_dict(_METADATA)
    return notebook


def _is_noise(output: Any) -> bool:
    """What Spark logs names this machine and the time, and tells a reader nothing."""
    return bool(output.output_type == "stream" and output.name == "stderr")


def main(arguments: list[str]) -> int:
    """Render the notebooks named, or all, over the CSV given."""
    names = {source.name: source for source in SOURCES}
    if not arguments or not Path(arguments[0]).is_file() or not set(arguments[1:]) <= set(names):
        print("Give the CSV that `velib export FILE.csv` wrote: make notebook CSV=FILE.csv", file=sys.stderr)
        return 2
    for source in [names[name] for name in arguments[1:]] or SOURCES:
        notebook = executed(unexecuted(source.read_text(encoding="utf-8")), Path(arguments[0]))
        rendered = source.with_suffix(".ipynb")
        rendered.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        print(f"{rendered}: {rendered.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

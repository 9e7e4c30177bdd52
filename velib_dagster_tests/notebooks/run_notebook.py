"""Runs the notebook in a process of its own, on classic Spark or through Spark Connect, and keeps its tables.

`run_notebook.py classic|connect PORT NOTEBOOK RESULT`, in a folder with `velib.csv`. The classic process serves Spark
Connect on the port too, says so by a file `RESULT.ready`, and stays until its input ends: one JVM does for both. On
Connect the notebook finds `dbutils`, as on Databricks. Afterwards it tries what must fail, and keeps what did.
"""

import os
import pickle
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from velib_dagster.runtime.java import java_home

OPTIONS = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.connect.grpc.binding.address": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.driver.memory": "1g",
    "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin",
    # Many small queries: compiling each costs more than it saves.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}


class Widgets:
    """Text widgets, as far as the notebook uses them."""

    def __init__(self, given: dict[str, str]) -> None:
        self.given = given

    def text(self, name: str, default: str, label: str) -> None:
        assert default
        assert label
        assert name in self.given

    def get(self, name: str) -> str:
        return self.given[name]


class DbUtils:
    """Databricks' own, as far as the notebook uses it."""

    def __init__(self, given: dict[str, str]) -> None:
        self.widgets = Widgets(given)


def fails(call: Callable[[], object]) -> str:
    """The kind of error that a call ends with; nothing where it ends well."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - which error it is, is what the test asks
        return type(error).__name__
    return ""


def main(api: str, port: str, notebook: Path, result: Path) -> None:
    os.environ["MPLBACKEND"] = "Agg"
    names: dict[str, Any] = {"__name__": "__main__"}
    if api == "connect":
        os.environ["SPARK_REMOTE"] = f"sc://127.0.0.1:{port}"
        volume = Path("volume").absolute()
        volume.mkdir()
        Path("velib.csv").rename(volume / "all.csv")
        names["dbutils"] = DbUtils({"path": str(volume / "all.csv"), "timezone": "Europe/Paris"})
    else:
        os.environ["JAVA_HOME"] = str(java_home())
        settings = OPTIONS | {"spark.connect.grpc.binding.port": port}
        options = shlex.join(part for name, value in settings.items() for part in ("--conf", f"{name}={value}"))
        os.environ["PYSPARK_SUBMIT_ARGS"] = f"--master local[2] {options} pyspark-shell"
        SparkSession.builder.getOrCreate()
        result.with_suffix(".ready").touch()
    exec(compile(notebook.read_text(encoding="utf-8"), notebook.name, "exec"), names)  # noqa: S102 - the thing tested

    stations, functions = names["stations"], names["F"]
    header, first, *_ = Path(names["PATH"]).read_text(encoding="utf-8").splitlines()
    Path("shifted.csv").write_text(f"{header.replace('bikes,mechanical', 'mechanical,bikes')}\n{first}\n")
    Path("broken.csv").write_text(f"{header}\n{first.replace('true', 'perhaps')}\n")
    Path("sound.csv").write_text(f"{header}\n{first}\n")

    def reads(path: str) -> object:
        names["PATH"] = str(Path(path).absolute())
        return names["read"]().collect()

    wrong = {
        "bikes_mean": stations.withColumn("bikes_mean", functions.col("bikes_mean") * (1 + 1e-6)),
        "rows": stations.where("bikes_max > 12"),
        "columns": stations.drop("docks_min"),
    }
    failed = {
        **{
            name: fails(lambda twin=twin: names["prove"]("wrong", stations, twin, ["station_code"]))
            for name, twin in wrong.items()
        },
        "key": fails(lambda: names["prove"]("key", stations, stations, ["zone"])),
        **{path: fails(lambda path=path: reads(path)) for path in ("shifted.csv", "broken.csv", "sound.csv")},
    }
    kept = {
        "session": type(names["spark"]).__module__,
        "tables": names["TABLES"],
        "findings": names["FINDINGS"],
        "plans": {name: names["plan"](names["station_means"](frame)) for name, frame in names["VARIANTS"].items()},
        "partitions": names["sizes"],
        "failed": failed,
    }
    unfinished = result.with_suffix(".unfinished")
    unfinished.write_bytes(pickle.dumps(kept))
    unfinished.rename(result)
    if api == "classic":
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))

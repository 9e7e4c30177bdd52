"""The Spark session of a training where Dagster gives none: local, two threads, 2 GB."""

from typing import Final

from pyspark.sql import SparkSession

from velib_dagster.settings import LOOPBACK
from velib_dagster.statistics.session import SETTINGS

DRIVER_MEMORY: Final = "2g"


def local_session(threads: int = 2) -> SparkSession:
    """A session on loopback; JAVA_HOME names the Java."""
    builder = (
        SparkSession.builder.master(f"local[{threads}]")
        .appName("velib train")
        .config("spark.driver.memory", DRIVER_MEMORY)
        .config("spark.driver.host", LOOPBACK)
        .config("spark.driver.bindAddress", LOOPBACK)
        .config("spark.driver.extraJavaOptions", "-XX:+UseSerialGC")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.adaptive.enabled", "false")
        .config("spark.log.level", "ERROR")
    )
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()

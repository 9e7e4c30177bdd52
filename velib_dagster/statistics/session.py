"""The Spark session that statistics are computed in: its settings, and the check that it tells local hours.

Who starts a session takes the settings from here: a command by `local_session`, Dagster's resource, the spark-submit
job.
"""

from collections.abc import Mapping
from typing import Final

from pyspark.sql import DataFrame, SparkSession

from velib_dagster.settings import LOOPBACK
from velib_dagster.statistics.errors import StatisticsError

TIME_ZONE: Final = "spark.sql.session.timeZone"

SETTINGS: Final[Mapping[str, str]] = {TIME_ZONE: "UTC", "spark.sql.shuffle.partitions": "2"}
"""For one machine; a cluster chooses its own number of partitions."""

JVM_SETTINGS: Final[Mapping[str, str]] = {
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC",
}
"""For a JVM that computes a few days and ends: it never earns back what the optimising compiler costs. Measured on a
day of minute polls: 28 s of processor time instead of 60. Without that compiler Java keeps 48 MB for code, and a Spark
that outgrows them hangs or fails at random: hence the size. They must be set before the JVM starts."""


def local_settings(master: str = "local[2]", driver_memory: str = "1g") -> dict[str, str]:
    """Everything that a session on this machine is started with: nothing listens beyond loopback, nothing is shown."""
    return {
        "spark.master": master,
        "spark.app.name": "velib statistics",
        "spark.driver.memory": driver_memory,
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.adaptive.enabled": "false",
        "spark.log.level": "ERROR",
        **SETTINGS,
        **JVM_SETTINGS,
    }


def local_session() -> SparkSession:
    """The session of this process, by `local_settings`; JAVA_HOME names the Java."""
    builder = SparkSession.builder
    for name, value in local_settings().items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def check_session(frame: DataFrame) -> None:
    """Whether the session tells local hours from instants.

    Raises:
        StatisticsError: its time zone is not UTC.
    """
    zone = frame.sparkSession.conf.get(TIME_ZONE)
    if zone not in {"UTC", "Etc/UTC", "Z"}:
        msg = f"the Spark session's time zone is {zone}: set {TIME_ZONE} to UTC"
        raise StatisticsError(msg)

"""What runs, schedules and sensors are given: the platform's settings, read when they are needed.

No logic of any asset belongs here. `definitions.build_defs` wires it; tests give their own home.
"""

from typing import TYPE_CHECKING

import dagster as dg

from velib_dagster.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Platform(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The home that this code location serves: the one named, else what the environment says (`VELIB_HOME`)."""

    home: str | None = None

    def settings(self) -> Settings:
        """The home's settings as they are now.

        Raises:
            SettingsError: the home's file or a setting can't be used; the message says which.
        """
        return Settings.load(self.home)


class Spark(dg.ConfigurableResource):  # type: ignore[type-arg]
    """One Spark session in the run's own process, by dagster-pyspark; Java starts when one is first asked for.

    The environment's JAVA_HOME is the Java that it runs on. Dagster's streaming job has a process of its own.
    """

    master: str = "local[2]"
    driver_memory: str = "1g"

    def session(self) -> "SparkSession":
        """The session, for batch work: UTC, few partitions, nothing listening beyond loopback."""
        # Not at the top: the runs of each minute load this module too, and pyspark takes a second.
        from dagster_pyspark import LazyPySparkResource  # noqa: PLC0415

        from velib_dagster.statistics.session import local_settings  # noqa: PLC0415

        config = local_settings(self.master, self.driver_memory)
        session: SparkSession = LazyPySparkResource(spark_config=config).spark_session
        return session

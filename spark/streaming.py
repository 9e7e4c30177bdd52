"""The streaming job under spark-submit: `spark-submit spark/streaming.py [--home H] [--until-idle]`.

Structured Streaming stands for "Spark Streaming" here: the DStream API of that name is deprecated and gets no fixes.
Nothing is computed here; the queries are in `velib_dagster.streaming`. Kafka's connector comes from `--packages` or
`--jars` where they are given, else from the platform's own jars.
"""

import argparse
import logging
import sys

from pyspark.sql import SparkSession

from velib_dagster.runtime.jars import spark_jars
from velib_dagster.settings import Settings, VelibError
from velib_dagster.streaming.job import run, session

CONNECTOR = "org.apache.spark.sql.kafka010.KafkaSourceProvider"


def add_connector(spark: SparkSession) -> None:
    """Give the session the platform's jars of Kafka's connector, unless spark-submit was given others."""
    jvm = spark.sparkContext._jvm
    loader = jvm.org.apache.spark.util.Utils.getContextOrSparkClassLoader()  # type: ignore[union-attr]
    if loader.getResource(CONNECTOR.replace(".", "/") + ".class") is None:
        for jar in spark_jars():
            spark.sql(f"ADD JAR '{jar.as_uri()}'")


def main() -> None:
    """Run the job until SIGTERM or SIGINT, or until all is written with `--until-idle`."""
    parser = argparse.ArgumentParser(description="Kafka → windows, states and polls in PostgreSQL")
    parser.add_argument("--home", help="home folder of the platform (default: VELIB_HOME, else the usual one)")
    parser.add_argument("--until-idle", action="store_true", help="stop once all is written that Kafka has now")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("py4j").setLevel(logging.WARNING)
    try:
        settings = Settings.load(arguments.home)
        add_connector(session(settings, master=None))
        run(settings, until_idle=arguments.until_idle, master=None)
    except VelibError as error:
        sys.exit(f"velib stream: {error}")


if __name__ == "__main__":
    main()

"""The statistics under spark-submit: `spark-submit spark/batch_statistics.py --archive A --days D..D --into F`.

Over any archive that Spark reaches (a folder, s3a://…, abfss://…); nothing is computed here. Each table becomes a
folder of Parquet, split by day: unlike CSV it keeps types (codes stay text, times stay instants), and a day computed
again replaces itself.
"""

import argparse
import sys

from pyspark.sql import SparkSession

from velib_dagster.settings import VelibError
from velib_dagster.statistics import tables, twins
from velib_dagster.statistics.days import days_from_text
from velib_dagster.statistics.reading import day_spells_at
from velib_dagster.statistics.session import TIME_ZONE


def main() -> None:
    """Compute the days' tables and write them, one folder each."""
    parser = argparse.ArgumentParser(description="CSV archive → tables of stations, zones, cells and outages")
    parser.add_argument("--archive", required=True, help="folder or address of the day files")
    parser.add_argument("--days", required=True, help="2024-11-07..2024-11-10, or one day")
    parser.add_argument("--into", required=True, help="folder or address that gets a folder for each table")
    parser.add_argument("--timezone", default="Europe/Paris", help="the feed's time zone (default: Europe/Paris)")
    parser.add_argument("--sql", action="store_true", help="by the SQL files instead of the DataFrame API")
    arguments = parser.parse_args()
    spark = (
        SparkSession.builder.appName("velib-statistics")
        .config(TIME_ZONE, "UTC")
        .config("spark.sql.sources.partitionOverwriteMode", "dynamic")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("WARN")
    try:
        days = days_from_text(arguments.days, arguments.timezone)
        spells = day_spells_at(spark, arguments.archive, days)
        way = twins if arguments.sql else tables
        with way.kept_statistics(spells, days) as found:
            for name, table in found.items():
                folder = f"{arguments.into.rstrip('/')}/{name}"
                table.repartition("day").write.partitionBy("day").mode("overwrite").parquet(folder)
                print(f"{name}: {folder}")
    except VelibError as error:
        sys.exit(f"batch_statistics: {error}")


if __name__ == "__main__":
    main()

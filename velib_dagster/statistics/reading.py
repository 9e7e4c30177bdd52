"""The spells of some days as a Spark DataFrame, with the last ones of the day before that reach the first day's start.

From the archive of a platform only committed bytes are read, so that no half row is seen while a writer appends. A
copy of an archive elsewhere (object storage) is read whole by Spark. Nothing is computed here.
"""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation

from velib_dagster.archive.commit import COMMIT_FILE
from velib_dagster.archive.reader import spells_table
from velib_dagster.statistics.days import Days
from velib_dagster.statistics.errors import StatisticsError
from velib_dagster.statistics.schemas import SPELLS


def day_spells_table(folder: Path, days: Days) -> pa.Table:
    """Committed spells of the days, and those of the day before that reach the first day's start; none on empty days.

    Raises:
        EmptyArchiveError: the archive has no row yet.
        ArchiveError: a malformed row, or a day file that was changed.
    """
    spells = spells_table(folder, (days.first - timedelta(days=1), days.last))
    return spells.filter(pc.greater_equal(spells["until"], pa.scalar(days.start, spells.schema.field("until").type)))


def day_spells(spark: SparkSession, folder: Path, days: Days) -> DataFrame:
    """The same as a DataFrame with the types of the archive.

    Raises:
        EmptyArchiveError: the archive has no row yet.
        ArchiveError: a malformed row, or a day file that was changed.
    """
    return spells_frame(spark, day_spells_table(folder, days))


def spells_frame(spark: SparkSession, spells: pa.Table) -> DataFrame:
    """Spells of the archive's schema in Spark.

    Checkpointed, since Spark's optimizer evaluates projections of a local table itself, row by row, for each query
    again: a recorded day took minutes. In as many partitions as a shuffle gives where that is a number: Spark would
    make one of each 10,000 rows, and a shuffle of so many costs more than its rows.
    """
    frame, partitions = spark.createDataFrame(spells, SPELLS), spark.conf.get("spark.sql.shuffle.partitions") or ""
    return (frame.coalesce(int(partitions)) if partitions.isdigit() else frame).localCheckpoint()


def day_spells_at(spark: SparkSession, archive: str, days: Days) -> DataFrame:
    """The same from any place Spark can read: a folder, s3a://…, abfss://….

    A platform's own archive (a local folder with its commit file) is read as by `day_spells`; elsewhere day files are
    taken as whole, so copy them while nothing writes, or leave out today's.

    Raises:
        StatisticsError: there is no file for any of these days.
        ArchiveError: as `day_spells`. A malformed row elsewhere fails the query that reads it.
    """
    local = Path(archive.removeprefix("file://"))
    if (local / COMMIT_FILE).is_file():
        return day_spells(spark, local, days)
    wanted = ",".join(day.isoformat() for day in Days(days.first - timedelta(days=1), days.last))
    try:
        found = spark.read.csv(
            f"{archive.rstrip('/')}/{{{wanted}}}.csv",
            schema=SPELLS,
            header=True,
            enforceSchema=False,
            mode="FAILFAST",
            multiLine=True,
            escape='"',
        )
    except AnalysisException as error:
        if error.getCondition() != "PATH_NOT_FOUND":
            raise
        msg = f"{archive} has no file for {days}: expected {days.first}.csv and the like"
        raise StatisticsError(msg) from error
    return found.select(*(_present(field.name, nullable=field.nullable) for field in SPELLS.fields)).where(
        F.col("until") >= F.lit(days.start)
    )


def _present(name: str, *, nullable: bool) -> "F.Column":
    """The column; a value that is missing where there must be one fails the query."""
    column = F.col(name)
    if nullable:
        return column
    kind = SPELLS[name].dataType
    return F.coalesce(column, F.raise_error(F.lit(f"a row of the archive has no {name}")).cast(kind)).alias(name)

"""Columns of the store as Spark types, and a frame brought to a table's columns.

No query here: what a column means stands in `store/day_columns.py`.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from velib_dagster.events.records import Column, Spell, columns

_TYPES: Final[dict[type, DataType]] = {
    str: StringType(),
    int: LongType(),
    float: DoubleType(),
    bool: BooleanType(),
    date: DateType(),
    datetime: TimestampType(),
}


def schema_of(table: Sequence[Column]) -> StructType:
    """The Spark schema of a table; whole numbers are 64 bits wide, time stamps are instants."""
    return StructType([StructField(column.name, _TYPES[column.type], column.nullable) for column in table])


SPELLS: Final = schema_of(columns(Spell))
"""Spark schema of the archive."""


_ARROW: Final[dict[type, pa.DataType]] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    date: pa.date32(),
    datetime: pa.timestamp("us", tz="UTC"),
}


def empty_table(table: Sequence[Column]) -> pa.Table:
    """An Arrow table without rows, as Spark would give it."""
    return pa.schema([pa.field(column.name, _ARROW[column.type]) for column in table]).empty_table()


def conforming(frame: DataFrame, table: Sequence[Column]) -> DataFrame:
    """The frame with exactly the table's columns, in its order and types."""
    return frame.select(*(F.col(column.name).cast(_TYPES[column.type]).alias(column.name) for column in table))

"""Spark schemas of the topics, derived from the records' one definition.

No query belongs here (`windows.py`); a new field of a record appears here by itself.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from velib_dagster.events.records import columns

_TYPES: Final[dict[type, type[DataType]]] = {
    str: StringType,
    int: LongType,
    float: DoubleType,
    bool: BooleanType,
    datetime: TimestampType,
}


def schema_of(record: type[msgspec.Struct]) -> StructType:
    """The Spark schema of a flat record; time stamps are instants, whole numbers 64 bits wide."""
    return StructType(
        [StructField(column.name, _spark_type(column.type), column.nullable) for column in columns(record)]
    )


def _spark_type(plain: type) -> DataType:
    if issubclass(plain, StrEnum):
        return StringType()
    return _TYPES[plain]()

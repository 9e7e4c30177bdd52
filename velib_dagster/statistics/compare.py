"""Whether two results are equal: the same rows by key, the same values, numbers within 1e-9; if not, what differs.

Arrow tables of any make (Spark, DuckDB, PostgreSQL). Called by asset checks and tests.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

TOLERANCE: Final = 1e-9
"""Numbers are equal within this share of their size, and within this much near 0."""


def differences(
    first: pa.Table,
    second: pa.Table,
    key: Sequence[str],
    columns: Sequence[str] | None = None,
    names: tuple[str, str] = ("first", "second"),
    at_most: int = 10,
) -> list[str]:
    """What differs, one sentence each, `at_most` and how many more; empty where the results are equal.

    `key` tells the rows apart; `columns` are compared, all of the first result unless given. NULL equals NULL only.
    """
    compared = [name for name in (columns or first.column_names) if name not in key]
    frames = []
    for table, name in zip((first, second), names, strict=True):
        missing = [column for column in (*key, *compared) if column not in table.column_names]
        if missing:
            return [f"{name} has no column {', '.join(missing)}"]
        frames.append(_frame(table, key, compared))
    found = list(_different(frames[0], frames[1], key, compared, names))
    rest = len(found) - at_most
    return found[:at_most] + ([f"and {rest} more"] if rest > 0 else [])


def _frame(table: pa.Table, key: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """Rows by key; instants without zone, so that UTC by any name is the same."""
    chosen = table.select([*key, *columns])
    for number, field in enumerate(chosen.schema):
        if pa.types.is_timestamp(field.type):
            instants = chosen.column(number).cast(pa.timestamp("us", tz=field.type.tz)).cast(pa.int64())
            chosen = chosen.set_column(number, field.name, instants.cast(pa.timestamp("us")))
        elif pa.types.is_decimal(field.type):  # DuckDB's sums of whole numbers
            plain = pa.int64() if field.type.scale == 0 else pa.float64()
            chosen = chosen.set_column(number, field.name, chosen.column(number).cast(plain))
    frame: pd.DataFrame = chosen.to_pandas(types_mapper=_nullable)
    return frame.set_index(list(key)).sort_index()


def _nullable(kind: pa.DataType) -> object:
    """Whole numbers with NULLs stay whole."""
    if pa.types.is_integer(kind):
        return pd.Int64Dtype()
    return pd.Float64Dtype() if pa.types.is_floating(kind) else None


def _different(
    first: pd.DataFrame, second: pd.DataFrame, key: Sequence[str], columns: Sequence[str], names: tuple[str, str]
) -> Iterator[str]:
    for frame, name in zip((first, second), names, strict=True):
        for row in frame.index[frame.index.duplicated()].unique():
            yield f"{name} has more than one row for {_words(key, row)}"
    if first.index.has_duplicates or second.index.has_duplicates:
        return
    for row in first.index.difference(second.index):
        yield f"{names[1]} has no row for {_words(key, row)}"
    for row in second.index.difference(first.index):
        yield f"{names[0]} has no row for {_words(key, row)}"
    both = first.index.intersection(second.index)
    first, second = first.loc[both], second.loc[both]
    for column in columns:
        unequal = ~_equal(first[column], second[column])
        for row, left, right in zip(
            both[unequal], first.loc[unequal, column], second.loc[unequal, column], strict=True
        ):
            yield f"{_words(key, row)}: {column} is {left} in {names[0]}, {right} in {names[1]}"


def _equal(left: pd.Series, right: pd.Series) -> NDArray[np.bool_]:
    nothing = left.isna().to_numpy(dtype=bool) & right.isna().to_numpy(dtype=bool)
    something = left.notna().to_numpy(dtype=bool) & right.notna().to_numpy(dtype=bool)
    same: NDArray[np.bool_]
    if pd.api.types.is_numeric_dtype(left) and not pd.api.types.is_bool_dtype(left):
        a, b = (side.to_numpy(dtype=float, na_value=np.nan) for side in (left, right))
        same = np.abs(a - b) <= TOLERANCE * np.maximum(1.0, np.maximum(np.abs(a), np.abs(b)))
    else:
        same = np.asarray(left.astype(object) == right.astype(object), dtype=bool)
    return nothing | (something & same)


def _words(key: Sequence[str], row: object) -> str:
    values = row if isinstance(row, tuple) else (row,)
    return ", ".join(f"{name} {value}" for name, value in zip(key, values, strict=True))

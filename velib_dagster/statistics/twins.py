"""All tables of the statistics from one frame of spells, by Spark SQL: the twins of `tables.py`.

The queries are the files in `sql/`, one a table, for an analyst to read and change; here they are only run.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.resources import files

from pyspark.sql import DataFrame

from velib_dagster.statistics.days import Days
from velib_dagster.statistics.schemas import conforming
from velib_dagster.statistics.session import check_session
from velib_dagster.statistics.tables import TABLES


def statistics(spells: DataFrame, days: Days, names: Collection[str] = tuple(TABLES)) -> dict[str, DataFrame]:
    """The named tables of the days, not computed yet, as `tables.statistics` gives them.

    Raises:
        StatisticsError: the session's time zone is not UTC.
    """
    ready = _prepared(spells, days)
    return _tables(ready, _runs(ready), days.timezone, names)


@contextmanager
def kept_statistics(
    spells: DataFrame, days: Days, names: Collection[str] = tuple(TABLES)
) -> Iterator[dict[str, DataFrame]]:
    """The same for whoever wants several tables: prepared spells and runs are computed once, and kept until the end of
    the block.

    They are checkpoints rather than a cache, which takes 2.5 times as long: Spark would plan each table from the
    archive, and keep its own compressed columns.

    Raises:
        StatisticsError: the session's time zone is not UTC.
    """
    ready = _prepared(spells, days).localCheckpoint()
    yield _tables(ready, _runs(ready).localCheckpoint(), days.timezone, names)


def _prepared(spells: DataFrame, days: Days) -> DataFrame:
    check_session(spells)
    return _run("spells", {"timezone": days.timezone, "first_day": days.first, "last_day": days.last}, spells=spells)


def _runs(ready: DataFrame) -> DataFrame:
    return _run("runs", {}, spells=ready)


def _tables(ready: DataFrame, runs: DataFrame, timezone: str, names: Collection[str]) -> dict[str, DataFrame]:
    return {
        name: conforming(_run(name, {"timezone": timezone}, spells=ready, runs=runs), TABLES[name].columns)
        for name in names
    }


def query(name: str) -> str:
    """The text of one query: `spells`, `runs`, or a table's name."""
    return (files("velib_dagster.statistics") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def _run(name: str, values: dict[str, object], **frames: DataFrame) -> DataFrame:
    """The query's result; a frame that it doesn't name is left out, and so is a value."""
    text = query(name)
    named = {key: frame for key, frame in frames.items() if f"{{{key}}}" in text}
    session = next(iter(frames.values())).sparkSession
    return session.sql(text, args={key: value for key, value in values.items() if f":{key}" in text}, **named)

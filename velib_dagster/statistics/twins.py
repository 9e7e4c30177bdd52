"""All tables of the statistics from one frame of spells, by Spark SQL: the twins of `tables.py`.

The queries are the files in `sql/`, one a table, for an analyst to read and change; here they are only run.
"""

from importlib.resources import files

from pyspark.sql import DataFrame

from velib_dagster.statistics.days import Days
from velib_dagster.statistics.schemas import conforming
from velib_dagster.statistics.spells import check_session
from velib_dagster.statistics.tables import TABLES, Statistics


def statistics(spells: DataFrame, days: Days) -> Statistics:
    """The tables of the days, as `tables.statistics` gives them.

    Raises:
        StatisticsError: the session's time zone is not UTC.
    """
    check_session(spells)
    bounds = {"timezone": days.timezone, "first_day": days.first, "last_day": days.last}
    ready = _run("spells", bounds, spells=spells)
    runs = _run("runs", {}, spells=ready)
    tables = {
        name: conforming(_run(name, {"timezone": days.timezone}, spells=ready, runs=runs), table.columns)
        for name, table in TABLES.items()
    }
    return Statistics(tables, (ready, runs))


def query(name: str) -> str:
    """The text of one query: `spells`, `runs`, or a table's name."""
    return (files("velib_dagster.statistics") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def _run(name: str, values: dict[str, object], **frames: DataFrame) -> DataFrame:
    """The query's result; a frame that it doesn't name is left out, and so is a value."""
    text = query(name)
    named = {key: frame for key, frame in frames.items() if f"{{{key}}}" in text}
    session = next(iter(frames.values())).sparkSession
    return session.sql(text, args={key: value for key, value in values.items() if f":{key}" in text}, **named)

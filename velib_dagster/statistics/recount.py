"""An independent recount of the tables by DuckDB, for asset checks: its own SQL over the archive's spells.

It shares no expression with the Spark queries and finds its way otherwise: touching spells by a join instead of a
window, joint outages moment by moment instead of by a sweep of runs, episodes by pairing starts with ends.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from typing import Final

import duckdb
import pyarrow as pa

from velib_dagster.statistics.days import Days

COUNTED: Final[Mapping[str, tuple[str, ...]]] = {
    "station_days": (
        "seconds", "seconds_in_service", "seconds_empty", "seconds_full", "seconds_docks_known", "seconds_split_known",
        "seconds_occupancy_known", "bikes_seconds", "mechanical_seconds", "ebike_seconds", "docks_seconds",
        "occupancy_seconds", "bikes_min", "bikes_max", "mechanical_min", "mechanical_max", "ebike_min", "ebike_max",
        "docks_min", "docks_max", "unusable_docks_seconds", "overflow_seconds", "rentals", "returns", "changes",
        "waking_seconds", "waking_changes",
    ),
    "station_hours": (
        "day", "seconds", "seconds_in_service", "seconds_empty", "seconds_full", "bikes_seconds", "docks_seconds",
        "rentals", "returns",
    ),
    "zone_days": (
        "stations", "seconds", "seconds_in_service", "seconds_empty", "seconds_full", "bikes_seconds", "docks_seconds",
        "occupancy_seconds", "bikes_min", "bikes_max", "rentals", "returns", "seconds_covered", "seconds_served",
        "seconds_no_bike", "seconds_no_dock",
    ),
    "episodes": ("day", "until", "seconds", "open_start", "open_end", "zone"),
}  # fmt: skip
"""The columns of each table that are counted again; further columns of a result are its key."""


class Recount:
    """Tables counted again from one Arrow table of spells; made by `recounting`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, timezone: str) -> None:
        self._connection = connection
        self._timezone = timezone

    def table(self, name: str) -> pa.Table:
        """The table's key and the columns that `COUNTED` names."""
        text = _query(name)
        return self._connection.sql(text, params=_named(text, {"timezone": self._timezone})).to_arrow_table()


@contextmanager
def recounting(spells: pa.Table, days: Days) -> Iterator[Recount]:
    """Count the days' spells again, those of the day before that reach the first day's start among them."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("spells", spells)
        values = {"timezone": days.timezone, "first": days.first, "last": days.last}
        for statement in duckdb.extract_statements(_query("spells")):
            connection.execute(statement, _named(statement.query, values))
        yield Recount(connection, days.timezone)


def _query(name: str) -> str:
    return (files("velib_dagster.statistics") / "sql" / "recount" / f"{name}.sql").read_text(encoding="utf-8")


def _named(text: str, values: Mapping[str, object]) -> dict[str, object]:
    """The values that the query names: DuckDB refuses others."""
    return {name: value for name, value in values.items() if f"${name}" in text}

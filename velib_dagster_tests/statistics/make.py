"""Spells as the tests of the statistics need them, and the tables computed in every way there is, held together."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
from pyspark.sql import SparkSession

from velib_dagster.archive.reader import SCHEMA
from velib_dagster.events.records import Spell
from velib_dagster.statistics import tables
from velib_dagster.statistics.compare import differences
from velib_dagster.statistics.days import Days
from velib_dagster.statistics.recount import COUNTED, recounting
from velib_dagster.statistics.schemas import SPELLS, schema_of

DAY = date(2024, 11, 7)
PARIS = ZoneInfo("Europe/Paris")
CUT = timedelta(minutes=10)


def paris(hour: int, minute: int = 0, second: int = 0, *, day: date = DAY, fold: int = 0) -> datetime:
    """An instant by the clocks of Paris; hour 24 is the next midnight."""
    local = datetime(day.year, day.month, day.day, tzinfo=PARIS) + timedelta(days=hour // 24)
    return local.replace(hour=hour % 24, minute=minute, second=second, fold=fold).astimezone(UTC)


def held(code: str, since: datetime, until: datetime, bikes: int = 3, **values: Any) -> list[Spell]:
    """The spells of a station that holds one state: cut at each 10-minute mark, in service unless told otherwise."""
    usual: dict[str, Any] = {
        "station_code": code, "name": f"Station {code}", "zone": "Paris 16e", "cell": "881fb46645fffff",
        "lat": 48.86, "lon": 2.27, "capacity": 30, "bikes": bikes, "mechanical": bikes, "ebike": 0,
        "docks": 30 - bikes, "is_installed": True, "is_renting": True, "is_returning": True, "last_reported": None,
    }  # fmt: skip
    found = []
    while since < until:
        mark = datetime.fromtimestamp((since.timestamp() // 600 + 1) * 600, UTC)
        end = min(mark, until)
        times = {"since": since, "until": end, "seconds": int((end - since).total_seconds())}
        found.append(msgspec.convert(usual | times | values, Spell))
        since = end
    return found


def empty(code: str, since: datetime, until: datetime, **values: Any) -> list[Spell]:
    """A station in service without a bike."""
    return held(code, since, until, 0, **values)


def full(code: str, since: datetime, until: datetime, **values: Any) -> list[Spell]:
    """A station in service without a free dock."""
    return held(code, since, until, 28, **({"docks": 0} | values))


CLOSED: dict[str, Any] = {"is_installed": True, "is_renting": False, "is_returning": False}


def arrow(spells: Iterable[Spell]) -> pa.Table:
    """Spells as the archive's reader gives them."""
    return pa.Table.from_pylist([msgspec.structs.asdict(spell) for spell in spells], schema=SCHEMA)


def computed(
    spark: SparkSession, spells: Sequence[Spell] | pa.Table, table: str, days: Days | None = None
) -> list[dict[str, Any]]:
    """The table's rows by key, by DataFrames; the recount gives the same. SQL is held to it in test_equal."""
    days = days or Days.one(DAY)
    wanted = tables.TABLES[table]
    given = spells if isinstance(spells, pa.Table) else arrow(spells)
    frame = spark.createDataFrame(given, SPELLS)
    with tables.kept_statistics(frame, days, [table]) as ours:
        schema = ours[table].schema
        found = ours[table].toArrow()
    assert [(f.name, f.dataType) for f in schema] == [(f.name, f.dataType) for f in schema_of(wanted.columns)]
    if table in COUNTED:
        with recounting(given, days) as recount:
            again = recount.table(table)
        assert differences(found, again, wanted.key, COUNTED[table], names=("DataFrame", "recount")) == []
    return sorted(found.to_pylist(), key=lambda row: tuple(row[name] for name in wanted.key))

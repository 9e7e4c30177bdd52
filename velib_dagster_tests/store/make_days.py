"""Hand-made rows of the statistics' tables: what a test doesn't name is 0, None or the usual station."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from velib_dagster.store.days import COLUMNS, replace_day
from velib_dagster.store.upsert import Connection

PARIS = ZoneInfo("Europe/Paris")
DAY = date(2024, 11, 6)
NEXT = date(2024, 11, 7)
Row = Sequence[object]


def row(table: str, **values: object) -> Row:
    usual: dict[str, object] = {
        column.name: None if column.nullable else {str: "", float: 0.0, bool: False}.get(column.type, 0)
        for column in COLUMNS[table]
    }
    assert values.keys() <= usual.keys()
    return [(usual | values)[column.name] for column in COLUMNS[table]]


def station_day(day: date = DAY, code: str = "16107", **values: object) -> Row:
    usual: dict[str, object] = {"name": "Benjamin Godard", "zone": "Paris 16e", "cell": "881fb46645fffff"}
    usual |= {"lat": 48.865983, "lon": 2.275725, "capacity": 35}
    return row("station_days", day=day, station_code=code, **(usual | values))


def hour_of(table: str, day: date, hour: int, **values: object) -> Row:
    start = datetime(day.year, day.month, day.day, hour, tzinfo=PARIS)
    return row(table, day=day, hour=hour, hour_start=start, weekend=day.isoweekday() > 5, **values)


def zone_day(day: date = DAY, zone: str = "Paris 16e", **values: object) -> Row:
    return row("zone_days", day=day, zone=zone, **values)


def episode(
    kind: str, since: datetime, until: datetime, *, opens: str = "", code: str = "16107", **values: object
) -> Row:
    """`opens` holds `<` for an open start and `>` for an open end; the day is that of `since` in Paris."""
    usual: dict[str, object] = {"zone": "Paris 16e", "day": since.astimezone(PARIS).date()}
    usual |= {"seconds": int((until - since).total_seconds()), "open_start": "<" in opens, "open_end": ">" in opens}
    return row("episodes", kind=kind, station_code=code, since=since, until=until, **(usual | values))


def at(day: date, hour: int, minute: int = 0) -> datetime:
    """A time of Paris; hour 24 is the next midnight."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=PARIS)
    return (midnight + timedelta(days=1)) if hour == 24 else midnight.replace(hour=hour, minute=minute)


def write(
    connection: Connection, asset: str, day: date = DAY, *, day_seconds: int = 86_400, network_seconds: int = 86_000,
    **tables: Iterable[Row],
) -> dict[str, int]:  # fmt: skip
    given = {"station_stats": ("station_days", "station_hours"), "zone_stats": ("zone_days", "zone_hours", "cell_days")}
    return replace_day(
        connection,
        asset,
        day,
        {table: tables.get(table, ()) for table in given.get(asset, ("episodes",))},
        day_seconds=day_seconds,
        network_seconds=network_seconds,
        spells=10,
        archived_bytes=1000,
    )

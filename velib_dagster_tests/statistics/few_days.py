"""An archive of a few stations and days, by hand: what a refresh of statistics is tried on."""

from datetime import UTC, date, datetime, timedelta

import pyarrow.compute as pc
import pytest

from velib_dagster.archive.writer import archive_topic
from velib_dagster.events.records import Spell
from velib_dagster.settings import Settings
from velib_dagster.statistics import proof
from velib_dagster.store.connect import connect
from velib_dagster_tests.archive.parts import TopicInMemory, spell

DAY = date(2024, 11, 7)
NOON = datetime(2024, 11, 7, 11, tzinfo=UTC)


def ten_minutes(start: datetime, code: str = "16107", bikes: int = 3, **changes: object) -> Spell:
    values: dict[str, object] = {"bikes": bikes, "mechanical": bikes, "ebike": 0, "docks": 20 - bikes, "capacity": 20}
    return spell(start, 600, station_code=code, **(values | changes))


def archive(settings: Settings, *spells: Spell) -> None:
    settings.archive.mkdir(parents=True, exist_ok=True)
    archive_topic(settings.archive, TopicInMemory(spells), settings.feed.timezone)


def at_noon() -> list[Spell]:
    minutes = [NOON + timedelta(minutes=10 * n) for n in range(4)]
    spells = [ten_minutes(at, bikes=bikes) for at, bikes in zip(minutes, (3, 0, 0, 5), strict=True)]
    spells += [ten_minutes(at, "8026", bikes=20) for at in minutes]
    return sorted(spells, key=lambda one: one.until)


def rows(settings: Settings, statement: str) -> list[tuple[object, ...]]:
    with connect(settings) as connection:
        return connection.execute(statement.encode()).fetchall()


def compute_wrongly(monkeypatch: pytest.MonkeyPatch, day: date) -> None:
    """The DataFrame API's `bikes_seconds` of each station are 1 on that day."""
    right = proof.compute

    def wrong(*arguments: object) -> object:
        found = right(*arguments)  # type: ignore[arg-type]
        days = found["station_days"]
        values = pc.if_else(pc.equal(days["day"], day), 1, days["bikes_seconds"])
        less = days.set_column(days.column_names.index("bikes_seconds"), "bikes_seconds", values)
        return found | {"station_days": less}

    monkeypatch.setattr(proof, "compute", wrong)


def archive_four_days(settings: Settings) -> list[date]:
    """The day, a day without spells, and two more; the last ones' spells touch at midnight."""
    midnight = datetime(2024, 11, 9, 23, tzinfo=UTC)
    later = [ten_minutes(midnight + timedelta(minutes=10 * n), bikes=bikes) for n, bikes in enumerate((0, 0, 4), -1)]
    archive(settings, *at_noon(), *later)
    return [DAY + timedelta(days=n) for n in range(4)]

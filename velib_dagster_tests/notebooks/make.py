"""An archive CSV with all that a notebook must stand: gaps, unknown values, no service, midnights, a 25-hour day."""

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

from velib_dagster.archive.rows import HEADER_LINE, csv_line
from velib_dagster.events.records import Spell
from velib_dagster.statistics.days import Days

DAYS = Days(date(2024, 10, 26), date(2024, 10, 28))
"""Saturday, Sunday with its 25 hours, Monday."""
CODES = ("1001", "1002", "5121", "5122", "7101_relais", "20036", "20117", "20119", "21310", "40123", "40124", "990")
_CUT = timedelta(minutes=10)


def _spell(code: str, since: datetime, until: datetime, **values: Any) -> Spell:
    number = CODES.index(code)
    usual: dict[str, Any] = {
        "station_code": code,
        "name": f'Station "{code}", rue {number}',
        "zone": ("Paris 1er", "Paris 5e", "Ivry, près l'eau")[number % 3],
        "cell": f"cell{number % 5}",
        "lat": 48.8 + number / 1000,
        "lon": 2.3 + number / 500,
        "capacity": 20,
        "since": since,
        "until": until,
        "seconds": int((until - since).total_seconds()),
        "bikes": 5,
        "mechanical": 3,
        "ebike": 2,
        "docks": 14,
        "is_installed": True,
        "is_renting": True,
        "is_returning": True,
        "last_reported": None,
    }
    return Spell(**(usual | values))


def _values(random_: random.Random, code: str) -> dict[str, Any]:
    """A state; some codes have habits of their own."""
    mechanical, ebike = random_.choice([0, 0, 1, 4, 11]), random_.choice([0, 0, 2, 6])
    values: dict[str, Any] = {"bikes": mechanical + ebike, "mechanical": mechanical, "ebike": ebike}
    values["docks"] = random_.choice([0, 0, 2, max(20 - mechanical - ebike, 0)])
    if random_.random() < 0.1:
        values |= {"mechanical": None} if random_.random() < 0.5 else {"mechanical": None, "ebike": None}
    if random_.random() < 0.1:
        values["docks"] = None
    if random_.random() < 0.1:
        values["capacity"] = random_.choice([None, 0, 17])
    if random_.random() < 0.1:
        values[random_.choice(["is_installed", "is_renting", "is_returning"])] = False
    if code == "5122":  # well filled: neither empty nor full
        values |= {"bikes": 8 + mechanical, "mechanical": 8 + mechanical, "ebike": 0, "docks": 3}
    if code == "20036":  # empty for hours
        values = {"bikes": 0, "mechanical": 0, "ebike": 0, "docks": 20}
    if code == "21310":  # full for hours, one dock broken
        values = {"bikes": 19, "mechanical": 17, "ebike": 2, "docks": 0}
    if code == "20117":  # as many bikes as docks, at times with a free one
        values |= {"bikes": 20, "mechanical": 20, "ebike": 0, "docks": random_.choice([0, 0, 2])}
    if code == "40123":  # never in service
        values |= {"is_renting": False}
    return values


def spells(seed: int = 1) -> list[Spell]:
    """Three days of twelve stations, in the order of an archive: by end."""
    random_ = random.Random(seed)
    found = []
    for code in CODES:
        at = datetime(2024, 10, 25, 22, tzinfo=UTC)
        values = _values(random_, code)
        while at < datetime(2024, 10, 28, 23, tzinfo=UTC):
            mark = datetime.fromtimestamp((at.timestamp() // 600 + 1) * 600, UTC)
            until = min(mark, at + timedelta(seconds=random_.choice([61, 300, 600, 600])))
            if random_.random() < 0.2:
                values = _values(random_, code)
            if random_.random() < 0.98:
                found.append(_spell(code, at, until, **values))
            else:  # a hole, of up to six hours
                until = mark + random_.choice([0, 1, 36]) * _CUT
            at = until
    return sorted(found, key=lambda spell: (spell.until, spell.station_code))


def csv(rows: list[Spell]) -> bytes:
    """What `velib export` writes of them."""
    return HEADER_LINE + "".join(csv_line(spell) for spell in rows).encode()

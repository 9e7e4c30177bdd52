"""A small network that fills and empties, as the archive's spells; pure numpy, the same for the same seed."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa

from velib_dagster.archive.reader import SCHEMA
from velib_dagster.statistics.days import day_start

STEP = 300
FIRST = date(2024, 11, 4)
CAPACITY = 12
QUIET = "9009"
"""A station that is never full nor empty."""


def code_of(number: int) -> str:
    return QUIET if number == 0 else f"{1 + number % 3}{number:03}"


def network(
    stations: int = 16, days: int = 5, seed: int = 1, hours: tuple[int, int] = (8, 18), codes: Iterable[int] = ()
) -> pa.Table:
    """Spells of 300 s each, by day from 8 to 18 h: free docks fall or rise for a while, so that the way they went tells
    more than where they are.

    `codes`: only the stations of these numbers.
    """
    drawn = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    wanted = set(codes) or set(range(stations))
    for number in range(stations):
        docks, way = int(drawn.integers(2, 10)), 1
        for day in range(days):
            midnight = day_start(FIRST + timedelta(days=day), "Europe/Paris")
            for step in range((hours[1] - hours[0]) * 3600 // STEP):
                way = -way if drawn.random() < 0.12 else way
                docks = min(max(docks + way * int(drawn.choice([0, 0, 1, 2])), 0), CAPACITY)
                if number == 0:
                    docks = min(max(docks, 3), 9)
                if number in wanted:
                    since = midnight + timedelta(hours=hours[0], seconds=step * STEP)
                    rows.append(spell(code_of(number), since, docks, number))
    return table(rows)


def spell(code: str, since: datetime, docks: int, number: int = 0, **changes: object) -> dict[str, object]:
    """One spell of 300 s as a row of the archive."""
    bikes = CAPACITY - docks
    return {
        "station_code": code, "name": f"Station {code}", "zone": f"Paris {1 + number % 3}e", "cell": "881fb46645fffff",
        "lat": 48.86 + 0.003 * (number // 4), "lon": 2.3 + 0.003 * (number % 4), "capacity": CAPACITY,
        "since": since.astimezone(UTC), "until": since.astimezone(UTC) + timedelta(seconds=STEP), "seconds": STEP,
        "bikes": bikes, "mechanical": bikes, "ebike": 0, "docks": docks, "is_installed": True, "is_renting": True,
        "is_returning": True, "last_reported": None, **changes,
    }  # fmt: skip


def table(rows: Iterable[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)

"""Spells, states and polls as tests need them: seeded, with every kind of gap a feed can have."""

import random
from datetime import UTC, datetime, timedelta

import msgspec

from velib_dagster.events.records import LastUsable, PollRecord, Spell, StationState
from velib_dagster.feed.reports import PollKind

START = datetime(2024, 11, 7, 7, tzinfo=UTC)


def spells(stations: int, minutes: int, seed: int = 1) -> list[Spell]:
    """What a producer sends: in the order of their ends, cut at each 10-minute mark, some time unknown."""
    random_ = random.Random(seed)
    found = []
    for number in range(stations):
        capacity = random_.choice([None, 0, 20, 33, 35, 60])
        split = random_.random() < 0.8
        docks_known = random_.random() < 0.8
        at = START
        while at < START + timedelta(minutes=minutes):
            mark = START + timedelta(minutes=10 * (1 + (at - START) // timedelta(minutes=10)))
            until = min(mark, at + timedelta(seconds=random_.choice([60, 60, 120, 300, 600])))
            mechanical, ebike = random_.choice([0, 0, 1, 7, 12]), random_.choice([0, 0, 2, 9])
            if random_.random() < 0.9:
                found.append(
                    Spell(
                        station_code=f"{1000 + number}",
                        name=f"Station {number}",
                        zone=f"Zone {number % 5}",
                        cell=f"cell{number % 7}",
                        lat=48.8,
                        lon=2.3,
                        capacity=capacity,
                        since=at,
                        until=until,
                        seconds=int((until - at).total_seconds()),
                        bikes=mechanical + ebike,
                        mechanical=mechanical if split else None,
                        ebike=ebike if split else random_.choice([None, ebike]),
                        docks=random_.choice([0, 0, 5, 18]) if docks_known else None,
                        is_installed=random_.random() < 0.95,
                        is_renting=random_.random() < 0.9,
                        is_returning=random_.random() < 0.95,
                        last_reported=None,
                    )
                )
            at = until
    return sorted(found, key=lambda spell: (spell.until, spell.station_code))


def state(code: str, since: datetime, **values: object) -> StationState:
    """A station in service with three bikes, unless told otherwise."""
    usual: dict[str, object] = {
        "station_code": code, "name": f"Station {code}", "zone": "Zone 1", "cell": "cell1", "lat": 48.8, "lon": 2.3,
        "capacity": 35, "since": since, "bikes": 3, "mechanical": 1, "ebike": 2, "docks": 31, "is_installed": True,
        "is_renting": True, "is_returning": True, "last_reported": None,
    }  # fmt: skip
    return msgspec.convert(usual | values, StationState)


def poll(time: datetime, **values: object) -> PollRecord:
    """A usable poll named after its time."""
    usual: dict[str, object] = {
        "snapshot": f"{time:%Y%m%dT%H%M%SZ}-0", "time": time, "kind": PollKind.USABLE, "reason": "", "rows": 1,
        "total_count": 1, "reports": 1, "refused": {}, "repaired": 0, "changed": 1, "unchanged": 0, "stale": 0,
        "spells": 1, "totals": None, "clock_offset_seconds": None, "last_usable": LastUsable(time=time, reports=1),
        "last_cut": None, "absent": {},
    }  # fmt: skip
    return PollRecord(**(usual | values))  # type: ignore[arg-type]

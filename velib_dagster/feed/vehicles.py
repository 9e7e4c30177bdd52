"""Which of a station's vehicles are bikes, and which of these have a motor, however a GBFS system says it.

Knows `vehicle_types` and the fields of station_status that count by type; called by `gbfs.py` for each row.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from velib_dagster.feed.values import Mends, RowRefusedError, bikes_of, code_of, count_of

BICYCLES: Final = frozenset({"bicycle", "cargo_bicycle"})
_MECHANICAL: Final = frozenset({"mechanical", "classic", "smart", "human", "regular", "standard", "bike", "bikes"})
_ELECTRIC: Final = frozenset({"ebike", "ebikes", "electric", "electricassist", "electricbike", "electrical", "pedelec"})
_NO_LETTER: Final = re.compile(r"[^a-z]+")
_PROPULSION: Final = {"human": "mechanical", "electric_assist": "ebike", "electric": "ebike"}
_OTHER: Final = "other"
_VEHICLE: Final = "vehicle"
_UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class VehicleTypes:
    """What vehicle_types says: for each id mechanical, ebike or other where it is a bicycle, else its form factor.

    `vehicles` are the form factors that are no bicycles, by id.
    """

    bikes: dict[str, str] = field(default_factory=dict)
    vehicles: dict[str, str] = field(default_factory=dict)

    @property
    def without_bikes(self) -> bool:
        """Whether the system says that it has vehicles, and no bicycle among them."""
        return bool(self.vehicles) and not self.bikes


NO_TYPES: Final = VehicleTypes()


def types_of(rows: object) -> VehicleTypes:
    """What the rows of vehicle_types say; a row that says nothing is passed by."""
    bikes: dict[str, str] = {}
    vehicles: dict[str, str] = {}
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict):
            continue
        try:
            type_id = code_of(row.get("vehicle_type_id"))
        except RowRefusedError:
            continue
        form = str(row.get("form_factor") or "").strip().lower()
        if type_id is None or not form:
            continue
        if form in BICYCLES:
            bikes[type_id] = _PROPULSION.get(str(row.get("propulsion_type") or "").strip().lower(), _OTHER)
        else:
            vehicles[type_id] = form
    return VehicleTypes(bikes, vehicles)


@dataclass(frozen=True)
class Bikes:
    """The bikes of one station, and how many of them are mechanical or electric where the feed says so."""

    bikes: int
    mechanical: int | None
    ebike: int | None


def bikes_at(
    totals: tuple[object, ...],
    by_name: object,
    ebikes: object,
    by_type: object,
    types: VehicleTypes,
    mends: Mends,
) -> Bikes:
    """The bikes of a station: `totals` are the fields that count all, the others what counts by kind.

    Where vehicle_types is known, vehicles that are no bicycles are not counted: they are taken off a total that has
    them in. A split holds only where it adds up to the bikes.

    Raises:
        RowRefusedError: nothing says how many there are.
    """
    counts = _by_kind(by_type, types, mends)
    total = _total(totals, counts, types, mends)
    parts = (_named(by_name, mends), _with_ebikes(total, ebikes, mends), _bicycles(counts))
    given = [part for part in parts if part]
    for part in given:
        if sum(part.values()) == total and not types.without_bikes:
            return Bikes(total, *_pair(part))
    if given and not types.without_bikes:
        mends["split_disagrees"] += 1
    return Bikes(total, None, None)


def _by_kind(by_type: object, types: VehicleTypes, mends: Mends) -> Counter[str] | None:
    """Vehicles by mechanical, ebike, other bicycle, vehicle (no bicycle), unknown type; None where it isn't told."""
    if not isinstance(by_type, list) or types == NO_TYPES:
        return None
    found: Counter[str] = Counter()
    own: Mends = Counter()
    for entry in by_type:
        if not isinstance(entry, dict):
            return None
        count = count_of(entry.get("count"), "vehicle_types_available", own)
        try:
            type_id = code_of(entry.get("vehicle_type_id"))
        except RowRefusedError:
            type_id = None
        if count is None:
            mends.update(own)
            return None
        kind = types.bikes.get(type_id or "")
        found[kind or (_VEHICLE if type_id in types.vehicles else _UNKNOWN)] += count
    return found


def _total(totals: tuple[object, ...], counts: Counter[str] | None, types: VehicleTypes, mends: Mends) -> int:
    """How many bikes there are, vehicles that are none left out."""
    if counts is None and not types.vehicles:
        return bikes_of(totals, mends)
    own: Mends = Counter()
    given: int | None = None
    try:
        given = bikes_of(totals, own)
    except RowRefusedError:
        if not counts or counts[_UNKNOWN]:
            raise
    mends.update(own)
    if types.without_bikes:
        if given:
            mends["not_bikes"] += given
        return 0
    if not counts or counts[_UNKNOWN]:
        return given or 0
    bikes = sum(_bicycles(counts).values())
    if given == bikes or (given is not None and not counts[_VEHICLE]):
        return given
    mends["not_bikes"] += counts[_VEHICLE]
    return bikes


def _named(by_name: object, mends: Mends) -> dict[str, int]:
    """Bikes by mechanical, ebike and other, of `{"ebike": 2}` or a list of such; empty where unread."""
    found: dict[str, int] = {}
    for part in by_name if isinstance(by_name, list) else [by_name]:
        if not isinstance(part, dict):
            return {}
        for name, value in part.items():
            count = count_of(value, "num_bikes_available_types", mends)
            if count is None:
                if value is None:
                    continue
                return {}
            kind = _kind(str(name))
            if kind is not None:
                found[kind] = found.get(kind, 0) + count
    return found


@lru_cache(maxsize=100)
def _kind(name: str) -> str | None:
    """Which kind of bikes a part is named after, None for the sum of all."""
    letters = _NO_LETTER.sub("", name.lower())
    if letters == "total":
        return None
    return "ebike" if letters in _ELECTRIC else "mechanical" if letters in _MECHANICAL else _OTHER


def _with_ebikes(total: int, ebikes: object, mends: Mends) -> dict[str, int]:
    """The split where only the e-bikes are counted: the rest is mechanical."""
    count = count_of(ebikes, "num_ebikes_available", mends)
    return {} if count is None else {"ebike": count, "mechanical": max(total - count, 0)}


def _bicycles(counts: Counter[str] | None) -> dict[str, int]:
    return {kind: count for kind, count in (counts or {}).items() if kind in {"mechanical", "ebike", _OTHER}}


def _pair(part: dict[str, int]) -> tuple[int | None, int | None]:
    """Mechanical bikes and e-bikes; a kind that isn't named has none, unless there are bikes of an unknown kind."""
    unnamed = None if part.get(_OTHER) else 0
    return part.get("mechanical", unnamed), part.get("ebike", unnamed)

"""GBFS 1 to 3: station_status joined with station_information by station_id, to reports.

Knows GBFS's fields, Vélib's own among them, and nothing of HTTP; called by `decode.py`. Bikes by type are read in
`vehicles.py`, the discovery document in `discovery.py`.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from velib_dagster.feed.answers import STATION_INFORMATION, STATION_STATUS
from velib_dagster.feed.discovery import LANGUAGES
from velib_dagster.feed.reports import NOTHING, DecodedPoll, Refusal, Report
from velib_dagster.feed.rows import decode_rows, identified, keys_of, unwrapped
from velib_dagster.feed.values import (
    Mends,
    RowRefusedError,
    code_of,
    count_of,
    flags_of,
    place_of,
    text_of,
    time_of,
)
from velib_dagster.feed.vehicles import NO_TYPES, VehicleTypes, bikes_at

IDENTITY: Final = frozenset({"station_id", "stationCode"})
"""Keys by which a row is one of GBFS, wrapped in another object or not."""


class IdentifiedRow(msgspec.Struct, kw_only=True):
    """What a row of either document must have."""

    station_id: object = None


class StatusRow(msgspec.Struct, kw_only=True):
    """One row of station_status as it came; camel case is Vélib's own spelling, vehicles are GBFS 3's."""

    station_id: object = None
    station_code: object = msgspec.field(default=UNSET, name="stationCode")
    num_bikes_available: object = None
    num_bikes_available_velib: object = msgspec.field(default=None, name="numBikesAvailable")
    num_vehicles_available: object = None
    num_bikes_available_types: object = None
    num_ebikes_available: object = None
    vehicle_types_available: object = None
    num_docks_available: object = None
    num_docks_available_velib: object = msgspec.field(default=None, name="numDocksAvailable")
    is_installed: object = None
    is_renting: object = None
    is_returning: object = None
    last_reported: object = None


class InformationRow(msgspec.Struct, kw_only=True):
    """One row of station_information as it came."""

    station_id: object = None
    station_code: object = msgspec.field(default=UNSET, name="stationCode")
    name: object = None
    lat: object = None
    lon: object = None
    capacity: object = None
    region_id: object = None


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """What the documents beside the two say: vehicle types, and names of regions by id."""

    types: VehicleTypes = NO_TYPES
    regions: Mapping[str, str] = msgspec.field(default_factory=dict)


R = TypeVar("R", StatusRow, InformationRow, IdentifiedRow)

_STATUS: Final = msgspec.json.Decoder(StatusRow)
_IDENTIFIED: Final = msgspec.json.Decoder(IdentifiedRow)
_INFORMATION: Final = msgspec.json.Decoder(InformationRow)

_OF_STATUS: Final = frozenset({"is_renting", "is_installed", "is_returning", "num_bikes_available", "last_reported"})


def role_of(rows: list[msgspec.Raw]) -> str:
    """Which of the two documents the rows belong to, by the keys of the first that is an object."""
    for row in rows:
        keys = keys_of(unwrapped(row, IDENTITY) or row)
        if keys:
            return STATION_STATUS if keys & _OF_STATUS else STATION_INFORMATION
    return STATION_STATUS


def ids_of(rows: list[msgspec.Raw]) -> frozenset[str]:
    """The station_ids of rows of either document."""
    found: set[str] = set()
    for raw in rows:
        row = _read(raw, _IDENTIFIED, Counter())
        try:
            station_id = None if isinstance(row, RowRefusedError) else code_of(row.station_id)
        except RowRefusedError:
            continue
        if station_id is not None:
            found.add(station_id)
    return frozenset(found)


def regions_of(rows: object) -> dict[str, str]:
    """Names of regions by id, of the rows of system_regions; a row that says nothing is passed by."""
    found: dict[str, str] = {}
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict):
            continue
        try:
            region_id = code_of(row.get("region_id"))
        except RowRefusedError:
            continue
        name = _in_one_language(row.get("name"), "region", Counter())
        if region_id is not None and name is not None:
            found.setdefault(region_id, name)
    return found


def decode_stations(
    status: list[msgspec.Raw] | None,
    information: list[msgspec.Raw] | None,
    reason: str = "",
    *,
    beside: Beside | None = None,
    mends: Mends | None = None,
) -> DecodedPoll:
    """Reports of the status rows, each with what the information row of the same station_id says.

    A document that is missing is None: without information, names, places and capacities are null; without
    status there is no report. An information row without status is told (`NO_STATUS`) and no row of the poll. Stations
    go by Vélib's `stationCode` where the system has that key in its rows, else by their station_id.
    """
    mends = Counter() if mends is None else mends
    if status is None:
        return msgspec.structs.replace(
            NOTHING, reason=reason or f"station_information alone ({len(information or [])} rows), no station_status"
        )
    beside = beside or Beside()
    rows = [_read(raw, _STATUS, mends) for raw in status]
    by_id, bad, coded = _information_by_id(information or [], mends)
    coded = coded or any(isinstance(row, StatusRow) and row.station_code is not UNSET for row in rows)
    if information and not by_id:
        reason = reason or f"no row of station_information has a station_id ({len(information)} rows)"
    seen: set[str] = set()

    def row_of(row: StatusRow | RowRefusedError) -> tuple[str | None, tuple[StatusRow, InformationRow | None]]:
        if isinstance(row, RowRefusedError):
            raise row
        station_id = code_of(row.station_id)
        known = by_id.get(station_id) if station_id is not None else None
        if station_id is not None:
            seen.add(station_id)
        return (_station_code(row, known) if coded else station_id), (row, known)

    def report(code: str, row: tuple[StatusRow, InformationRow | None]) -> Report:
        return report_of(code, *row, beside=beside, velib_code=coded, mends=mends)

    decoded = decode_rows(rows, row_of, report, mends=mends, reason=reason)
    if not decoded.rows:
        return decoded
    refused = Counter(decoded.refused) + Counter({Refusal.NO_STATUS: len(by_id.keys() - seen)}) + bad
    return msgspec.structs.replace(decoded, refused=dict(sorted(refused.items())), mended=dict(sorted(mends.items())))


def report_of(
    code: str, row: StatusRow, known: InformationRow | None, *, beside: Beside, velib_code: bool, mends: Mends
) -> Report:
    """The report of a status row and of what is known about its station.

    Raises:
        RowRefusedError: the row is no report.
    """
    bikes = bikes_at(
        (row.num_bikes_available, row.num_bikes_available_velib, row.num_vehicles_available),
        row.num_bikes_available_types,
        row.num_ebikes_available,
        row.vehicle_types_available,
        beside.types,
        mends,
    )
    docks = row.num_docks_available if row.num_docks_available is not None else row.num_docks_available_velib
    flags = flags_of(row.is_installed, row.is_renting, row.is_returning, mends)
    lat, lon = place_of(known.lat, known.lon, mends) if known else (None, None)
    return Report(
        station_code=code,
        name=_in_one_language(known.name, "name", mends) if known else None,
        commune=_region(known, beside.regions),
        lat=lat,
        lon=lon,
        capacity=count_of(known.capacity, "capacity", mends) if known else None,
        bikes=bikes.bikes,
        mechanical=bikes.mechanical,
        ebike=bikes.ebike,
        docks=count_of(docks, "docks", mends),
        is_installed=flags[0],
        is_renting=flags[1],
        is_returning=flags[2],
        last_reported=time_of(row.last_reported, mends),
        velib_code=velib_code,
    )


def _read(raw: msgspec.Raw, decoder: msgspec.json.Decoder[R], mends: Mends) -> R | RowRefusedError:
    """The row, out of the object it may be wrapped in; why it is none where it can't be read."""
    try:
        row, wrapped = identified(raw, decoder, IDENTITY, lambda found: found.station_id is not None)
    except RowRefusedError as error:
        return error
    if wrapped:
        mends["row_unwrapped"] += 1
    return row


def _information_by_id(
    rows: list[msgspec.Raw], mends: Mends
) -> tuple[dict[str, InformationRow], Counter[Refusal], bool]:
    """Rows by station_id, those that are none by reason, and whether the system has the key of Vélib's codes."""
    found: dict[str, InformationRow] = {}
    bad: Counter[Refusal] = Counter()
    coded = False
    for raw in rows:
        row = _read(raw, _INFORMATION, mends)
        try:
            if isinstance(row, RowRefusedError):
                raise row
            coded = coded or row.station_code is not UNSET
            station_id = code_of(row.station_id)
            if station_id is None:
                raise RowRefusedError(Refusal.NULL_STATIONCODE)  # noqa: TRY301 - as above
        except RowRefusedError as error:
            bad[error.reason] += 1
        else:
            found.setdefault(station_id, row)
    return found, bad, coded


def _station_code(row: StatusRow, known: InformationRow | None) -> str | None:
    for value in (row.station_code, known.station_code if known else None):
        code = None if isinstance(value, UnsetType) else code_of(value)
        if code is not None:
            return code
    return None


def _region(known: InformationRow | None, regions: Mapping[str, str]) -> str | None:
    if known is None or known.region_id is None or not regions:
        return None
    try:
        return regions.get(code_of(known.region_id) or "")
    except RowRefusedError:
        return None


def _in_one_language(value: object, field: str, mends: Mends) -> str | None:
    """A text, or of GBFS 3's list by language French, English, else the first."""
    if not isinstance(value, list):
        return text_of(value, field, mends)
    texts: dict[str, str] = {}
    for entry in value:
        text = text_of(entry.get("text"), field, mends) if isinstance(entry, dict) else None
        if isinstance(entry, dict) and text is not None:
            texts.setdefault(str(entry.get("language") or "").lower().partition("-")[0], text)
    return next((texts[language] for language in (*LANGUAGES, *texts) if language in texts), None)

"""GBFS 1 to 3: station_status joined with station_information by station_id, to reports; reading a discovery document.

Knows GBFS's fields, Vélib's own among them, and nothing of HTTP; called by `decode.py` and, for discovery, `client.py`.
"""

from collections import Counter
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from velib_dagster.feed.answers import ROLES, STATION_INFORMATION, STATION_STATUS
from velib_dagster.feed.reports import NOTHING, DecodedPoll, Refusal, Report
from velib_dagster.feed.rows import (
    UNDECODABLE,
    Code,
    Count,
    Flag,
    RowRefusedError,
    check_counts,
    check_split,
    code_of,
    decode_rows,
    flag_of,
    is_object,
    keys_of,
    place_of,
    text_of,
    time_of,
)

Types = list[dict[str, Count | None]] | dict[str, Count | None] | None


class LanguageText(msgspec.Struct):
    """A text of GBFS 3."""

    text: str
    language: str = ""


class StatusRow(msgspec.Struct, kw_only=True):
    """One row of station_status; camel case is Vélib's own spelling, vehicles are GBFS 3's."""

    station_id: Code = None
    station_code: Code | UnsetType = msgspec.field(default=UNSET, name="stationCode")
    num_bikes_available: Count | None = None
    num_bikes_available_velib: Count | None = msgspec.field(default=None, name="numBikesAvailable")
    num_vehicles_available: Count | None = None
    num_bikes_available_types: Types = None
    num_docks_available: Count | None = None
    num_docks_available_velib: Count | None = msgspec.field(default=None, name="numDocksAvailable")
    is_installed: Flag = None
    is_renting: Flag = None
    is_returning: Flag = None
    last_reported: str | float | None = None


class InformationRow(msgspec.Struct, kw_only=True):
    """One row of station_information."""

    station_id: Code = None
    station_code: Code | UnsetType = msgspec.field(default=UNSET, name="stationCode")
    name: str | list[LanguageText] | None = None
    lat: float | None = None
    lon: float | None = None
    capacity: Count | None = None


class _Feed(msgspec.Struct):
    name: str
    url: str


class _FeedsOnly(msgspec.Struct):
    feeds: list[_Feed]


class _Discovery(msgspec.Struct):
    data: msgspec.Raw


_STATUS: Final = msgspec.json.Decoder(StatusRow)
_INFORMATION: Final = msgspec.json.Decoder(InformationRow)
_LANGUAGES: Final = ("fr", "en")


def discovered(body: bytes) -> dict[str, str] | None:
    """URLs of station_status and station_information that a discovery document names, None if the body is none.

    Of several languages French, then English, then the first is taken; GBFS 3 has one list for all.
    """
    try:
        data = msgspec.json.decode(body, type=_Discovery).data
    except UNDECODABLE:
        return None
    try:
        feeds = msgspec.json.decode(data, type=_FeedsOnly).feeds
    except UNDECODABLE:
        try:
            languages = msgspec.json.decode(data, type=dict[str, _FeedsOnly])
        except UNDECODABLE:
            return None
        order = sorted(languages, key=lambda name: _LANGUAGES.index(name) if name in _LANGUAGES else len(_LANGUAGES))
        feeds = languages[order[0]].feeds if order else []
    return {feed.name: feed.url for feed in feeds if feed.name in ROLES}


def role_of(rows: list[msgspec.Raw]) -> str:
    """Which of the two documents the rows belong to, by the keys of the first that is an object."""
    for row in rows:
        keys = keys_of(row)
        if keys:
            return STATION_STATUS if "is_renting" in keys or "is_installed" in keys else STATION_INFORMATION
    return STATION_STATUS


def decode_stations(
    status: list[msgspec.Raw] | None, information: list[msgspec.Raw] | None, reason: str = ""
) -> DecodedPoll:
    """Reports of the status rows, each with what the information row of the same station_id says.

    A document that is missing is None: without information, names, places and capacities are null; without
    status there is no report. An information row without status is refused (`NO_STATUS`). Stations go by Vélib's
    `stationCode` where the system has that key in its rows, else by their station_id.
    """
    if status is None:
        return msgspec.structs.replace(
            NOTHING, reason=reason or f"station_information alone ({len(information or [])} rows), no station_status"
        )
    by_id, bad = _information_by_id(information or [])
    coded = any("stationCode" in keys_of(row) for row in (*status, *(information or [])))
    seen: set[str] = set()

    def report(raw: msgspec.Raw) -> Report:
        row = _STATUS.decode(raw)
        station_id = code_of(row.station_id)
        known = by_id.get(station_id) if station_id is not None else None
        if station_id is not None:
            seen.add(station_id)
        return report_of(row, known, coded=coded)

    decoded = decode_rows(status, report, reason=reason)
    if not decoded.rows:
        return decoded
    without_status = Counter({Refusal.NO_STATUS: len(by_id.keys() - seen)}) + bad
    if not without_status:
        return decoded
    refused = Counter(decoded.refused) + without_status
    return msgspec.structs.replace(
        decoded, refused=dict(sorted(refused.items())), rows=decoded.rows + without_status.total()
    )


def report_of(row: StatusRow, known: InformationRow | None, *, coded: bool) -> Report:
    """The report of a status row and of what is known about its station.

    Raises:
        RowRefusedError: the row is no report.
    """
    code = _station_code(row, known) if coded else code_of(row.station_id)
    if code is None:
        raise RowRefusedError(Refusal.NULL_STATIONCODE)
    mechanical, ebike, just_that_split = _split(row.num_bikes_available_types)
    docks = row.num_docks_available if row.num_docks_available is not None else row.num_docks_available_velib
    capacity = known.capacity if known else None
    bikes = check_counts(_bikes(row), mechanical, ebike, docks, capacity)
    flags = flag_of(row.is_installed), flag_of(row.is_renting), flag_of(row.is_returning)
    lat, lon = place_of(known.lat, known.lon) if known else (None, None)
    last_reported = time_of(row.last_reported)
    if just_that_split:
        check_split(bikes, mechanical, ebike)
    return Report(
        station_code=code,
        name=text_of(_name(known)),
        commune=None,
        lat=lat,
        lon=lon,
        capacity=capacity,
        bikes=bikes,
        mechanical=mechanical,
        ebike=ebike,
        docks=docks,
        is_installed=flags[0],
        is_renting=flags[1],
        is_returning=flags[2],
        last_reported=last_reported,
    )


def _information_by_id(rows: list[msgspec.Raw]) -> tuple[dict[str, InformationRow], Counter[Refusal]]:
    found: dict[str, InformationRow] = {}
    bad: Counter[Refusal] = Counter()
    for raw in rows:
        try:
            row = _INFORMATION.decode(raw)
            station_id = code_of(row.station_id)
        except RowRefusedError as error:
            bad[error.reason] += 1
            continue
        except UNDECODABLE:
            bad[Refusal.BAD_TYPE if is_object(raw) else Refusal.NOT_A_ROW] += 1
            continue
        if station_id is None:
            bad[Refusal.NULL_STATIONCODE] += 1
        else:
            found.setdefault(station_id, row)
    return found, bad


def _station_code(row: StatusRow, known: InformationRow | None) -> str | None:
    for value in (row.station_code, known.station_code if known else None):
        code = None if isinstance(value, UnsetType) else code_of(value)
        if code is not None:
            return code
    return None


def _bikes(row: StatusRow) -> int | None:
    for count in (row.num_bikes_available, row.num_bikes_available_velib, row.num_vehicles_available):
        if count is not None:
            return count
    return None


def _split(types: Types) -> tuple[int | None, int | None, bool]:
    """Mechanical bikes, e-bikes, and whether the split has exactly these two."""
    if not types:
        return None, None, False
    counts: dict[str, int | None] = {}
    for part in types if isinstance(types, list) else [types]:
        counts.update(part)
    return counts.get("mechanical"), counts.get("ebike"), counts.keys() == {"mechanical", "ebike"}


def _name(known: InformationRow | None) -> str | None:
    if known is None or known.name is None:
        return None
    if isinstance(known.name, str):
        return known.name
    texts = {name.language.split("-")[0]: name.text for name in reversed(known.name)}
    return next((texts[language] for language in (*_LANGUAGES, *texts) if language in texts), None)

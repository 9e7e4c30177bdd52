"""Opendatasoft's Explore API: rows of v2.1 (flat), v2.0 (below `record.fields`), v1.0 (below `fields`).

Knows the fields of the dataset velib-disponibilite-en-temps-reel and nothing of HTTP; called by `decode.py`.
"""

from typing import Final

import msgspec

from velib_dagster.feed.reports import DecodedPoll, Report
from velib_dagster.feed.rows import decode_rows, identified
from velib_dagster.feed.values import (
    Mends,
    bikes_of,
    code_of,
    count_of,
    flags_of,
    place_of,
    split_of,
    text_of,
    time_of,
)

IDENTITY: Final = frozenset({"stationcode"})
"""The key by which an object holds the values of a row, wherever a version of the API puts it."""


class ExploreRow(msgspec.Struct, kw_only=True):
    """The values of one row as they came; a missing key is a null."""

    stationcode: object = None
    name: object = None
    is_installed: object = None
    is_renting: object = None
    is_returning: object = None
    capacity: object = None
    numbikesavailable: object = None
    mechanical: object = None
    ebike: object = None
    numdocksavailable: object = None
    duedate: object = None
    coordonnees_geo: object = None
    nom_arrondissement_communes: object = None


_ROW: Final = msgspec.json.Decoder(ExploreRow)


def decode_explore(rows: list[msgspec.Raw], total_count: int | None, mends: Mends) -> DecodedPoll:
    """Reports of the rows of an export or of a page of records, of any version."""

    def row_of(raw: msgspec.Raw) -> tuple[str | None, ExploreRow]:
        row, _ = identified(raw, _ROW, IDENTITY, lambda found: found.stationcode is not None)
        return code_of(row.stationcode), row

    return decode_rows(
        rows, row_of, lambda code, row: report_of(code, row, mends), mends=mends, total_count=total_count
    )


def report_of(code: str, row: ExploreRow, mends: Mends) -> Report:
    """The report of one row.

    Raises:
        RowRefusedError: the row is no report.
    """
    bikes = bikes_of((row.numbikesavailable,), mends)
    flags = flags_of(row.is_installed, row.is_renting, row.is_returning, mends)
    mechanical, ebike = split_of(bikes, row.mechanical, row.ebike, mends)
    lat, lon = place_of(*_coordinates(row.coordonnees_geo, mends), mends)
    return Report(
        station_code=code,
        name=text_of(row.name, "name", mends),
        commune=text_of(row.nom_arrondissement_communes, "commune", mends),
        lat=lat,
        lon=lon,
        capacity=count_of(row.capacity, "capacity", mends),
        bikes=bikes,
        mechanical=mechanical,
        ebike=ebike,
        docks=count_of(row.numdocksavailable, "docks", mends),
        is_installed=flags[0],
        is_renting=flags[1],
        is_returning=flags[2],
        last_reported=time_of(row.duedate, mends),
        velib_code=True,
    )


def _coordinates(value: object, mends: Mends) -> tuple[object, object]:
    """Latitude and longitude of `{lon, lat}` (v2), `[lat, lon]` (v1.0) or "lat, lon" (CSV)."""
    match value:
        case None | "":
            return None, None
        case {"lat": lat, "lon": lon}:
            return lat, lon
        case [lat, lon]:
            return lat, lon
        case str() if value.count(",") == 1:
            lat, _, lon = value.partition(",")
            return _in_degrees(lat), _in_degrees(lon)
    mends["place_unreadable"] += 1
    return None, None


def _in_degrees(text: str) -> object:
    """Half of a "lat, lon": as a number where it is one, so that it isn't told as mended."""
    try:
        return float(text)
    except ValueError:
        return text

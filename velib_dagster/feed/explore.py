"""Opendatasoft's Explore API: rows of v2.1 (export and records: flat) and of v1.0 (below `fields`) to reports.

Knows the fields of the dataset velib-disponibilite-en-temps-reel and nothing of HTTP; called by `decode.py`.
"""

from typing import Final

import msgspec

from velib_dagster.feed.reports import DecodedPoll, Refusal, Report
from velib_dagster.feed.rows import (
    Code,
    Count,
    Flag,
    RowRefusedError,
    check_counts,
    check_split,
    code_of,
    decode_rows,
    flag_of,
    place_of,
    text_of,
    time_of,
)


class ExploreRow(msgspec.Struct, kw_only=True):
    """One row of v2.1, and what v1.0 has below `fields`; a missing key is a null."""

    stationcode: Code = None
    name: str | None = None
    is_installed: Flag = None
    is_renting: Flag = None
    is_returning: Flag = None
    capacity: Count | None = None
    numbikesavailable: Count | None = None
    mechanical: Count | None = None
    ebike: Count | None = None
    numdocksavailable: Count | None = None
    duedate: str | None = None
    coordonnees_geo: dict[str, float | None] | list[float] | str | None = None
    nom_arrondissement_communes: str | None = None


class RecordV1(msgspec.Struct, kw_only=True):
    """One record of v1.0; only its fields matter."""

    fields: ExploreRow


_ROW: Final = msgspec.json.Decoder(ExploreRow)
_RECORD_V1: Final = msgspec.json.Decoder(RecordV1)


def decode_flat(rows: list[msgspec.Raw], total_count: int | None) -> DecodedPoll:
    """Reports of v2.1 rows, of an export or of a page of records."""
    return decode_rows(rows, lambda row: report_of(_ROW.decode(row)), total_count=total_count)


def decode_v1(rows: list[msgspec.Raw], total_count: int | None) -> DecodedPoll:
    """Reports of v1.0 records."""
    return decode_rows(rows, lambda row: report_of(_RECORD_V1.decode(row).fields), total_count=total_count)


def report_of(row: ExploreRow) -> Report:
    """The report of one row.

    Raises:
        RowRefusedError: the row is no report.
    """
    code = code_of(row.stationcode)
    if code is None:
        raise RowRefusedError(Refusal.NULL_STATIONCODE)
    bikes = check_counts(row.numbikesavailable, row.mechanical, row.ebike, row.numdocksavailable, row.capacity)
    flags = flag_of(row.is_installed), flag_of(row.is_renting), flag_of(row.is_returning)
    lat, lon = place_of(*_coordinates(row.coordonnees_geo))
    last_reported = time_of(row.duedate)
    check_split(bikes, row.mechanical, row.ebike)
    return Report(
        station_code=code,
        name=text_of(row.name),
        commune=text_of(row.nom_arrondissement_communes),
        lat=lat,
        lon=lon,
        capacity=row.capacity,
        bikes=bikes,
        mechanical=row.mechanical,
        ebike=row.ebike,
        docks=row.numdocksavailable,
        is_installed=flags[0],
        is_renting=flags[1],
        is_returning=flags[2],
        last_reported=last_reported,
    )


def _coordinates(
    value: dict[str, float | None] | list[float] | str | None,
) -> tuple[float | None, float | None]:
    """Latitude and longitude of `{lon, lat}` (v2.1), `[lat, lon]` (v1.0) or "lat, lon" (CSV)."""
    if value is None or value == "":
        return None, None
    if isinstance(value, dict):
        return value.get("lat"), value.get("lon")
    try:
        numbers = [float(part) for part in value.split(",")] if isinstance(value, str) else value
        lat, lon = numbers
    except ValueError:
        raise RowRefusedError(Refusal.BAD_PLACE) from None
    return lat, lon

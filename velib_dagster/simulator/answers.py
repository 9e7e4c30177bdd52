"""The simulated network's counts as the real feed tells them: Explore v2.1 rows and pages, v1.0 records, GBFS 2.

Pure: counts and parameters in, answers out. It must not know HTTP; the server and `write_days` call it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from velib_dagster.simulator.network import Network
from velib_dagster.simulator.simulation import Counts

Row = dict[str, Any]
"""One row of an answer: what JSON can hold."""

DATASET: Final = "velib-disponibilite-en-temps-reel"
MOST_A_PAGE: Final = 100
MOST_PAGED: Final = 10_000
USUAL_PAGE: Final = 10
PARAMETERS: Final = frozenset({"limit", "offset", "order_by", "where", "timezone", "lang"})
FIELDS: Final = (
    "stationcode",
    "name",
    "is_installed",
    "capacity",
    "numdocksavailable",
    "numbikesavailable",
    "mechanical",
    "ebike",
    "is_renting",
    "is_returning",
    "duedate",
    "coordonnees_geo",
    "nom_arrondissement_communes",
    "code_insee_commune",
)
_WHERE: Final = re.compile(r"""\s*(\w+)\s*=\s*(?:"([^"]*)"|'([^']*)'|(\d+))\s*""")
_ORDER: Final = re.compile(r"\s*(\w+)(?:\s+(asc|desc))?\s*", re.IGNORECASE)


class BadParameterError(ValueError):
    """The request asks for what the API does not give: its error code and message are those of the answer (400)."""

    def __init__(self, error_code: str, message: str) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.message = message


def explore_rows(network: Network, counts: Counts, zone: ZoneInfo | None = None) -> list[Row]:
    """One Explore v2.1 row a station, with times in `zone` (UTC unless given)."""
    tz = zone or UTC
    rows: list[Row] = []
    columns = zip(
        network.stations,
        counts.docks.tolist(),
        counts.mechanical.tolist(),
        counts.ebike.tolist(),
        strict=True,
    )
    for station, docks, mechanical, ebike in columns:
        operates = "OUI" if station.is_operating else "NON"
        rows.append(
            {
                "stationcode": station.code,
                "name": station.name,
                "is_installed": "OUI" if station.is_installed else "NON",
                "capacity": station.capacity,
                # A station out of service reports all its docks as free, as the real one does.
                "numdocksavailable": docks if station.is_operating else station.capacity,
                "numbikesavailable": mechanical + ebike,
                "mechanical": mechanical,
                "ebike": ebike,
                "is_renting": operates,
                "is_returning": operates,
                "duedate": datetime.fromtimestamp(station.last_reported(counts.time), tz).isoformat(),
                "coordonnees_geo": {"lon": station.lon, "lat": station.lat},
                "nom_arrondissement_communes": station.commune,
                "code_insee_commune": station.insee,
            }
        )
    return rows


def explore_export(network: Network, counts: Counts, parameters: Mapping[str, str] | None = None) -> list[Row]:
    """The body of `/exports/json`: all rows, or those that `where`, `order_by` and `limit` ask for.

    Raises:
        BadParameterError: a parameter is unknown or out of range.
    """
    asked = parameters or {}
    _check_names(asked, PARAMETERS - {"offset"})
    limit = _whole_number(asked, "limit", -1, -1, None)
    rows = _chosen(explore_rows(network, counts, _zone(asked)), asked)
    return rows if limit < 0 else rows[:limit]


def explore_records(network: Network, counts: Counts, parameters: Mapping[str, str] | None = None) -> Row:
    """The body of `/records`: `total_count` and one page of `results`.

    Raises:
        BadParameterError: a parameter is unknown or out of range.
    """
    asked = parameters or {}
    _check_names(asked, PARAMETERS)
    limit = _whole_number(asked, "limit", USUAL_PAGE, -1, MOST_A_PAGE)
    limit = MOST_A_PAGE if limit < 0 else limit
    offset = _whole_number(asked, "offset", 0, 0, None)
    if offset + limit > MOST_PAGED:
        found = f"{offset + limit} was found but <= {MOST_PAGED} is expected."
        message = f"Invalid value for offset + limit API parameters: {found}"
        raise BadParameterError("InvalidRESTParameterError", message)
    rows = _chosen(explore_rows(network, counts, _zone(asked)), asked)
    return {"total_count": len(rows), "results": rows[offset : offset + limit]}


def v1_records(network: Network, counts: Counts, parameters: Mapping[str, str] | None = None) -> Row:
    """The body of `/api/records/1.0/search/`: `nhits` and one page of `records`.

    Raises:
        BadParameterError: a parameter is unknown or out of range.
    """
    asked = parameters or {}
    _check_names(asked, frozenset({"dataset", "rows", "start", "timezone"}))
    if asked.get("dataset", DATASET) != DATASET:
        raise BadParameterError("UnknownDatasetError", f"Unknown dataset: {asked['dataset']}")
    count = _whole_number(asked, "rows", USUAL_PAGE, -1, MOST_PAGED)
    start = _whole_number(asked, "start", 0, 0, MOST_PAGED)
    rows = explore_rows(network, counts, _zone(asked))
    stamp = datetime.fromtimestamp(counts.time, _zone(asked)).isoformat()
    page = rows[start:] if count < 0 else rows[start : start + count]
    return {
        "nhits": len(rows),
        "parameters": {"dataset": DATASET, "rows": count, "start": start, "format": "json"},
        "records": [_v1_record(row, stamp) for row in page],
    }


def _v1_record(row: Row, stamp: str) -> Row:
    place = row["coordonnees_geo"]
    return {
        "datasetid": DATASET,
        "recordid": f"simulated-{row['stationcode']}",
        "fields": {**row, "coordonnees_geo": [place["lat"], place["lon"]]},
        "geometry": {"type": "Point", "coordinates": [place["lon"], place["lat"]]},
        "record_timestamp": stamp,
    }


def gbfs_discovery(base: str, time: int) -> Row:
    """`gbfs.json`: where the other answers are, below the address `base`."""
    names = ("gbfs", "system_information", "station_information", "station_status")
    feeds = [{"name": name, "url": f"{base}/{name}.json"} for name in names]
    return _gbfs(time, {"en": {"feeds": feeds}})


def gbfs_system(time: int) -> Row:
    """`system_information.json`."""
    return _gbfs(
        time,
        {
            "system_id": "simulated",
            "name": "Simulated bike-share network",
            "language": "fr",
            "timezone": "Europe/Paris",
        },
    )


def gbfs_information(network: Network, time: int) -> Row:
    """`station_information.json`: what changes rarely."""
    stations = [
        {
            "station_id": station.station_id,
            "stationCode": station.code,
            "name": station.name,
            "lat": station.lat,
            "lon": station.lon,
            "capacity": station.capacity,
        }
        for station in network.stations
    ]
    return _gbfs(time, {"stations": stations})


def gbfs_status(network: Network, counts: Counts) -> Row:
    """`station_status.json`, with bikes by sort in the form that Vélib' gives them."""
    stations = []
    for station, row in zip(network.stations, explore_rows(network, counts), strict=True):
        bikes, docks = row["numbikesavailable"], row["numdocksavailable"]
        stations.append(
            {
                "stationCode": station.code,
                "station_id": station.station_id,
                "num_bikes_available": bikes,
                "numBikesAvailable": bikes,
                "num_bikes_available_types": [{"mechanical": row["mechanical"]}, {"ebike": row["ebike"]}],
                "num_docks_available": docks,
                "numDocksAvailable": docks,
                "is_installed": int(station.is_installed),
                "is_returning": int(station.is_operating),
                "is_renting": int(station.is_operating),
                "last_reported": station.last_reported(counts.time),
            }
        )
    return _gbfs(counts.time, {"stations": stations})


def _gbfs(time: int, data: Row) -> Row:
    return {"last_updated": time, "lastUpdatedOther": time, "ttl": 60, "version": "2.3", "data": data}


def _check_names(asked: Mapping[str, str], known: frozenset[str]) -> None:
    unknown = sorted(set(asked) - known)
    if unknown:
        raise BadParameterError("InvalidRESTParameterError", f"Unknown API parameter: {', '.join(unknown)}")


def _whole_number(asked: Mapping[str, str], name: str, usual: int, least: int, most: int | None) -> int:
    text = asked.get(name)
    if text is None:
        return usual
    if re.fullmatch(r"-?[0-9]{1,9}", text) and least <= int(text) and (most is None or int(text) <= most):
        return int(text)
    span = f"{least} <= {name}" + ("" if most is None else f" <= {most}")
    message = f"Invalid value for {name} API parameter: {text} was found but {span} is expected."
    raise BadParameterError("InvalidRESTParameterError", message)


def _zone(asked: Mapping[str, str]) -> ZoneInfo:
    name = asked.get("timezone", "UTC")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"Invalid value for timezone API parameter: {name} is no time zone."
        raise BadParameterError("InvalidRESTParameterError", message) from error


def _chosen(rows: list[Row], asked: Mapping[str, str]) -> list[Row]:
    """The rows that `where` keeps, in the order of `order_by`."""
    if "where" in asked:
        parts = _WHERE.fullmatch(asked["where"])
        if parts is None or parts[1] not in FIELDS:
            message = f'where clause {asked["where"]!r} is not understood: write field="value".'
            raise BadParameterError("ODSQLError", message)
        value = next(text for text in parts.groups()[1:] if text is not None)
        rows = [row for row in rows if str(row[parts[1]]) == value]
    for field, descending in reversed(_orders(asked.get("order_by"))):
        rows = sorted(rows, key=_key_of(field), reverse=descending)
    return rows


def _orders(text: str | None) -> Sequence[tuple[str, bool]]:
    orders = []
    for part in text.split(",") if text is not None else ():
        order = _ORDER.fullmatch(part)
        if order is None or order[1] not in FIELDS or order[1] == "coordonnees_geo":
            message = f"order_by clause {part.strip()!r} is not understood: write field, or field desc."
            raise BadParameterError("ODSQLError", message)
        orders.append((order[1], (order[2] or "asc").lower() == "desc"))
    return orders


def _key_of(field: str) -> Callable[[Row], Any]:
    return lambda row: row[field]

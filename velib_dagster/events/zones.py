"""Which neighbourhood a station belongs to: its zone (arrondissement or commune) and its H3 cell.

Pure look-ups by code, place and commune; called once per station by `advance.py`.
"""

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

import h3

from velib_dagster.settings import VelibError

CELL_RESOLUTION: Final = 8
"""H3 resolution of a cell: about 0.74 km² (h3geo.org, table of average areas)."""

ARRONDISSEMENTS: Final = range(1, 21)
RULE: Final = "1"
"""Number of the rule of `zone_of`; with another one, every known station is looked up anew."""
UNKNOWN_ZONE: Final = "unknown"
_DIGITS: Final = frozenset("0123456789")
"""Not `str.isdigit`: it takes ² and ① for digits, and int() does not."""

_PARIS_LAT: Final = (48.81, 48.91)
_PARIS_LON: Final = (2.22, 2.48)
"""Bounds of Paris with its two woods, rounded outwards, degrees."""

ZoneOf = Callable[[str, str | None, float, float], str]
"""(station code, commune as the feed names it, latitude, longitude) → zone."""


class ZonesFileError(VelibError):
    """The GeoJSON of zones can't be used."""


def cell_of(lat: float, lon: float) -> str:
    """The station's H3 cell, as its 15-digit text."""
    return str(h3.latlng_to_cell(lat, lon, CELL_RESOLUTION))


@lru_cache(maxsize=10_000)
def zone_of(station_code: str, commune: str | None, lat: float, lon: float) -> str:
    """`Paris 16e` for Paris, else the commune, else `unknown`.

    The feed calls every arrondissement "Paris". Vélib' numbers its Paris stations arrondissement × 1000 + n, which
    agrees with the point in polygon for 983 of 998 stations. GBFS names no commune: there the place must lie in
    Paris, since other cities' ids look alike.
    """
    in_bounds = _PARIS_LAT[0] <= lat <= _PARIS_LAT[1] and _PARIS_LON[0] <= lon <= _PARIS_LON[1]
    if commune != "Paris" and (commune or not in_bounds):
        return commune or UNKNOWN_ZONE
    digits = "".join(character for character in station_code.partition("_")[0] if character in _DIGITS).lstrip("0")
    # counted first: int() refuses some thousands of digits
    district = int(digits[:-3]) if 4 <= len(digits) <= 5 else 0
    if district in ARRONDISSEMENTS:
        return f"Paris {district}{'er' if district == 1 else 'e'}"
    return commune or UNKNOWN_ZONE


def zones_followed(path: Path | None) -> str:
    """Which rule and which file zones follow: equal for equal contents of the file.

    Raises:
        ZonesFileError: the file can't be read.
    """
    if path is None:
        return RULE
    try:
        return f"{RULE} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    except OSError as error:
        msg = f"zones file {path} can't be read ({error.strerror}): correct VELIB_ZONES, or leave it out"
        raise ZonesFileError(msg) from error


def zones_from_geojson(path: Path) -> ZoneOf:
    """Zones by point in polygon; a station outside all of them falls back on its code and commune.

    A feature's zone is its property `zone`, `name` or `nom`.

    Raises:
        ZonesFileError: the file is missing, no GeoJSON FeatureCollection, or has a feature without a name.
    """
    import shapely  # noqa: PLC0415 - half a second that the runs of each minute are spared

    try:
        features = json.loads(path.read_bytes())["features"]
        shapes = [shapely.from_geojson(json.dumps(feature["geometry"])) for feature in features]
        names = [_feature_name(feature["properties"]) for feature in features]
    except (OSError, ValueError, KeyError, TypeError, shapely.errors.ShapelyError) as error:
        msg = f"zones file {path} can't be used: {error!r}; it must be a GeoJSON FeatureCollection with named features"
        raise ZonesFileError(msg) from error
    tree = shapely.STRtree(shapes)

    @lru_cache(maxsize=10_000)
    def zone(station_code: str, commune: str | None, lat: float, lon: float) -> str:
        hits = tree.query(shapely.Point(lon, lat), predicate="intersects")
        return names[int(hits[0])] if len(hits) else zone_of(station_code, commune, lat, lon)

    return zone


def _feature_name(properties: dict[str, object]) -> str:
    for key in ("zone", "name", "nom"):
        if properties.get(key):
            return str(properties[key])
    raise KeyError("zone, name or nom")

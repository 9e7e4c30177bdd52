"""The stations that rows are of: a number each, code, zone and place, and which lie within 500 m of one another.

Pure numpy; who reads them from spells, states or a Parquet file is somewhere else.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

NEIGHBOUR_M: Final = 500
"""Stations so near are neighbours: a rider who finds one full walks to the other."""
EARTH_M: Final = 6_371_008.8
"""Mean radius of the earth, metres."""


@dataclass(frozen=True)
class Station:
    """One station as it was last seen; degrees WGS84, None where its place is not known."""

    code: str
    zone: str
    lat: float | None
    lon: float | None


@dataclass(frozen=True)
class Stations:
    """Stations in the order of their codes; a station's number is its place in it."""

    known: tuple[Station, ...]

    @classmethod
    def of(cls, stations: Iterable[Station]) -> "Stations":
        """Numbered by code."""
        return cls(tuple(sorted(stations, key=lambda station: station.code)))

    @cached_property
    def number(self) -> dict[str, int]:
        """Code → number."""
        return {station.code: number for number, station in enumerate(self.known)}

    @cached_property
    def neighbours(self) -> NDArray[np.int64]:
        """Pairs (number, number of a neighbour), both ways, none with itself; shape (pairs, 2)."""
        placed = [n for n, station in enumerate(self.known) if station.lat is not None and station.lon is not None]
        place = np.radians([(self.known[n].lat or 0.0, self.known[n].lon or 0.0) for n in placed]).reshape(-1, 2)
        near = distances_m(place) <= NEIGHBOUR_M
        np.fill_diagonal(near, val=False)
        return np.array(placed, dtype=np.int64)[np.argwhere(near)].reshape(-1, 2)


def distances_m(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Great-circle distances in metres between all places (latitude, longitude, radians), by the haversine formula."""
    lat, lon = place[:, 0], place[:, 1]
    half = (
        np.sin((lat[:, None] - lat) / 2) ** 2
        + np.cos(lat[:, None]) * np.cos(lat) * np.sin((lon[:, None] - lon) / 2) ** 2
    )
    return np.asarray(2 * EARTH_M * np.arcsin(np.sqrt(np.clip(half, 0, 1))))

"""How often people want to leave each station at each hour, and where they ride from there.

Expectations only: it must draw nothing at random. The simulation draws its departures from here.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from velib_dagster.simulator.network import KINDS, Floats, Network

RENTALS_PER_DAY: Final = 70.0
"""Wanted rentals a day at a station of mean size and busyness, before season and the day's own factor."""

SEASON: Final = (0.7, 0.75, 0.9, 1.0, 1.1, 1.2, 1.1, 0.85, 1.2, 1.1, 0.9, 0.7)
"""Factor of each month, January first."""

OWN_USE: Final = 0.8
"""Share of a station's use that follows its own kind; the rest is the mean of the others, since no quarter is pure."""

RIDE_KM: Final = 1.3
"""Scale of the wish to ride far: it falls to 1/e each so many kilometres."""

ROUND_TRIP_KM: Final = 0.08
BALANCING_ROUNDS: Final = 5

# fmt: off
# Rentals wanted by hour of the day, 0 h first, in any unit: each row is scaled to one day of rentals.
_LEAVING_WEEKDAY: Final = {
    "residential": (2, 1, 1, 0, 1, 2, 6, 16, 22, 12, 7, 6, 8, 8, 7, 7, 8, 10, 11, 10, 8, 6, 5, 4),
    "business": (1, 1, 0, 0, 0, 1, 2, 5, 8, 7, 5, 6, 11, 10, 7, 7, 11, 19, 21, 12, 7, 5, 3, 2),
    "leisure": (7, 5, 3, 1, 1, 1, 2, 4, 7, 7, 6, 7, 10, 10, 9, 9, 10, 11, 12, 12, 10, 10, 12, 11),
}
_LEAVING_WEEKEND: Final = {
    "residential": (4, 3, 2, 1, 1, 1, 2, 3, 5, 8, 11, 12, 11, 11, 12, 12, 11, 11, 11, 10, 8, 6, 5, 4),
    "business": (3, 2, 2, 1, 1, 1, 1, 2, 3, 5, 7, 8, 8, 9, 10, 10, 11, 11, 10, 8, 6, 5, 4, 4),
    "leisure": (12, 9, 7, 4, 2, 1, 1, 2, 3, 5, 7, 9, 10, 12, 13, 14, 15, 16, 16, 14, 11, 11, 12, 13),
}
# How much each kind of place draws riders by hour, where 1 is the mean of all places.
_DRAW_WEEKDAY: Final = {
    "residential": (
        1.7, 1.7, 1.6, 1.4, 1, 0.8, 0.6, 0.45, 0.4, 0.5, 0.7, 0.8,
        0.8, 0.8, 0.9, 1, 1.2, 1.4, 1.6, 1.6, 1.4, 1.4, 1.5, 1.6,
    ),
    "business": (
        0.4, 0.4, 0.4, 0.6, 1, 1.5, 2, 2.3, 2.3, 2, 1.5, 1.2,
        1.1, 1.2, 1.2, 1.1, 0.8, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4,
    ),
    "leisure": (
        0.8, 0.7, 0.6, 0.5, 0.5, 0.6, 0.6, 0.6, 0.7, 0.8, 0.9, 1.2,
        1.4, 1.1, 1.1, 1.1, 1.1, 1.1, 1.3, 1.6, 1.6, 1.4, 1.2, 1,
    ),
}
_DRAW_WEEKEND: Final = {
    "residential": (
        1.5, 1.6, 1.6, 1.6, 1.5, 1.3, 1.1, 1, 0.9, 0.8, 0.8, 0.8,
        0.8, 0.8, 0.8, 0.8, 0.9, 1, 1.1, 1.1, 1.1, 1.2, 1.3, 1.4,
    ),
    "business": (
        0.5, 0.5, 0.5, 0.5, 0.5, 0.7, 0.9, 1, 1, 1, 0.9, 0.8,
        0.8, 0.8, 0.8, 0.7, 0.7, 0.7, 0.6, 0.6, 0.6, 0.5, 0.5, 0.5,
    ),
    "leisure": (
        0.9, 0.8, 0.7, 0.7, 0.7, 0.8, 1, 1, 1.2, 1.4, 1.6, 1.7,
        1.7, 1.7, 1.7, 1.7, 1.5, 1.3, 1.3, 1.5, 1.5, 1.3, 1.1, 1,
    ),
}
# fmt: on


@dataclass(frozen=True)
class Demand:
    """What is wanted of a network on one sort of day."""

    network: Network
    weekend: bool

    @cached_property
    def leaving(self) -> Floats:
        """Wanted rentals an hour, hour × station; 0 where the station is out of service."""
        table = _LEAVING_WEEKEND if self.weekend else _LEAVING_WEEKDAY
        profiles = np.array([table[kind] for kind in KINDS], dtype=np.float64)
        profiles /= profiles.sum(axis=1, keepdims=True)
        return RENTALS_PER_DAY * (profiles.T @ self._uses) * self._size

    @cached_property
    def drawing(self) -> Floats:
        """How much each station draws riders, hour × station, so that a day brings it as many bikes as it takes."""
        table = _DRAW_WEEKEND if self.weekend else _DRAW_WEEKDAY
        draws = np.array([table[kind] for kind in KINDS], dtype=np.float64)
        wish = (draws.T @ self._uses) * self._size
        wanted = self.leaving.sum(axis=0)
        factor = np.where(self.network.operating, 1.0, 0.0)
        for _ in range(BALANCING_ROUNDS):
            brought = np.zeros(len(self.network))
            for hour in range(24):
                pull = wish[hour] * factor
                # einsum, not BLAS: its sums don't depend on the number of threads, so answers stay the same.
                reach = np.einsum("od,d->o", self.nearness, pull)
                share = np.divide(self.leaving[hour], reach, out=np.zeros_like(reach), where=reach > 0)
                brought += pull * np.einsum("od,o->d", self.nearness, share)
            factor *= np.divide(wanted, brought, out=np.zeros_like(brought), where=brought > 0)
        return wish * np.round(factor, 9)

    @cached_property
    def nearness(self) -> Floats:
        """How much the distance from each station (rows) to each other (columns) invites to ride."""
        distance = self.network.distance_km
        nearness: Floats = (distance + ROUND_TRIP_KM) * np.exp(-distance / RIDE_KM)
        return nearness

    def reach(self, hour: int) -> Floats:
        """For each station of departure (rows) the cumulated share of destinations (columns); the last column is 1."""
        cumulated: Floats = np.cumsum(self.nearness * self.drawing[hour], axis=1)
        total = cumulated[:, -1:]
        return np.divide(cumulated, total, out=np.ones_like(cumulated), where=total > 0)

    @cached_property
    def _uses(self) -> Floats:
        """Share of each kind of use (rows) in each station (columns)."""
        other = (1 - OWN_USE) / (len(KINDS) - 1)
        return np.array(
            [[OWN_USE if station.kind == kind else other for station in self.network.stations] for kind in KINDS]
        )

    @cached_property
    def _size(self) -> Floats:
        capacity = self.network.usable_capacity
        mean = capacity[capacity > 0].mean() if capacity.any() else 1.0
        busyness = np.array([station.busyness for station in self.network.stations])
        size: Floats = capacity / mean * busyness
        return size

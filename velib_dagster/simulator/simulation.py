"""One day of the simulated network, trip by trip, and its state at any second.

A day runs from the night trucks at 03:00 in Paris to the next ones and depends on (network, day) alone, so that a
server that starts again gives the same answers. It must not know how answers look or are served.
"""

import heapq
import threading
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from functools import cached_property
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from velib_dagster.simulator.demand import SEASON, Demand
from velib_dagster.simulator.network import HOUR, Floats, Ints, Network

PARIS: Final = ZoneInfo("Europe/Paris")
TRUCKS_AT: Final = clock_time(3, tzinfo=PARIS)
"""Local time of the night trucks. It exists exactly once in both nights in which the clocks change."""

NEVER: Final = 1 << 62
"""Arrival time of a trip that the trucks end."""

WANTS_EBIKE: Final = 0.45
NEAR_STATIONS: Final = 12
METRES_PER_SECOND: Final = 3.6
DETOUR: Final = 1.35
LEAST_RIDE_SECONDS: Final = 120
KEPT_DAYS: Final = 3


@dataclass(frozen=True)
class Counts:
    """What stands at each station at one second (epoch, UTC); docks are free and usable ones."""

    time: int
    mechanical: Ints
    ebike: Ints
    docks: Ints

    @property
    def bikes(self) -> Ints:
        """Bikes of both sorts."""
        return self.mechanical + self.ebike


@dataclass(frozen=True)
class Trips:
    """All trips of a day in order of departure; arrival is `NEVER` for those that the trucks end."""

    departure: Ints
    origin: Ints
    arrival: Ints
    destination: Ints
    ebike: Ints


@dataclass(frozen=True)
class Day:
    """The truth of one day: from `start` up to but without `end` (epoch seconds)."""

    day: date
    start: int
    end: int
    room: Ints
    """Usable docks of each station that day, with or without a bike; at most its capacity."""
    mechanical: Ints
    """Mechanical bikes that the trucks left at each station at `start`."""
    ebike: Ints
    """E-bikes that they left."""
    trips: Trips
    refused_time: Ints
    """Seconds at which somebody wanted a bike and found none."""
    refused_station: Ints
    """Stations (by index) where that was, in the same order."""

    def at(self, time: int) -> Counts:
        """The counts after everything that happened up to `time`.

        Raises:
            ValueError: `time` is not in this day.
        """
        if not self.start <= time < self.end:
            msg = f"{time} is not in the simulated day {self.day} ({self.start} to {self.end})"
            raise ValueError(msg)
        times, stations, mechanical, ebike = self._moves
        past = int(np.searchsorted(times, time, side="right"))
        count = len(self.room)
        mechanical_now = self.mechanical + _sums(stations[:past], mechanical[:past], count)
        ebike_now = self.ebike + _sums(stations[:past], ebike[:past], count)
        return Counts(time, mechanical_now, ebike_now, self.room - mechanical_now - ebike_now)

    def riding(self, time: int) -> int:
        """Bikes under way at `time`."""
        return int(((self.trips.departure <= time) & (self.trips.arrival > time)).sum())

    @cached_property
    def _moves(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Time, station, mechanical and e-bikes gained, for each departure and arrival, in order of time."""
        trips = self.trips
        arrived = trips.arrival < self.end
        time = np.concatenate([trips.departure, trips.arrival[arrived]])
        station = np.concatenate([trips.origin, trips.destination[arrived]])
        gain = np.concatenate([-np.ones_like(trips.departure), np.ones_like(trips.arrival[arrived])])
        ebike = np.concatenate([trips.ebike, trips.ebike[arrived]])
        order = np.argsort(time, kind="stable")
        return time[order], station[order], (gain * (1 - ebike))[order], (gain * ebike)[order]


def _sums(stations: Ints, gains: Ints, count: int) -> Ints:
    return np.bincount(stations, weights=gains, minlength=count).astype(np.int64)


def day_of(time: int) -> date:
    """The simulated day (named after the Paris date on which its trucks came) that holds this epoch second."""
    local = datetime.fromtimestamp(time, PARIS)
    return local.date() if local.hour >= TRUCKS_AT.hour else local.date() - timedelta(days=1)


def day_bounds(day: date) -> tuple[int, int]:
    """Epoch seconds of the trucks of a day and of the next; 23 or 25 hours apart where the clocks change."""
    start = datetime.combine(day, TRUCKS_AT)
    end = datetime.combine(day + timedelta(days=1), TRUCKS_AT)
    return int(start.timestamp()), int(end.timestamp())


class Simulation:
    """The network at any second; keeps the last few days it worked out. Safe for use by several threads."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._demands = (Demand(network, weekend=False), Demand(network, weekend=True))
        self._days: dict[date, Day] = {}
        self._lock = threading.Lock()

    def at(self, time: int) -> Counts:
        """The counts at an epoch second: a function of network and time alone."""
        return self.day(day_of(time)).at(time)

    def day(self, day: date) -> Day:
        """One whole day, worked out at its first use."""
        with self._lock:
            if day not in self._days:
                while len(self._days) >= KEPT_DAYS:
                    del self._days[next(iter(self._days))]
                self._days[day] = simulate_day(self.network, day, self._demands)
            return self._days[day]


def simulate_day(network: Network, day: date, demands: tuple[Demand, Demand] | None = None) -> Day:
    """Simulate one day from its trucks on; `demands` are those of weekdays and weekends, where they are known."""
    weekday, weekend = demands or (Demand(network, weekend=False), Demand(network, weekend=True))
    random = np.random.default_rng([network.seed, len(network), day.toordinal()])
    start, end = day_bounds(day)
    broken = np.minimum(random.poisson(0.7, len(network)), network.usable_capacity // 5)
    room = network.usable_capacity - broken
    mechanical, ebike = _after_trucks(network, room, random)
    strength = SEASON[day.month - 1] * random.lognormal(0, 0.12)
    times, origins, destinations = [], [], []
    for hour_start in range(start, end, HOUR):
        local = datetime.fromtimestamp(hour_start, PARIS)
        demand = weekend if local.weekday() >= 5 else weekday
        numbers = random.poisson(demand.leaving[local.hour] * strength)
        origin = np.repeat(np.arange(len(network)), numbers)
        # One sorted row after the other: a single search finds all destinations.
        rows = (demand.reach(local.hour) + np.arange(len(network))[:, None]).ravel()
        found = np.searchsorted(rows, origin + random.random(origin.size), side="right")
        times.append(hour_start + random.integers(0, HOUR, origin.size))
        origins.append(origin)
        destinations.append(np.minimum(found - origin * len(network), len(network) - 1))
    time, origin, destination = (np.concatenate(parts) for parts in (times, origins, destinations))
    order = np.argsort(time, kind="stable")
    time, origin, destination = time[order], origin[order], destination[order]
    wants_ebike = (random.random(time.size) < WANTS_EBIKE).astype(np.int64)
    ride = _ride_seconds(network.distance_km[origin, destination]) * random.lognormal(0, 0.2, time.size)
    ride = np.where(origin == destination, 3 * ride + 600, ride)
    trips, refused = _ride(network, room, (mechanical, ebike), end, (time, origin, destination, wants_ebike, ride))
    return Day(day, start, end, room, mechanical, ebike, trips, time[refused].copy(), origin[refused].copy())


def _ride_seconds(distance_km: Floats) -> Floats:
    """Seconds on a mechanical bike, with unlocking and parking."""
    return 150 + distance_km * 1000 * DETOUR / METRES_PER_SECOND


def _after_trucks(network: Network, room: Ints, random: np.random.Generator) -> tuple[Ints, Ints]:
    """Mechanical and e-bikes at each station once the trucks are done: the whole fleet, near the stations' targets."""
    night_fill = np.array([station.night_fill for station in network.stations])
    targets = night_fill * room * random.lognormal(0, 0.15, len(network))
    targets *= network.fleet / max(targets.sum(), 1e-9)
    bikes = np.minimum(np.floor(targets).astype(np.int64), room)
    while (missing := network.fleet - int(bikes.sum())) > 0:
        free = np.repeat(np.arange(len(network)), room - bikes)
        bikes += np.bincount(random.choice(free, missing, replace=False), minlength=len(network))
    ebike = random.multivariate_hypergeometric(bikes, network.ebike_fleet, method="marginals")
    return bikes - ebike, ebike


def _ride(
    network: Network,
    room: Ints,
    standing: tuple[Ints, Ints],
    end: int,
    wishes: tuple[Ints, Ints, Ints, Ints, Floats],
) -> tuple[Trips, Ints]:
    """Play a day's wishes: its trips, and which wishes (by index) were refused.

    A wish is time, origin, destination, whether an e-bike is wanted (0, 1), and the seconds of its ride.
    Who finds no bike gives up; who finds no dock goes on to the next near station.
    """
    stock = [standing[0].tolist(), standing[1].tolist()]
    free: list[int] = (room - standing[0] - standing[1]).tolist()
    operating = np.flatnonzero(network.operating)
    near_order = np.argsort(network.distance_km[:, operating], axis=1, kind="stable")[:, :NEAR_STATIONS]
    near: list[list[int]] = operating[near_order].tolist()
    departures: list[int] = []
    starts: list[int] = []
    arrivals: list[int] = []
    ends: list[int] = []
    sorts: list[int] = []
    refused: list[int] = []
    under_way: list[tuple[int, int, int, int]] = []

    def arrive_until(limit: int) -> None:
        while under_way and under_way[0][0] < limit:
            time, trip, station, tries = heapq.heappop(under_way)
            if free[station]:
                free[station] -= 1
                stock[sorts[trip]][station] += 1
                arrivals[trip] = time
                ends[trip] = station
            else:
                wanted = ends[trip]
                onward = near[wanted][tries % len(near[wanted])]
                distance_km = network.distance_km[station, onward]
                later = time + 60 + int(distance_km * 1000 * DETOUR / METRES_PER_SECOND)
                heapq.heappush(under_way, (later, trip, onward, tries + 1))

    columns = zip(*(column.tolist() for column in wishes), strict=True)
    for wish, (time, origin, destination, wants_ebike, seconds) in enumerate(columns):
        arrive_until(time + 1)
        sort = wants_ebike if stock[wants_ebike][origin] else 1 - wants_ebike
        if not stock[sort][origin]:
            refused.append(wish)
            continue
        stock[sort][origin] -= 1
        free[origin] += 1
        # E-bikes are faster.
        lasts = max(LEAST_RIDE_SECONDS, int(seconds * (0.8 if sort else 1.0)))
        heapq.heappush(under_way, (time + lasts, len(departures), destination, 0))
        departures.append(time)
        starts.append(origin)
        arrivals.append(NEVER)
        ends.append(destination)
        sorts.append(sort)
    arrive_until(end)
    table = (np.array(column, dtype=np.int64) for column in (departures, starts, arrivals, ends, sorts))
    return Trips(*table), np.array(refused, dtype=np.int64)

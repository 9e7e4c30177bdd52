"""The simulated network: which stations there are, where, how big, and how people use their surroundings.

Drawn once from (stations, seed); it must not know the time. Demand, simulation and answers read it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal, Self

import numpy as np
import numpy.typing as npt

from velib_dagster.simulator.places import COMMUNES, PARIS, STREETS, Area

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Kind = Literal["residential", "business", "leisure"]

KINDS: Final[tuple[Kind, ...]] = ("residential", "business", "leisure")
DEFAULT_STATIONS: Final = 300
DEFAULT_SEED: Final = 1
MOST_STATIONS: Final = 3000
EBIKE_SHARE: Final = 0.4
FLEET_SHARE: Final = 0.42
"""Bikes of the fleet for each dock in service."""

SPECIALS_FROM: Final = 20
"""Networks smaller than this have only stations in service, so that small examples stay readable."""

KM_PER_DEGREE: Final = 111.2
NIGHT_FILL: Final = {"residential": 0.52, "business": 0.24, "leisure": 0.36}
"""Share of docks with a bike that the night trucks aim at."""

HOUR: Final = 3600
MONTH: Final = 30 * 24 * HOUR


@dataclass(frozen=True)
class Station:
    """One station as the feed describes it, and the truth about it that the feed does not tell."""

    code: str
    name: str
    lat: float
    lon: float
    capacity: int
    commune: str
    insee: str
    station_id: int
    kind: Kind
    busyness: float
    """How much its users ride, where 1 is the mean of a station of its size."""
    night_fill: float
    """Share of its docks that the night trucks fill."""
    is_installed: bool = True
    is_operating: bool = True
    heartbeat_seconds: int = HOUR
    heartbeat_phase: int = 0

    def last_reported(self, time: int) -> int:
        """Epoch second of its last heartbeat at `time`; it tells nothing about when the counts changed."""
        return time - (time - self.heartbeat_phase) % self.heartbeat_seconds


@dataclass(frozen=True)
class Network:
    """All stations, in the order in which the feed lists them. Arrays of one value a station keep that order."""

    stations: tuple[Station, ...]
    seed: int

    @classmethod
    def generate(cls, stations: int = DEFAULT_STATIONS, seed: int = DEFAULT_SEED) -> Self:
        """The network of this size and seed; the same pair always gives the same network.

        Raises:
            ValueError: not between 1 and 3,000 stations, or a negative seed.
        """
        if not 1 <= stations <= MOST_STATIONS:
            msg = f"a network has 1 to {MOST_STATIONS} stations, not {stations}"
            raise ValueError(msg)
        if seed < 0:
            msg = f"a seed is a whole number of at least 0, not {seed}"
            raise ValueError(msg)
        random = np.random.default_rng([seed, stations])
        in_paris = round(stations * 2 / 3)
        areas = [*_spread(PARIS, in_paris), *_spread(COMMUNES, stations - in_paris)]
        names = random.permutation(len(STREETS) * (len(STREETS) - 1))
        taken: set[int] = set()
        drawn = [_draw(random, area, int(names[i]), taken) for i, area in enumerate(areas)]
        order = random.permutation(stations)
        drawn = [drawn[i] for i in order]
        if stations >= SPECIALS_FROM:
            _make_specials(random, drawn)
        return cls(tuple(drawn), seed)

    def __len__(self) -> int:
        return len(self.stations)

    @cached_property
    def capacity(self) -> Ints:
        """Docks of each station."""
        return np.array([station.capacity for station in self.stations], dtype=np.int64)

    @cached_property
    def operating(self) -> npt.NDArray[np.bool_]:
        """Whether bikes can be rented and returned there at all."""
        return np.array([station.is_operating for station in self.stations])

    @cached_property
    def usable_capacity(self) -> Ints:
        """Docks of each station in service, 0 elsewhere."""
        return np.where(self.operating, self.capacity, 0)

    @cached_property
    def fleet(self) -> int:
        """Bikes of the network, constant for ever."""
        return round(FLEET_SHARE * int(self.usable_capacity.sum()))

    @cached_property
    def ebike_fleet(self) -> int:
        """E-bikes among the fleet."""
        return round(EBIKE_SHARE * self.fleet)

    @cached_property
    def distance_km(self) -> Floats:
        """Kilometres between each two stations, as the crow flies."""
        lat = np.array([station.lat for station in self.stations])
        lon = np.array([station.lon for station in self.stations])
        north = (lat[:, None] - lat[None, :]) * KM_PER_DEGREE
        east = (lon[:, None] - lon[None, :]) * KM_PER_DEGREE * np.cos(np.radians(48.86))
        distance: Floats = np.hypot(north, east)
        return distance


def _spread(areas: Sequence[Area], count: int) -> list[Area]:
    """Each area as often as its weight asks, `count` in all (largest remainders)."""
    weights = np.array([area.weight for area in areas], dtype=np.float64)
    shares = weights / weights.sum() * count
    numbers = np.floor(shares).astype(np.int64)
    for index in np.argsort(-(shares - numbers), kind="stable")[: count - int(numbers.sum())]:
        numbers[index] += 1
    return [area for area, number in zip(areas, numbers, strict=True) for _ in range(number)]


def _draw(random: np.random.Generator, area: Area, name: int, taken: set[int]) -> Station:
    code = area.prefix * 1000 + int(random.integers(1, 150))
    while code in taken:
        code += 1
    taken.add(code)
    first, second = divmod(name, len(STREETS) - 1)
    radius = area.radius_km * np.sqrt(random.random())
    angle = 2 * np.pi * random.random()
    lat = area.lat + radius * np.sin(angle) / KM_PER_DEGREE
    lon = area.lon + radius * np.cos(angle) / KM_PER_DEGREE / np.cos(np.radians(area.lat))
    kind = KINDS[int(random.choice(3, p=[1 - area.business - area.leisure, area.business, area.leisure]))]
    return Station(
        code=str(code),
        name=f"{STREETS[first]} - {STREETS[second + (second >= first)]}",
        lat=round(float(lat), 6),
        lon=round(float(lon), 6),
        capacity=int(np.clip(round(random.gamma(7.0, 4.7)), 15, 60)),
        commune=area.commune,
        insee=area.insee,
        # Real ids overflow 32 bits now and then.
        station_id=int(random.integers(10_000, 1 << 36 if random.random() < 0.2 else 1 << 30)),
        kind=kind,
        busyness=round(float(random.lognormal(-0.08, 0.4)), 3),
        night_fill=round(float(np.clip(NIGHT_FILL[kind] + random.normal(0, 0.08), 0.08, 0.85)), 3),
        heartbeat_phase=int(random.integers(0, HOUR)),
    )


def _make_specials(random: np.random.Generator, stations: list[Station]) -> None:
    """Give the network what the real one has too: stations out of service, without docks, and a relay station."""
    count = len(stations)
    without_docks = max(1, count // 150)
    closed = max(1, count // 50)
    chosen = [int(i) for i in random.permutation(count)[: without_docks + closed + 1]]
    relay = chosen.pop()
    for position, index in enumerate(chosen):
        stations[index] = replace(
            stations[index],
            capacity=0 if position < without_docks else stations[index].capacity,
            is_operating=False,
            is_installed=position % 2 == 0,
            # Their last word is weeks old, as in the real feed.
            heartbeat_seconds=MONTH,
            heartbeat_phase=int(random.integers(0, MONTH)),
        )
    special = set(chosen)
    host = next(s for i, s in enumerate(stations) if i not in special and i != relay)
    stations[relay] = replace(
        stations[relay],
        code=f"{host.code}_relais",
        name=f"{host.name} (relais)",
        lat=round(host.lat + 0.0003, 6),
        lon=host.lon,
        commune=host.commune,
        insee=host.insee,
        kind=host.kind,
        night_fill=host.night_fill,
    )

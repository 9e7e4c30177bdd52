"""A bike-share network whose truth is known, served over HTTP like the real feed.

It must know nothing of the platform that reads it but its settings. Commands, tests and benchmarks use the names here.
"""

from velib_dagster.simulator.days import write_days
from velib_dagster.simulator.network import DEFAULT_SEED, DEFAULT_STATIONS, Network, Station
from velib_dagster.simulator.server import SimulatorServer
from velib_dagster.simulator.simulation import Counts, Day, Simulation, day_of, simulate_day

__all__ = [
    "DEFAULT_SEED",
    "DEFAULT_STATIONS",
    "Counts",
    "Day",
    "Network",
    "Simulation",
    "SimulatorServer",
    "Station",
    "day_of",
    "simulate_day",
    "write_days",
]

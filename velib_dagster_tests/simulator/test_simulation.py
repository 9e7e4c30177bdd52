"""What must hold of every simulated day: bikes are conserved, counts are possible, the same day is always the same."""

import subprocess
import sys
import time
from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from velib_dagster.simulator import Day, Network, Simulation, day_of, simulate_day

TUESDAY = date(2026, 11, 24)
NETWORK = Network.generate(300, 1)


@pytest.fixture(scope="module")
def tuesday() -> Day:
    return simulate_day(NETWORK, TUESDAY)


def test_bikes_in_docks_and_on_trips_are_the_fleet_all_day(tuesday: Day) -> None:
    for second in range(tuesday.start, tuesday.end, 997):
        counts = tuesday.at(second)
        assert int(counts.bikes.sum()) + tuesday.riding(second) == NETWORK.fleet
    assert int(tuesday.ebike.sum()) == NETWORK.ebike_fleet


def test_counts_are_never_negative_nor_over_capacity(tuesday: Day) -> None:
    for second in range(tuesday.start, tuesday.end, 60):
        counts = tuesday.at(second)
        assert (counts.mechanical >= 0).all()
        assert (counts.ebike >= 0).all()
        assert (counts.docks >= 0).all()
        assert (counts.bikes + counts.docks <= NETWORK.capacity).all()


@settings(max_examples=15, deadline=None)
@given(
    stations=st.integers(1, 60),
    seed=st.integers(0, 1000),
    day=st.dates(date(2020, 1, 1), date(2030, 12, 31)),
)
def test_every_network_and_day_conserves_bikes_within_capacity(stations: int, seed: int, day: date) -> None:
    network = Network.generate(stations, seed)
    truth = simulate_day(network, day)
    for second in np.linspace(truth.start, truth.end - 1, 40).astype(int).tolist():
        counts = truth.at(second)
        assert int(counts.bikes.sum()) + truth.riding(second) == network.fleet
        assert min(counts.mechanical.min(), counts.ebike.min(), counts.docks.min()) >= 0
        assert (counts.bikes + counts.docks <= network.capacity).all()


def test_stations_out_of_service_never_move(tuesday: Day) -> None:
    closed = ~NETWORK.operating
    for second in (tuesday.start, tuesday.start + 40_000, tuesday.end - 1):
        assert not tuesday.at(second).bikes[closed].any()
    assert NETWORK.operating[tuesday.trips.origin].all()
    assert NETWORK.operating[tuesday.trips.destination].all()


def test_rush_hour_shows_empty_and_full_stations_and_work_fills_while_homes_drain(tuesday: Day) -> None:
    nine = tuesday.at(int(datetime(2026, 11, 24, 9, tzinfo=UTC).timestamp()))
    operating = NETWORK.operating
    assert (nine.bikes[operating] == 0).sum() >= 5
    assert (nine.docks[operating] == 0).sum() >= 2
    kinds = np.array([station.kind for station in NETWORK.stations])
    night = tuesday.at(tuesday.start)
    assert nine.bikes[kinds == "business"].sum() > 1.2 * night.bikes[kinds == "business"].sum()
    assert nine.bikes[kinds == "residential"].sum() < 0.9 * night.bikes[kinds == "residential"].sum()


def test_a_wish_is_refused_only_where_no_bike_stands(tuesday: Day) -> None:
    assert tuesday.refused_time.size > 0
    picked = range(0, tuesday.refused_time.size, 25)
    for second, station in ((int(tuesday.refused_time[i]), int(tuesday.refused_station[i])) for i in picked):
        # A bike may still come in the very second in which somebody was refused.
        assert min(tuesday.at(second).bikes[station], tuesday.at(second - 1).bikes[station]) == 0


def test_a_day_of_300_stations_has_the_rides_of_a_real_network(tuesday: Day) -> None:
    assert 40 * 300 < tuesday.trips.departure.size < 120 * 300
    arrived = tuesday.trips.arrival < tuesday.end
    minutes = (tuesday.trips.arrival - tuesday.trips.departure)[arrived] / 60
    assert 10 < np.median(minutes) < 30
    assert (minutes >= 2).all()


def test_trucks_bring_the_fleet_back_each_night() -> None:
    simulation = Simulation(NETWORK)
    monday = simulation.day(date(2026, 11, 23))
    tuesday = simulation.day(TUESDAY)
    assert monday.end == tuesday.start
    before, after = simulation.at(monday.end - 1), simulation.at(monday.end)
    assert int(after.bikes.sum()) == NETWORK.fleet
    assert (before.bikes != after.bikes).sum() > 100


def test_the_state_at_a_second_depends_neither_on_what_was_asked_before_nor_on_the_process() -> None:
    moment = int(datetime(2026, 11, 24, 17, 31, 7, tzinfo=UTC).timestamp())
    program = (
        "from velib_dagster.simulator import *\n"
        f"counts = Simulation(Network.generate(300, 1)).at({moment})\n"
        "print(counts.mechanical.tolist(), counts.ebike.tolist(), counts.docks.tolist())"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    simulation = Simulation(Network.generate(300, 1))
    for days_back in (5, 0, 1, 2, 3, 4):
        simulation.at(moment - days_back * 86_400)
    counts = simulation.at(moment)
    assert other.strip() == f"{counts.mechanical.tolist()} {counts.ebike.tolist()} {counts.docks.tolist()}"


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        (date(2026, 3, 28), 23),  # clocks go forward in the night that ends this day
        (date(2026, 3, 29), 24),
        (date(2026, 10, 24), 25),  # and back
        (date(2026, 10, 25), 24),
    ],
)
def test_days_around_a_change_of_clocks_join_without_hole_or_overlap(day: date, hours: int) -> None:
    truth = simulate_day(NETWORK, day)
    assert truth.end - truth.start == hours * 3600
    assert day_of(truth.start) == day
    assert day_of(truth.end - 1) == day
    assert (day_of(truth.end) - day).days == 1
    for second in range(truth.start, truth.end, 1800):
        assert day_of(second) == day
        assert int(truth.at(second).bikes.sum()) + truth.riding(second) == NETWORK.fleet


def test_a_second_outside_the_day_is_refused(tuesday: Day) -> None:
    with pytest.raises(ValueError, match="not in the simulated day"):
        tuesday.at(tuesday.end)


@pytest.mark.parametrize(("stations", "seconds"), [(300, 1.5), (1500, 5.0)])
def test_a_day_is_worked_out_fast_enough_to_start_a_server(stations: int, seconds: float) -> None:
    began = time.process_time()
    Simulation(Network.generate(stations, 3)).day(TUESDAY)
    assert time.process_time() - began < seconds

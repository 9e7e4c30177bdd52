"""What must hold of the wishes to ride, before chance plays its part."""

import numpy as np
import pytest

from velib_dagster.simulator import Network
from velib_dagster.simulator.demand import RENTALS_PER_DAY, Demand

NETWORK = Network.generate(300, 1)


@pytest.fixture(params=[False, True], ids=["weekday", "weekend"])
def demand(request: pytest.FixtureRequest) -> Demand:
    return Demand(NETWORK, weekend=request.param)


def test_nobody_wants_to_leave_from_or_ride_to_a_station_out_of_service(demand: Demand) -> None:
    closed = ~NETWORK.operating
    assert not demand.leaving[:, closed].any()
    assert not demand.drawing[:, closed].any()
    assert (demand.leaving[:, NETWORK.operating].sum(axis=0) > 0).all()


def test_a_station_wants_about_as_many_rides_a_day_as_a_real_one(demand: Demand) -> None:
    a_day = demand.leaving.sum(axis=0)[NETWORK.operating].mean()
    assert 0.7 * RENTALS_PER_DAY < a_day < 1.4 * RENTALS_PER_DAY


def test_a_whole_day_brings_each_station_about_as_many_bikes_as_it_takes(demand: Demand) -> None:
    brought = np.zeros(len(NETWORK))
    for hour in range(24):
        shares = np.diff(demand.reach(hour), axis=1, prepend=0)
        brought += demand.leaving[hour] @ shares
    operating = NETWORK.operating
    ratio = brought[operating] / demand.leaving.sum(axis=0)[operating]
    assert ratio.min() > 0.9
    assert ratio.max() < 1.1


def test_on_weekday_mornings_homes_are_left_and_work_is_sought() -> None:
    weekday = Demand(NETWORK, weekend=False)
    kinds = np.array([station.kind for station in NETWORK.stations])
    capacity = NETWORK.usable_capacity

    def per_dock(values: np.ndarray, kind: str) -> float:
        return float(values[kinds == kind].sum() / capacity[kinds == kind].sum())

    assert per_dock(weekday.leaving[8], "residential") > 2 * per_dock(weekday.leaving[8], "business")
    assert per_dock(weekday.drawing[8], "business") > 2 * per_dock(weekday.drawing[8], "residential")
    assert per_dock(weekday.leaving[18], "business") > per_dock(weekday.leaving[18], "residential")

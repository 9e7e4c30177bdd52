"""Which stations are neighbours; no Spark."""

import numpy as np
import pytest

from velib_dagster.forecast.stations import Station, Stations, distances_m


def test_a_degree_of_latitude_is_111_km() -> None:
    place = np.radians([[48.0, 2.3], [49.0, 2.3], [48.0, 2.3]])
    found = distances_m(place)
    assert found[0] == pytest.approx([0, 111_195, 0], abs=1)


def test_neighbours_lie_within_500_m_both_ways_and_never_are_the_station_itself() -> None:
    stations = Stations.of(
        [
            Station("3", "z", 48.8600, 2.3000),
            Station("1", "z", 48.8640, 2.3000),  # 445 m north of 3
            Station("2", "z", 48.8690, 2.3000),  # 1 km north of 3, 556 m of 1
            Station("4", "z", None, None),
        ]
    )
    assert [station.code for station in stations.known] == ["1", "2", "3", "4"]
    assert stations.neighbours.tolist() == [[0, 2], [2, 0]]
    assert Stations.of([]).neighbours.shape == (0, 2)

"""What must hold of every simulated network, whatever its size and seed."""

import json
from pathlib import Path

import pytest
import shapely
from shapely.geometry import shape

from velib_dagster.simulator import Network


def test_the_same_size_and_seed_give_the_same_network_and_another_seed_another() -> None:
    assert Network.generate(60, 4).stations == Network.generate(60, 4).stations
    assert Network.generate(60, 4).stations != Network.generate(60, 5).stations


@pytest.mark.parametrize("count", [1, 2, 5, 20, 300, 1500, 3000])
def test_codes_names_and_ids_are_unique_at_every_size(count: int) -> None:
    stations = Network.generate(count, 1).stations
    assert len(stations) == count
    for values in ({s.code for s in stations}, {s.station_id for s in stations}):
        assert len(values) == count


def test_two_thirds_are_in_paris_with_the_arrondissement_in_their_code() -> None:
    stations = Network.generate(300, 1).stations
    paris = [s for s in stations if s.commune == "Paris"]
    assert 195 <= len(paris) <= 205
    assert {int(s.code.removesuffix("_relais")) // 1000 for s in paris} == set(range(1, 21))
    assert {s.insee for s in paris} == {"75056"}
    vitry = [s for s in stations if s.commune == "Vitry-sur-Seine"]
    assert vitry
    assert all(s.code.startswith("44") and s.insee == "94081" for s in vitry)


def test_a_network_has_the_odd_stations_that_the_real_one_has() -> None:
    stations = Network.generate(300, 1).stations
    assert sum(s.code.endswith("_relais") for s in stations) == 1
    assert any(s.capacity == 0 for s in stations)
    assert any(not s.is_operating and s.capacity > 0 for s in stations)
    assert any(not s.is_operating and s.is_installed for s in stations)
    assert any(not s.is_installed for s in stations)
    assert any(s.station_id >= 1 << 31 for s in stations)
    assert all(15 <= s.capacity <= 60 for s in stations if s.capacity)
    assert sum(s.is_operating for s in stations) > 280


def test_paris_stations_stand_in_the_arrondissement_of_their_code(shared_data: Path) -> None:
    features = json.loads((shared_data / "geo/paris-arrondissements.geojson").read_text())["features"]
    shapes = {f["properties"]["c_ar"]: shape(f["geometry"]) for f in features}
    for station in Network.generate(1500, 2).stations:
        if station.commune == "Paris" and not station.code.endswith("_relais"):
            place = shapely.Point(station.lon, station.lat)
            assert shapes[int(station.code) // 1000].contains(place), station


@pytest.mark.parametrize(("stations", "seed"), [(0, 1), (3001, 1), (10, -1)])
def test_an_impossible_size_or_seed_is_refused(stations: int, seed: int) -> None:
    with pytest.raises(ValueError, match="not"):
        Network.generate(stations, seed)


def test_a_heartbeat_is_at_most_an_hour_old_in_service_and_tells_nothing_of_the_counts() -> None:
    station = next(s for s in Network.generate(60, 1).stations if s.is_operating)
    beats = {station.last_reported(1_800_000_000 + second) for second in range(0, 7200, 60)}
    assert len(beats) in {2, 3}
    assert all(0 <= t - station.last_reported(t) < 3600 for t in range(1_800_000_000, 1_800_007_200, 60))

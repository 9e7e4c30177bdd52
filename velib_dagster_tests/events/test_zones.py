"""Zones and cells of stations."""

import json
from pathlib import Path

import h3
import pytest

from velib_dagster.events.zones import ZonesFileError, cell_of, zone_of, zones_from_geojson

PARIS = (48.865983, 2.275725)


@pytest.mark.parametrize(
    ("code", "commune", "place", "zone"),
    [
        ("16107", "Paris", PARIS, "Paris 16e"),
        ("1001", "Paris", (48.86, 2.34), "Paris 1er"),
        ("7101_relais", "Paris", (48.857, 2.31), "Paris 7e"),
        ("44015", "Vitry-sur-Seine", (48.778, 2.396), "Vitry-sur-Seine"),
        ("16107", None, PARIS, "Paris 16e"),
        ("16107", None, (40.7, -74.0), "unknown"),
        ("abc", None, PARIS, "unknown"),
        ("016107", "Paris", PARIS, "Paris 16e"),
        ("16107²", "Paris", PARIS, "Paris 16e"),
        ("①16", "Paris", PARIS, "Paris"),
        ("١٦١٠٧", "Paris", PARIS, "Paris"),
        ("9" * 5000, "Paris", PARIS, "Paris"),
        ("21001", "Paris", PARIS, "Paris"),
    ],
)
def test_a_zone_is_the_arrondissement_in_paris_and_the_commune_elsewhere(code, commune, place, zone) -> None:
    assert zone_of(code, commune, *place) == zone


def test_a_cell_is_h3_of_resolution_8() -> None:
    cell = cell_of(*PARIS)
    assert h3.get_resolution(cell) == 8
    assert h3.latlng_to_cell(*PARIS, 8) == cell


def test_a_geojson_names_zones_and_stations_outside_fall_back(tmp_path: Path) -> None:
    square = {"type": "Polygon", "coordinates": [[[2.2, 48.8], [2.3, 48.8], [2.3, 48.9], [2.2, 48.9], [2.2, 48.8]]]}
    path = tmp_path / "zones.geojson"
    feature = {"type": "Feature", "properties": {"name": "Ouest"}, "geometry": square}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    zone = zones_from_geojson(path)
    assert zone("16107", "Paris", *PARIS) == "Ouest"
    assert zone("12109", "Paris", 48.84, 2.38) == "Paris 12e"


@pytest.mark.parametrize("text", ["", "{}", '{"features": [{"properties": {}, "geometry": null}]}'])
def test_a_zones_file_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "zones.geojson"
    path.write_text(text)
    with pytest.raises(ZonesFileError, match=r"zones\.geojson"):
        zones_from_geojson(path)


def test_the_recorded_arrondissements_agree_with_the_codes(shared_data: Path, tmp_path: Path) -> None:
    collection = json.loads((shared_data / "geo" / "paris-arrondissements.geojson").read_bytes())
    for feature in collection["features"]:
        number = feature["properties"]["c_ar"]
        feature["properties"]["zone"] = f"Paris {number}{'er' if number == 1 else 'e'}"
    path = tmp_path / "zones.geojson"
    path.write_text(json.dumps(collection))
    zone = zones_from_geojson(path)
    rows = json.loads((shared_data / "feed-samples" / "explore-v2.1-export.json").read_bytes())
    paris = [r for r in rows if r["nom_arrondissement_communes"] == "Paris"]
    places = [(r["stationcode"], "Paris", r["coordonnees_geo"]["lat"], r["coordonnees_geo"]["lon"]) for r in paris]
    agree = sum(zone(*place) == zone_of(*place) for place in places)
    assert agree / len(places) > 0.98

"""Which vehicles are bikes and which have a motor, in every field that GBFS systems use for it."""

from collections import Counter

import pytest

from velib_dagster.feed.vehicles import NO_TYPES, Bikes, bikes_at, types_of

TYPES = types_of(
    [
        {"vehicle_type_id": "h", "form_factor": "bicycle", "propulsion_type": "human"},
        {"vehicle_type_id": 2, "form_factor": "Bicycle", "propulsion_type": "electric_assist"},
        {"vehicle_type_id": "cargo", "form_factor": "cargo_bicycle", "propulsion_type": "electric"},
        {"vehicle_type_id": "odd", "form_factor": "bicycle"},
        {"vehicle_type_id": "s", "form_factor": "scooter_standing", "propulsion_type": "electric"},
        {"vehicle_type_id": "c", "form_factor": "car", "propulsion_type": "combustion"},
        {"vehicle_type_id": None, "form_factor": "bicycle"},
        {"vehicle_type_id": [], "form_factor": "bicycle"},
        {"vehicle_type_id": "nothing"},
        "no row",
    ]
)
CARS = types_of([{"vehicle_type_id": "c", "form_factor": "car"}])


def bikes(total=3, by_name=None, ebikes=None, by_type=None, types=NO_TYPES, mends=None) -> Bikes:
    counted = by_type if not isinstance(by_type, dict) else [
        {"vehicle_type_id": name, "count": count} for name, count in by_type.items()
    ]  # fmt: skip
    return bikes_at((total,), by_name, ebikes, counted, types, Counter() if mends is None else mends)


@pytest.mark.parametrize(
    "given",
    [
        {"ebikes": 2},
        {"ebikes": "2"},
        {"by_name": {"electric": 2, "smart": 0, "classic": 1}},
        {"by_name": [{"mechanical": 1}, {"ebike": 2}]},
        {"by_name": {"Classic": 1, "E-Bike": 2, "total": 3}},
        {"by_type": {"h": 1, "2": 2}, "types": TYPES},
        {"by_type": {"h": 1, "2": 1, "cargo": 1}, "types": TYPES},
        {"by_type": {"h": 1, "2": 2, "s": 4}, "types": TYPES},
        {"total": 7, "by_type": {"h": 1, "2": 2, "s": 4}, "types": TYPES},
        {"total": None, "by_type": {"h": 1, "2": 2, "c": 1}, "types": TYPES},
        {"by_name": {"mechanical": 1, "ebike": 1}, "ebikes": 2},
    ],
)
def test_three_bikes_are_one_mechanical_and_two_electric(given) -> None:
    assert bikes(**given) == Bikes(3, 1, 2)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"ebikes": 5},
        {"ebikes": -1},
        {"ebikes": "x"},
        {"by_name": {"mechanical": -1, "ebike": 4}},
        {"by_name": {"mechanical": 1, "ebike": 1}},
        {"by_name": "text"},
        {"by_type": {"h": 1, "2": 2}},
        {"by_type": {"h": 1, "unknown": 2}, "types": TYPES},
        {"by_type": {"h": 1, "2": -1}, "types": TYPES},
        {"by_type": {"odd": 3}, "types": TYPES},
        {"by_type": ["no entry"], "types": TYPES},
    ],
)
def test_what_does_not_add_up_or_cannot_be_read_is_no_split_and_the_bikes_stay(given) -> None:
    assert bikes(**given) == Bikes(3, None, None)


def test_vehicles_that_are_no_bicycles_are_left_out_and_told() -> None:
    mends: Counter[str] = Counter()
    assert bikes(total=7, by_type={"h": 3, "c": 4}, types=TYPES, mends=mends) == Bikes(3, 3, 0)
    assert mends == {"not_bikes": 4}


def test_a_system_without_bicycles_has_no_bikes() -> None:
    mends: Counter[str] = Counter()
    assert bikes(total=2, by_type={"c": 2}, types=CARS, mends=mends) == Bikes(0, None, None)
    assert bikes(total=2, types=CARS) == Bikes(0, None, None)
    assert mends == {"not_bikes": 2}

"""Which days are in doubt: pure, on small tables."""

from datetime import date

import pyarrow as pa

from velib_dagster.statistics.days import Days
from velib_dagster.statistics.proof import seconds_beyond, twin_differences

SATURDAY, SPRING, MONDAY = date(2024, 3, 30), date(2024, 3, 31), date(2024, 4, 1)
DAYS = Days(SATURDAY, MONDAY)


def station_days(*seconds: tuple[date, int]) -> dict[str, pa.Table]:
    rows = [{"station_code": "16107", "day": day, "seconds": known} for day, known in seconds]
    return {"station_days": pa.Table.from_pylist(rows)}


def test_a_day_with_more_known_seconds_than_its_clocks_give_is_in_doubt() -> None:
    assert seconds_beyond(DAYS, station_days((SATURDAY, 86_400), (SPRING, 82_800))) == {}
    assert seconds_beyond(DAYS, station_days((SATURDAY, 86_400), (SPRING, 82_801))) == {
        SPRING: {"station_days": ["station_code 16107 has 82801 known seconds of 82800"]}
    }


def test_only_the_day_that_differs_is_in_doubt() -> None:
    found = station_days((SATURDAY, 5), (SPRING, 5), (MONDAY, 5))
    assert twin_differences(DAYS, found, found) == {}
    assert list(twin_differences(DAYS, found, station_days((SATURDAY, 5), (SPRING, 6), (MONDAY, 5)))) == [SPRING]
    assert list(twin_differences(DAYS, found, station_days((SATURDAY, 5), (SPRING, 5)))) == [MONDAY]


def test_a_row_of_none_of_the_days_is_a_doubt_about_all() -> None:
    found = station_days((SATURDAY, 5), (SPRING, 5))
    beside = station_days((SATURDAY, 5), (SPRING, 5), (date(2024, 4, 2), 5))
    assert list(twin_differences(DAYS, found, beside)) == [SATURDAY, SPRING, MONDAY]

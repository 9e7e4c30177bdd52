"""The figures of stations, zones and the network against sums worked out by hand."""

from datetime import date, timedelta

import pytest

from velib_dagster.store.statistics_reads import (
    Days,
    Subject,
    network_figures,
    station_figures,
    troubled_stations,
    zone_figures,
)
from velib_dagster.store.upsert import Connection
from velib_dagster_tests.store.make_days import DAY, NEXT, Row, at, episode, hour_of, row, station_day, write, zone_day

pytestmark = pytest.mark.postgres


def read(connection: Connection, statement: str) -> list[tuple[object, ...]]:
    return connection.execute(statement).fetchall()  # type: ignore[arg-type]


def test_means_weigh_each_day_by_its_seconds_and_shares_are_of_the_time_in_service(connection: Connection) -> None:
    short = station_day(
        seconds=4000, seconds_in_service=3000, seconds_empty=600, seconds_full=300, seconds_docks_known=2000,
        seconds_split_known=1000, seconds_occupancy_known=3000, bikes_seconds=3000 * 10, mechanical_seconds=1000 * 4,
        ebike_seconds=1000 * 6, docks_seconds=2000 * 20, occupancy_seconds=900.0, bikes_min=0, bikes_max=12,
        seconds_low_bikes=900, seconds_low_docks=500, seconds_ebike_only=100, seconds_mechanical_only=50,
        seconds_balance_known=2000, unusable_docks_seconds=4000, overflow_seconds=1000, rentals=7, returns=4,
    )  # fmt: skip
    long = station_day(
        NEXT, seconds=80_000, seconds_in_service=27_000, bikes_seconds=27_000 * 20, seconds_occupancy_known=27_000,
        occupancy_seconds=27_000 * 0.5, bikes_min=3, bikes_max=25, rentals=1, returns=9, docks_min=None,
    )  # fmt: skip
    write(connection, "station_stats", DAY, station_days=[short])
    write(connection, "station_stats", NEXT, station_days=[long])
    (found,) = read(
        connection,
        "SELECT bikes_mean, bikes_min, bikes_max, mechanical_mean, ebike_mean, docks_mean, occupancy_mean,"
        " seconds_in_service, seconds_out_of_service, empty_share, full_share, low_bikes_share, low_docks_share,"
        " ebike_only_share, mechanical_only_share, unusable_docks_mean, overflow_mean, rentals, returns, balance"
        " FROM station_stats",
    )
    assert found == pytest.approx(
        (19, 0, 25, 4, 6, 20, 0.48, 30_000, 54_000, 0.02, 0.15, 0.03, 0.25, 0.1, 0.05, 2, 0.5, 8, 13, 5)
    )


def test_a_station_never_in_service_has_neither_means_nor_shares_and_does_not_count_as_empty(
    connection: Connection,
) -> None:
    write(connection, "station_stats", DAY, station_days=[station_day(seconds=86_000)])
    (found,) = read(
        connection,
        "SELECT bikes_mean, bikes_min, docks_mean, occupancy_mean, empty_share, full_share, low_docks_share,"
        " unusable_docks_mean, seconds_out_of_service FROM station_stats",
    )
    assert found == (None,) * 8 + (86_000,)
    assert read(connection, "SELECT * FROM empty_stations") == []


def test_a_capacity_of_zero_divides_nothing(connection: Connection) -> None:
    write(connection, "zone_stats", DAY, zone_days=[zone_day(seconds=10, seconds_in_service=10, bikes_seconds=20)])
    found = read(connection, "SELECT bikes_mean, occupancy_mean, bikes_per_dock, bikes_per_dock_rule FROM zone_stats")
    assert found == [(2.0, None, None, None)]


def test_a_range_reads_its_days_only(connection: Connection) -> None:
    for n in range(3):
        day = DAY + timedelta(days=n)
        write(
            connection, "station_stats", day, station_days=[station_day(day, seconds_in_service=100, bikes_seconds=n)]
        )
    last = DAY + timedelta(days=2)
    assert read(connection, f"SELECT bikes_mean, days FROM station_stats('{NEXT}', '{last}')") == [(0.015, 2)]
    assert read(connection, f"SELECT bikes_mean, days FROM station_stats('{last}', '{last}')") == [(0.02, 1)]
    assert read(connection, f"SELECT bikes_mean FROM station_stats('{last}', '{DAY}')") == []


def test_a_station_that_moved_shows_its_newest_place_and_counts_in_both_zones(connection: Connection) -> None:
    moved = station_day(NEXT, name="New name", zone="Paris 17e", cell="881fb46641fffff", lat=48.88, capacity=40)
    write(connection, "station_stats", DAY, station_days=[station_day()])
    write(connection, "station_stats", NEXT, station_days=[moved])
    write(connection, "zone_stats", DAY, zone_days=[zone_day(stations=1)])
    write(connection, "zone_stats", NEXT, zone_days=[zone_day(NEXT, "Paris 17e", stations=1)])
    place = "SELECT name, zone, cell, lat, capacity FROM station_stats"
    assert read(connection, place) == [("New name", "Paris 17e", "881fb46641fffff", 48.88, 40)]
    old = ("Benjamin Godard", "Paris 16e", "881fb46645fffff", 48.865983, 35)
    assert read(connection, f"{place}('{DAY}', '{DAY}')") == [old]
    assert read(connection, "SELECT zone, days FROM zone_stats ORDER BY zone") == [("Paris 16e", 1), ("Paris 17e", 1)]


def test_coverage_is_of_all_days_between_the_first_and_the_last_computed(connection: Connection) -> None:
    change = date(2024, 10, 27)  # 25 hours; the day after it has no statistics, the one after that has
    after = change + timedelta(days=2)
    write(
        connection, "station_stats", change, day_seconds=90_000, network_seconds=80_000,
        station_days=[station_day(change, seconds=72_000)],
    )  # fmt: skip
    write(connection, "station_stats", after, network_seconds=86_000, station_days=[station_day(after, seconds=86_000)])
    figures = "SELECT days, seconds, silent_seconds, coverage FROM station_stats"
    assert read(connection, figures) == [(2, 158_000, 8000, pytest.approx(158_000 / (90_000 + 2 * 86_400)))]
    assert read(connection, f"{figures}('2024-01-01', '{change}')") == [(1, 72_000, 8000, pytest.approx(0.8))]
    gap = change + timedelta(days=1)
    assert read(connection, f"{figures}('{gap}', '{after}')") == [(1, 86_000, 0, pytest.approx(86_000 / 172_800))]


def test_a_frozen_day_has_eight_waking_hours_in_service_and_no_change_in_them(connection: Connection) -> None:
    days = [
        {"waking_seconds": 28_800, "waking_changes": 0, "changes": 3},
        {"waking_seconds": 28_799, "waking_changes": 0},
        {"waking_seconds": 57_600, "waking_changes": 1},
    ]
    for n, values in enumerate(days):
        day = DAY + timedelta(days=n)
        write(connection, "station_stats", day, station_days=[station_day(day, **values)])
    assert read(connection, "SELECT frozen_days, days FROM station_stats") == [(1, 3)]


def test_sums_beyond_32_bits_stay_exact(connection: Connection) -> None:
    for n in range(3):
        day = DAY + timedelta(days=n)
        most = station_day(day, seconds=86_400, seconds_in_service=86_400, bikes_seconds=2_000_000_000)
        write(connection, "station_stats", day, station_days=[most])
    assert read(connection, "SELECT bikes_mean FROM station_stats") == [(pytest.approx(2_000_000_000 / 86_400),)]


def test_the_longest_empty_come_first_with_their_hours_and_weekday_peaks(connection: Connection) -> None:
    saturday = DAY + timedelta(days=3)
    usual = {"seconds_in_service": 80_000, "seconds_docks_known": 40_000}
    days = [station_day(code="b", seconds_empty=5000, **usual), station_day(code="c", seconds_empty=5000, **usual)]
    days += [station_day(code="a", seconds_empty=100, seconds_full=4000, **usual), station_day(code="never", **usual)]

    def hour(day: date, hour: int, in_service: int, empty: int) -> Row:
        return hour_of(
            "station_hours", day, hour, station_code="b", seconds_in_service=in_service, seconds_empty=empty
        )  # fmt: skip

    hours = [hour(DAY, 6, 3600, 3600), hour(DAY, 7, 3600, 900), hour(DAY, 9, 1800, 900), hour(DAY, 10, 3600, 3600)]
    hours += [hour(DAY, 15, 3600, 3600), hour(DAY, 16, 3600, 0), hour(DAY, 20, 0, 0)]
    write(connection, "station_stats", DAY, station_days=days, station_hours=hours)
    weekend = [station_day(saturday, code="b", seconds_empty=10, **usual)]
    write(
        connection, "station_stats", saturday, station_days=weekend, station_hours=[hour(saturday, 7, 3600, 3600)]
    )  # fmt: skip
    found = read(connection, "SELECT station_code, seconds_empty, empty_share FROM empty_stations")
    assert found == [("b", 5010, 5010 / 160_000), ("c", 5000, 0.0625), ("a", 100, 0.00125)]
    ((by_hour, morning, evening),) = read(
        connection, "SELECT by_hour, empty_share_morning, empty_share_evening FROM empty_stations LIMIT 1"
    )
    told = {6: 1.0, 7: 4500 / 7200, 9: 0.5, 10: 1.0, 15: 1.0, 16: 0.0}
    assert by_hour == [told.get(n) for n in range(24)]
    assert (morning, evening) == (pytest.approx(1800 / 5400), 0.0)
    peaks = "SELECT empty_share_morning, full_share_morning FROM station_peaks WHERE station_code = 'b'"
    assert read(connection, peaks) == [(pytest.approx(1 / 3), None)]
    (full,) = troubled_stations(connection, Subject.FULL)
    assert (full.station_code, full.seconds, full.share) == ("a", 4000, 0.1)
    assert full.episodes is None
    assert read(connection, "SELECT by_hour FROM full_stations") == [([None] * 24,)]


def test_profiles_keep_weekdays_and_weekends_apart(connection: Connection) -> None:
    saturday = DAY + timedelta(days=3)
    for day, bikes in ((DAY, 2), (NEXT, 4), (saturday, 9)):
        values = {"seconds": 3600, "seconds_in_service": 3600, "bikes_seconds": 3600 * bikes, "rentals": bikes}
        station = hour_of("station_hours", day, 8, station_code="16107", **values)
        zone = hour_of("zone_hours", day, 8, zone="Paris 16e", seconds_empty=360 * bikes, **values)
        write(connection, "station_stats", day, station_hours=[station])
        write(connection, "zone_stats", day, zone_hours=[zone])
    profile = "SELECT hour, weekend, days, bikes_mean, rentals FROM {} ORDER BY weekend"
    for source in ("station_profile", "zone_profile", "network_hours"):
        assert read(connection, profile.format(source)) == [(8, False, 2, 3.0, 6), (8, True, 1, 9.0, 9)]
    one_day = f"SELECT days, empty_share FROM network_hours('{NEXT}', '{NEXT}')"
    assert read(connection, one_day) == [(1, pytest.approx(0.4))]


def test_the_hour_that_comes_twice_adds_up_under_its_name(connection: Connection) -> None:
    day = date(2024, 10, 27)
    both = [
        row(
            "station_hours", station_code="1", day=day, hour=2, weekend=True, hour_start=start,
            seconds=3600, seconds_in_service=3600, bikes_seconds=3600 * bikes,
        )
        for start, bikes in ((at(day, 2), 1), (at(day, 2).replace(fold=1), 5))
    ]  # fmt: skip
    write(connection, "station_stats", day, day_seconds=90_000, station_hours=both)
    assert read(connection, "SELECT hour, days, seconds, bikes_mean FROM station_profile") == [(2, 1, 7200, 3.0)]


def test_a_zone_counts_bikes_at_once_and_the_time_with_no_bike_anywhere(connection: Connection) -> None:
    zone = zone_day(
        stations=3, seconds=240_000, seconds_in_service=200_000, bikes_seconds=1_000_000, docks_seconds=3_000_000,
        seconds_docks_known=200_000, seconds_split_known=100_000, mechanical_seconds=300_000, ebike_seconds=100_000,
        capacity_seconds=4_500_000, bikes_capacity_known_seconds=1_000_000, seconds_covered=80_000,
        seconds_served=50_000, seconds_no_bike=5000, seconds_no_dock=100, rentals=30, returns=20,
    )  # fmt: skip
    write(connection, "zone_stats", DAY, zone_days=[zone])
    (found,) = read(
        connection,
        "SELECT bikes_mean, zone_bikes_mean, zone_docks_mean, no_bike_share, no_dock_share, ebike_share,"
        " bikes_per_dock, bikes_per_dock_rule, balance, coverage, empty_outages FROM zone_stats",
    )
    assert found == (
        5.0, 12.5, 37.5, 0.1, 0.002, 0.25, pytest.approx(1 / 4.5), pytest.approx(0.5), -10,
        pytest.approx(80_000 / 86_400), None,
    )  # fmt: skip
    (figures,) = zone_figures(connection, Days(DAY, DAY), top=1)
    assert (figures.key, figures.area_bikes_mean, figures.balance) == ("Paris 16e", 12.5, -10)


def test_cluster_outages_count_for_the_zone_and_the_cell_of_their_centre(connection: Connection) -> None:
    write(connection, "zone_stats", DAY, zone_days=[zone_day(), zone_day(zone="Paris 17e")],
          cell_days=[row("cell_days", day=DAY, cell="881fb46645fffff")])  # fmt: skip
    write(connection, "station_stats", DAY, station_days=[station_day(), station_day(code="2")])
    outages = [episode("cluster_empty", at(DAY, 8), at(DAY, 9)), episode("empty", at(DAY, 7), at(DAY, 9))]
    outages.append(episode("cluster_empty", at(DAY, 8), at(DAY, 8, 30), code="2"))
    write(connection, "empty_stations", DAY, episodes=outages)
    write(connection, "full_stations", DAY)
    columns = "empty_outages, empty_outage_hours, full_outages, full_outage_hours"
    assert read(connection, f"SELECT zone, {columns} FROM zone_stats ORDER BY zone") == [
        ("Paris 16e", 2, 1.5, 0, 0.0),
        ("Paris 17e", 0, 0.0, 0, 0.0),
    ]
    assert read(connection, f"SELECT {columns} FROM cell_stats") == [(2, 1.5, 0, 0.0)]
    assert read(connection, f"SELECT {columns} FROM network_stats") == [(2, 1.5, 0, 0.0)]


def test_the_network_sums_its_zones_and_says_how_unequal_they_are(connection: Connection) -> None:
    zones = [
        zone_day(
            zone=name, stations=2, seconds=1000, seconds_in_service=1000, seconds_empty=empty, bikes_seconds=4000,
            capacity_seconds=8000, bikes_capacity_known_seconds=bikes, rentals=1,
        )
        for name, empty, bikes in (("a", 100, 4000), ("b", 200, 4000), ("c", 600, 4000))
    ]  # fmt: skip
    zones.append(zone_day(zone="never in service", stations=1, seconds=1000))
    write(connection, "zone_stats", DAY, network_seconds=1000, zone_days=zones)
    found = network_figures(connection)
    assert found is not None
    assert (found.zones, found.stations, found.rentals, found.days) == (4, 7, 3, 1)
    assert (found.bikes_mean, found.network_bikes_mean, found.empty_share) == (4.0, 12.0, pytest.approx(0.3))
    # shares 0.1, 0.2, 0.6: (−2 × 0.1 + 0 × 0.2 + 2 × 0.6) / (3 × 0.9)
    assert found.empty_share_gini == pytest.approx(1 / 2.7)
    assert found.bikes_per_dock_gini == pytest.approx(0)
    assert network_figures(connection, Days(NEXT, NEXT)) is None


def test_station_figures_put_the_longest_empty_or_full_first(connection: Connection) -> None:
    days = [
        station_day(code="fine", seconds_in_service=100, seconds_docks_known=100),
        station_day(code="full", seconds_in_service=100, seconds_docks_known=100, seconds_full=50),
        station_day(code="empty", seconds_in_service=100, seconds_empty=60),
        station_day(code="closed"),
    ]
    write(connection, "station_stats", DAY, station_days=days)
    assert [s.station_code for s in station_figures(connection)] == ["empty", "full", "fine", "closed"]
    assert [s.station_code for s in station_figures(connection, Days(DAY, NEXT), top=1)] == ["empty"]

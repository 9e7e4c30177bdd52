import random
from datetime import date, timedelta

import pytest

from velib_dagster.store.upsert import Connection
from velib_dagster_tests.store.make_days import DAY, NEXT, at, episode, station_day, write

pytestmark = pytest.mark.postgres
THIRD = NEXT + timedelta(days=1)
Found = list[tuple[object, ...]]


def joined(connection: Connection, first: date, last: date) -> Found:
    return connection.execute(
        "SELECT since, until, seconds, open_start, open_end, first_day, last_day FROM episodes_joined(%s, %s)"
        " ORDER BY station_code, kind, since",
        (first, last),
    ).fetchall()


def test_pieces_over_two_midnights_are_one_episode(connection: Connection) -> None:
    write(connection, "empty_stations", DAY, episodes=[episode("empty", at(DAY, 20), at(DAY, 24), opens=">")])
    write(connection, "empty_stations", NEXT, episodes=[episode("empty", at(NEXT, 0), at(NEXT, 24), opens="<>")])
    write(connection, "empty_stations", THIRD, episodes=[episode("empty", at(THIRD, 0), at(THIRD, 6), opens="<")])
    whole = (at(DAY, 20), at(THIRD, 6), 34 * 3600, False, False, DAY, THIRD)
    assert joined(connection, DAY, THIRD) == [whole]
    assert connection.execute("SELECT since, until FROM episodes_joined").fetchall() == [(at(DAY, 20), at(THIRD, 6))]


def test_a_range_cuts_an_episode_and_says_so(connection: Connection) -> None:
    write(connection, "empty_stations", DAY, episodes=[episode("empty", at(DAY, 20), at(DAY, 24), opens=">")])
    write(connection, "empty_stations", NEXT, episodes=[episode("empty", at(NEXT, 0), at(NEXT, 3), opens="<")])
    assert joined(connection, DAY, DAY) == [(at(DAY, 20), at(DAY, 24), 14_400, False, True, DAY, DAY)]
    assert joined(connection, NEXT, NEXT) == [(at(NEXT, 0), at(NEXT, 3), 10_800, True, False, NEXT, NEXT)]


def test_pieces_join_only_where_they_touch_and_both_are_open(connection: Connection) -> None:
    write(
        connection,
        "empty_stations",
        DAY,
        episodes=[
            episode("empty", at(DAY, 8), at(DAY, 9), opens=">"),  # a gap follows
            episode("empty", at(DAY, 10), at(DAY, 11), opens="<"),
            episode("empty", at(DAY, 23), at(DAY, 24), opens=">"),
            episode("empty", at(DAY, 23), at(DAY, 24), opens=">", code="2"),
        ],
    )
    write(
        connection,
        "empty_stations",
        NEXT,
        episodes=[
            episode("empty", at(NEXT, 0, 10), at(NEXT, 1), opens="<"),  # nothing known for 10 minutes
            episode("empty", at(NEXT, 0), at(NEXT, 1), opens="", code="2"),
        ],
    )
    assert [row[:2] for row in joined(connection, DAY, NEXT)] == [
        (at(DAY, 8), at(DAY, 9)),
        (at(DAY, 10), at(DAY, 11)),
        (at(DAY, 23), at(DAY, 24)),
        (at(NEXT, 0, 10), at(NEXT, 1)),
        (at(DAY, 23), at(DAY, 24)),
        (at(NEXT, 0), at(NEXT, 1)),
    ]


def test_empty_and_full_and_stations_never_join(connection: Connection) -> None:
    write(connection, "empty_stations", DAY, episodes=[episode("empty", at(DAY, 23), at(DAY, 24), opens=">")])
    write(connection, "full_stations", NEXT, episodes=[episode("full", at(NEXT, 0), at(NEXT, 1), opens="<")])
    other = episode("empty", at(NEXT, 0), at(NEXT, 1), opens="<", code="2")
    write(connection, "empty_stations", NEXT, episodes=[other])
    assert [row[2] for row in joined(connection, DAY, NEXT)] == [3600, 3600, 3600]


@pytest.mark.parametrize(("day", "length"), [(date(2024, 10, 27), 25), (date(2024, 3, 31), 23)])
def test_the_nights_that_change_clocks_join_too(connection: Connection, day: date, length: int) -> None:
    before, after = day - timedelta(days=1), day + timedelta(days=1)
    write(connection, "full_stations", before, episodes=[episode("full", at(before, 22), at(before, 24), opens=">")])
    write(
        connection, "full_stations", day, day_seconds=length * 3600,
        episodes=[episode("full", at(day, 0), at(after, 0), opens="<>", seconds=length * 3600)],
    )  # fmt: skip
    write(connection, "full_stations", after, episodes=[episode("full", at(after, 0), at(after, 1), opens="<")])
    ((since, until, seconds, *_),) = joined(connection, before, after)
    assert (since, until, seconds) == (at(before, 22), at(after, 1), (2 + length + 1) * 3600)


def test_a_station_that_changed_zone_keeps_the_zone_of_the_beginning(connection: Connection) -> None:
    write(connection, "empty_stations", DAY, episodes=[episode("empty", at(DAY, 23), at(DAY, 24), opens=">")])
    moved = episode("empty", at(NEXT, 0), at(NEXT, 1), opens="<", zone="Paris 17e")
    write(connection, "empty_stations", NEXT, episodes=[moved])
    assert connection.execute("SELECT zone FROM episodes_joined").fetchall() == [("Paris 16e",)]


def test_medians_count_joined_episodes_and_open_ones_as_far_as_seen(connection: Connection) -> None:
    write(connection, "station_stats", DAY, station_days=[station_day(seconds_empty=1)])
    write(connection, "station_stats", NEXT, station_days=[station_day(NEXT, seconds_empty=1)])
    first = [
        episode("empty", at(DAY, 8), at(DAY, 8, 10)),
        episode("empty", at(DAY, 9), at(DAY, 9, 20)),
        episode("empty", at(DAY, 10), at(DAY, 10, 30), opens=">"),
        episode("empty", at(DAY, 23), at(DAY, 24), opens=">"),
    ]
    write(connection, "empty_stations", DAY, episodes=first)
    write(connection, "empty_stations", NEXT, episodes=[episode("empty", at(NEXT, 0), at(NEXT, 1), opens="<")])
    # 10, 20, 30 and 60 + 60 minutes: the median lies between 20 and 30, 9 of 10 at 30 + 0.7 × (120 − 30)
    figures = (
        "SELECT empty_episodes, empty_episode_median_seconds, empty_episode_p90_seconds, empty_episode_longest_seconds"
    )
    row = connection.execute(f"{figures} FROM station_stats").fetchone()  # type: ignore[arg-type]
    assert row == (4, 1500.0, pytest.approx(93 * 60), 7200)
    row = connection.execute(f"{figures} FROM station_stats('{NEXT}', '{NEXT}')").fetchone()  # type: ignore[arg-type]
    assert row == (1, 3600.0, 3600.0, 3600)
    row = connection.execute(  # the episodes of full stations were never computed
        "SELECT full_episodes, full_episode_median_seconds, full_episode_longest_seconds FROM station_stats"
    ).fetchone()
    assert row == (None, None, None)


def test_a_percentile_of_two_ordered_lists_is_that_of_all_their_numbers(connection: Connection) -> None:
    chance = random.Random(4)
    for _ in range(300):
        most, rest = (sorted(chance.choices(range(chance.choice([3, 900])), k=chance.randint(0, 9))) for _ in range(2))
        share = chance.choice([0, 0.5, 0.9, 1, chance.random()])
        found = connection.execute(
            "SELECT percentile_of(%(most)s::int[], %(rest)s::int[], %(share)s),"
            " (SELECT percentile_cont(%(share)s) WITHIN GROUP (ORDER BY x)"
            "  FROM unnest(%(most)s::int[] || %(rest)s::int[]) AS x)",
            {"most": most, "rest": rest, "share": share},
        ).fetchone()
        assert found is not None
        assert found[0] == pytest.approx(found[1]), (most, rest, share)
    assert connection.execute("SELECT percentile_of(NULL, NULL, 0.5), percentile_of(NULL, '{3}', 0.9)").fetchone() == (
        None,
        3.0,
    )

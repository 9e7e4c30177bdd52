from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from velib_dagster.events.records import Absence, LastUsable, NetworkTotals, PollRecord, StateRecord, Void
from velib_dagster.events.state_events import Left, StateEvent
from velib_dagster.feed.reports import PollKind
from velib_dagster.settings import Settings
from velib_dagster.store import reads
from velib_dagster.store import upsert as upserts
from velib_dagster.store.columns import WINDOW_COLUMNS
from velib_dagster.store.connect import connect
from velib_dagster.store.upsert import (
    Connection,
    Progress,
    upsert_polls,
    upsert_progress,
    upsert_windows,
)

pytestmark = pytest.mark.postgres
NOON = datetime(2024, 11, 7, 12, tzinfo=UTC)


def window(at: datetime = NOON, code: str = "16107", **values: object) -> Sequence[object]:
    usual: dict[str, object] = {column.name: 0 for column in WINDOW_COLUMNS}
    usual |= {column.name: None for column in WINDOW_COLUMNS if column.nullable}
    usual |= {
        "station_code": code, "window_start": at, "window_end": at + timedelta(minutes=10), "newest_since": at,
        "name": "Benjamin Godard", "zone": "Paris 16e", "cell": "881fb46645fffff",
        "seconds": 600, "occupancy_seconds": 0.0,
    }  # fmt: skip
    return [(usual | values)[column.name] for column in WINDOW_COLUMNS]


def state(code: str = "16107", since: datetime = NOON, **values: object) -> StateRecord:
    usual: dict[str, object] = {
        "station_code": code, "name": "Benjamin Godard", "zone": "Paris 16e", "cell": "881fb46645fffff",
        "lat": 48.865983, "lon": 2.275725, "capacity": 35, "since": since, "bikes": 3, "mechanical": 1, "ebike": 2,
        "docks": 31, "is_installed": True, "is_renting": True, "is_returning": True, "last_reported": None,
    }  # fmt: skip
    return msgspec.convert(usual | values, StateRecord)


def upsert_states(connection: Connection, events: Sequence[StateRecord | Left], polls: Sequence[str] = ()) -> int:
    of = polls or [None] * len(events)
    return upserts.upsert_states(connection, [StateEvent(*pair) for pair in zip(events, of, strict=True)])


def poll(snapshot: str = "20241107T120000Z-0", time: datetime = NOON, **values: object) -> PollRecord:
    usual: dict[str, object] = {
        "snapshot": snapshot, "time": time, "kind": PollKind.USABLE, "reason": "", "rows": 3, "total_count": 3,
        "reports": 2, "refused": {"bad_type": 1}, "repaired": 0, "changed": 1, "unchanged": 1, "stale": 0, "spells": 1,
        "totals": NetworkTotals(stations=2, in_service=2, bikes=5, mechanical=2, ebike=3, docks=9, capacity=14),
        "clock_offset_seconds": None, "last_usable": LastUsable(time=time, reports=2), "last_cut": time,
        "absent": {"7101_relais": Absence(last_report=time - timedelta(hours=1), since=time)},
    }  # fmt: skip
    return PollRecord(**(usual | values))  # type: ignore[arg-type]


def test_a_window_is_never_replaced_by_one_that_knows_fewer_seconds(connection: Connection) -> None:
    assert upsert_windows(connection, [window(seconds=600, bikes_seconds=1800)]) == 1
    assert upsert_windows(connection, [window(seconds=300, bikes_seconds=900)]) == 0
    assert connection.execute("SELECT seconds, bikes_seconds FROM windows").fetchall() == [(600, 1800)]


def test_a_window_grows_and_the_same_row_again_writes_nothing(connection: Connection) -> None:
    assert upsert_windows(connection, [window(seconds=300)]) == 1
    assert upsert_windows(connection, [window(seconds=300)]) == 0
    assert upsert_windows(connection, [window(seconds=600, bikes_min=4)]) == 1
    assert connection.execute("SELECT seconds, bikes_min, bikes_max FROM windows").fetchall() == [(600, 4, None)]


def test_of_one_key_twice_in_a_batch_the_row_that_knows_more_counts(connection: Connection) -> None:
    assert upsert_windows(connection, [window(seconds=300), window(seconds=600), window(seconds=60)]) == 1
    assert connection.execute("SELECT seconds FROM windows").fetchall() == [(600,)]


def test_a_tombstone_removes_what_came_before_it_and_nothing_after(connection: Connection) -> None:
    gone_at = NOON + timedelta(hours=24)
    upsert_states(connection, [state(since=NOON), state("9999", since=NOON)])
    changed = upsert_states(
        connection,
        [state(since=NOON + timedelta(minutes=5)), Left("16107", gone_at), state(since=gone_at + timedelta(hours=1))],
    )
    assert changed == 2
    rows = connection.execute("SELECT station_code, since FROM station_states ORDER BY 1").fetchall()
    assert rows == [("16107", gone_at + timedelta(hours=1)), ("9999", NOON)]


def test_a_state_written_twice_is_one_row_and_the_last_name_counts(connection: Connection) -> None:
    upsert_states(connection, [state(), state(name="New name")])
    assert upsert_states(connection, [state(name="New name")]) == 0
    assert [row.name for row in reads.stations_now(connection)] == ["New name"]


@pytest.mark.parametrize("batches", [1, 2])
def test_a_state_of_an_older_poll_that_comes_again_changes_nothing(connection: Connection, batches: int) -> None:
    first, renamed = state(), state(name="New name")
    events, polls = [first, renamed, first], ["20241107T120000Z-0", "20241107T120100Z-0", "20241107T120000Z-0"]
    if batches == 1:
        upsert_states(connection, events, polls)
    else:
        upsert_states(connection, events[:2], polls[:2])
        assert upsert_states(connection, events[2:], polls[2:]) == 0
    assert [row.name for row in reads.stations_now(connection)] == ["New name"]
    assert upsert_states(connection, [state(name="Newest")]) == 1, "one without a poll is of an older version"


def test_a_state_that_comes_again_behind_its_tombstone_stays_away(connection: Connection) -> None:
    left = Left("16107", NOON + timedelta(hours=24))
    upsert_states(connection, [state(), left, state()], ["a", "b", "a"])
    assert reads.stations_now(connection) == []


@pytest.mark.parametrize("batches", [1, 2])
def test_a_poll_that_comes_again_does_not_undo_its_cut(connection: Connection, batches: int) -> None:
    first = poll(last_cut=NOON)
    cut = poll(last_cut=NOON + timedelta(seconds=30))
    if batches == 1:
        upsert_polls(connection, [first, cut, first])
    else:
        upsert_polls(connection, [first, cut])
        assert upsert_polls(connection, [first]) == 0
    assert reads.newest_polls(connection) == [cut]


def test_the_newest_state_of_each_station_is_now(connection: Connection) -> None:
    upsert_states(connection, [state(bikes=3), state(since=NOON + timedelta(minutes=1), bikes=4), state("2", bikes=0)])
    assert [(row.station_code, row.bikes) for row in reads.stations_now(connection)] == [("16107", 4), ("2", 0)]
    assert [row.bikes for row in reads.stations_now(connection, station_code="2")] == [0]
    assert reads.stations_now(connection, zone="Paris 1er") == []


def test_a_poll_reads_back_as_it_was_and_a_second_version_replaces_it(connection: Connection) -> None:
    first = poll()
    later = poll(last_cut=NOON + timedelta(seconds=30))
    other = poll("20241107T120100Z-0", NOON + timedelta(minutes=1), kind=PollKind.NOT_JSON, totals=None, refused={})
    assert upsert_polls(connection, [first, other]) == 2
    assert reads.newest_polls(connection) == [other, first]
    assert upsert_polls(connection, [first, later]) == 1
    assert reads.newest_polls(connection) == [other, later]
    assert upsert_polls(connection, [later]) == 0


def test_progress_is_one_row_a_query(connection: Connection) -> None:
    first = Progress(
        query="windows", batch_id=1, input_rows=5, rows_per_second=2.5, position={"f.spells": {"0": 5}},
        watermark=NOON, batch_seconds=2.0,
    )  # fmt: skip
    upsert_progress(connection, first)
    upsert_progress(connection, msgspec.structs.replace(first, batch_id=2, watermark=None))
    (row,) = reads.progress(connection)
    assert (row.query, row.batch_id, row.position, row.watermark) == ("windows", 2, {"f.spells": {"0": 5}}, None)


def test_a_window_is_complete_once_a_usable_poll_at_its_end_is_there(connection: Connection) -> None:
    upsert_windows(connection, [window(seconds_in_service=500, bikes_seconds=1000)])
    assert connection.execute("SELECT complete FROM station_windows").fetchall() == [(False,)]
    upsert_polls(connection, [poll("a", NOON + timedelta(minutes=10), kind=PollKind.SHORT)])
    assert connection.execute("SELECT complete FROM station_windows").fetchall() == [(False,)]
    assert reads.latest_station_means(connection) == []
    upsert_polls(connection, [poll("b", NOON + timedelta(minutes=10), kind=PollKind.REPAIRED)])
    assert connection.execute("SELECT complete, bikes_mean FROM station_windows").fetchall() == [(True, 2.0)]
    (zone,) = reads.latest_zone_means(connection)
    assert (zone.zone, zone.bikes_mean, zone.complete, zone.stations) == ("Paris 16e", 2.0, True, 1)
    (station,) = reads.latest_station_means(connection, zone="Paris 16e")
    assert (station.key, station.bikes_mean, station.seconds_in_service) == ("16107", 2.0, 500)
    assert reads.latest_station_means(connection, station_code="1") == []


def test_a_zones_means_weigh_its_stations_by_their_time_in_service(connection: Connection) -> None:
    upsert_windows(
        connection,
        [
            window(seconds_in_service=600, bikes_seconds=6000, seconds_empty=0, bikes_min=10, bikes_max=10),
            window(code="2", seconds_in_service=300, seconds_empty=300, bikes_min=0, bikes_max=0),
            window(code="3", seconds_in_service=0),
            window(code="4", zone="Paris 1er", seconds_in_service=600, bikes_seconds=600),
        ],
    )
    for view, key in (("zone_windows", "zone"), ("cell_windows", "cell")):
        found = connection.execute(
            f"SELECT {key}, seconds, seconds_in_service, bikes_mean, empty_share, bikes_min, bikes_max, stations"
            f" FROM {view} ORDER BY stations DESC LIMIT 1"
        ).fetchone()
        if key == "zone":
            assert found == ("Paris 16e", 1800, 900, 6000 / 900, 300 / 900, 0, 10, 3)
        else:
            assert found == ("881fb46645fffff", 2400, 1500, 6600 / 1500, 300 / 1500, 0, 10, 4)


def test_a_station_renamed_and_moved_within_a_window_is_one_station_under_its_new_name(connection: Connection) -> None:
    later = NOON + timedelta(minutes=4)
    upsert_windows(
        connection,
        [
            window(seconds=240, seconds_in_service=240, bikes_seconds=240),
            window(
                seconds=360, seconds_in_service=360, bikes_seconds=720, name="New", zone="Paris 1er", newest_since=later
            ),
        ],
    )
    assert connection.execute("SELECT name, zone, seconds, bikes_mean FROM station_windows").fetchall() == [
        ("New", "Paris 1er", 600, 960 / 600)
    ]
    assert connection.execute("SELECT zone, seconds, stations FROM zone_windows ORDER BY zone").fetchall() == [
        ("Paris 16e", 240, 1),
        ("Paris 1er", 360, 1),
    ]
    assert connection.execute("SELECT seconds, stations FROM cell_windows").fetchall() == [(600, 1)]


def test_the_sliding_hour_sums_its_six_windows(connection: Connection) -> None:
    marks = [NOON + timedelta(minutes=10 * n) for n in range(8)]
    upsert_windows(
        connection,
        [
            window(at, seconds_in_service=600, bikes_seconds=600 * n, seconds_empty=100, bikes_min=n, bikes_max=n)
            for n, at in enumerate(marks)
        ],
    )
    row = connection.execute(
        "SELECT window_end, seconds, bikes_mean, empty_share, bikes_min, bikes_max, windows, zone"
        " FROM station_hours_sliding WHERE window_start = %s",
        (NOON + timedelta(minutes=20),),
    ).fetchone()
    assert row == (
        NOON + timedelta(minutes=80),
        3600,
        (2 + 3 + 4 + 5 + 6 + 7) / 6,
        pytest.approx(1 / 6),
        2,
        7,
        6,
        "Paris 16e",
    )
    hours = connection.execute("SELECT count(*), min(windows) FROM station_hours_sliding").fetchone()
    assert hours == (13, 1)


def test_counts_and_reads_work_for_the_read_only_role_and_on_an_empty_database(database: Settings) -> None:
    with connect(database, readonly=True) as reader:
        empty = reads.counts(reader)
        assert (empty.windows, empty.polls, empty.newest_complete) == (0, 0, None)
        with connect(database) as connection:
            upsert_windows(connection, [window(), window(code="2")])
            upsert_polls(connection, [poll(time=NOON + timedelta(minutes=10))])
        filled = reads.counts(reader)
        assert (filled.windows, filled.polls) == (2, 1)
        assert filled.newest_complete == NOON + timedelta(minutes=10)
        assert len(reads.latest_station_means(reader)) == 2


def test_what_a_clock_that_was_ahead_brought_goes_and_what_came_before_and_after_stays(connection: Connection) -> None:
    before, ahead, now = NOON - timedelta(hours=1), NOON + timedelta(days=1), NOON
    upsert_states(connection, [state(since=before), state(since=ahead), state("2", since=ahead)])
    upsert_polls(connection, [poll("20241107T110000Z-0", before), poll("20241108T120000Z-0", ahead)])
    void = Void(after=now, until=ahead, spells_below=9)
    later = now + timedelta(minutes=1)
    healed = [poll("a20241107T120000Z-0", now, voids=(void,)), poll("a20241107T120100Z-0", later, voids=(void,))]
    gone = [Left(code, ahead + timedelta(seconds=1), now) for code in ("16107", "2")]
    for _ in range(2):
        upsert_states(connection, [*gone, state(since=now, bikes=5)])
        upsert_polls(connection, healed)
        assert connection.execute("SELECT station_code, since FROM station_states ORDER BY since").fetchall() == [
            ("16107", before),
            ("16107", now),
        ]
        assert [one.time for one in reads.newest_polls(connection)] == [later, now, before]
        assert reads.newest_polls(connection)[0].voids == (void,)


def test_a_clock_that_was_ahead_is_passed_over_within_one_batch_too(connection: Connection) -> None:
    ahead = NOON + timedelta(days=3652)
    events = [state(since=ahead), Left("16107", ahead + timedelta(seconds=1), NOON), state(since=NOON, bikes=5)]
    upsert_states(connection, events)
    void = Void(after=NOON, until=ahead, spells_below=0)
    upsert_polls(connection, [poll("20341107T120000Z-0", ahead), poll("a20241107T120000Z-0", NOON, voids=(void,))])
    assert connection.execute("SELECT since, bikes FROM station_states").fetchall() == [(NOON, 5)]
    assert [one.time for one in reads.newest_polls(connection)] == [NOON]


def absences(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT * FROM absences ORDER BY station_code, since").fetchall()


def test_an_absence_is_written_from_its_beginning_to_its_end_and_no_state_changes(connection: Connection) -> None:
    begins, ends = NOON + timedelta(minutes=5), NOON + timedelta(minutes=8)
    begun = state(absent_since=begins, last_report=NOON)
    ended = state(absent_since=begins, absent_until=ends)
    upsert_states(connection, [state()])
    assert upsert_states(connection, [begun]) == 0
    assert absences(connection) == [("16107", begins, None)]
    assert upsert_states(connection, [ended]) == 0
    assert upsert_states(connection, [begun, ended]) == 0, "a batch may come again"
    assert absences(connection) == [("16107", begins, ends)]
    upsert_states(connection, [Left("16107", NOON + timedelta(hours=24))])
    assert absences(connection) == []


def test_an_absence_whose_end_was_compacted_away_ends_with_the_next_state(connection: Connection) -> None:
    begins, later = NOON + timedelta(minutes=5), NOON + timedelta(minutes=20)
    upsert_states(connection, [state(absent_since=begins, last_report=NOON)])
    upsert_states(connection, [state(name="Renamed while absent", absent_since=begins, last_report=NOON)])
    assert absences(connection) == [("16107", begins, None)]
    upsert_states(connection, [state(since=later)])
    assert absences(connection) == [("16107", begins, later)]


def test_a_freeze_stands_beside_the_statistics_by_day(connection: Connection) -> None:
    since = datetime(2024, 11, 7, 22, 30, tzinfo=UTC)  # 23:30 in Paris
    for minutes in (60, 20, 90):
        until = since + timedelta(minutes=minutes)
        upsert_polls(connection, [poll(f"{until:%Y%m%dT%H%M%SZ}-0", until, frozen_since=since)])
    connection.execute("SET TIME ZONE 'Europe/Paris'")
    assert connection.execute("SELECT since, until FROM frozen_spans").fetchall() == [
        (since, since + timedelta(minutes=90))
    ]
    days = connection.execute("SELECT day::text, frozen_seconds FROM frozen_days ORDER BY day").fetchall()
    assert days == [("2024-11-07", 1800), ("2024-11-08", 3600)]

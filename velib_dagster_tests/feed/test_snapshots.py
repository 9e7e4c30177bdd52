"""The raw store: what is added is read back to the byte, names increase, and damage is told."""

import gzip
import multiprocessing
import os
import resource
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from velib_dagster.feed.answers import ROLES, Answer, Fetched
from velib_dagster.feed.errors import CorruptSnapshotError, SnapshotError
from velib_dagster.feed.snapshots import SnapshotStore, name_of, next_era, time_and_number
from velib_dagster_tests.feed.machine import EIGHT, Machine

NOON = datetime(2024, 11, 7, 12, 0, 0, tzinfo=UTC)


def fetched(time=NOON, body=b"[]", **how):
    answer = Answer(role="answer", url="http://feed.test/", status=200, headers={"date": "x"}, body=body)
    return Fetched(poll_time=time, fetched_at=time, answers=(answer,), **how)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
whole_seconds = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda time: time.replace(microsecond=0)
)
polls = st.builds(
    Fetched,
    poll_time=whole_seconds,
    fetched_at=st.datetimes(datetime(2000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    answers=st.lists(
        st.builds(
            Answer,
            role=st.sampled_from(ROLES),
            url=texts,
            status=st.integers(200, 599),
            headers=st.dictionaries(texts, texts, max_size=3),
            body=st.binary(max_size=500),
            truncated=st.booleans(),
        ),
        max_size=3,
        unique_by=lambda answer: answer.role,
    ).map(tuple),
    error=st.none() | texts,
    clock_offset_seconds=st.none() | st.integers(-(10**9), 10**9),
    quota_reset=st.none() | whole_seconds,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(polls, max_size=5))
def test_whatever_is_added_is_read_back_under_names_that_strictly_increase(these):
    with tempfile.TemporaryDirectory() as folder:
        store = SnapshotStore(Path(folder) / "raw")
        added = [store.add(poll) for poll in these]
        names = [snapshot.name for snapshot in added]
        assert names == sorted(set(names)) == store.names_after(None)
        assert store.newest() == (names[-1] if names else None)
        for poll, snapshot in zip(these, added, strict=True):
            again = store.read(snapshot.name)
            assert again == snapshot
            assert [getattr(again, field) for field in Fetched.__struct_fields__] == [
                getattr(poll, field) for field in Fetched.__struct_fields__
            ]
        for number, name in enumerate(names):
            assert store.names_after(name) == names[number + 1 :]
        assert sorted(store.times().elements()) == sorted(poll.poll_time for poll in these)


@settings(deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_names_of_one_second_sort_as_their_numbers(one, other):
    assert (name_of(NOON, one) < name_of(NOON, other)) == (one < other)
    assert time_and_number(name_of(NOON, one)) == (NOON, one)


def test_a_name_tells_the_poll_time(tmp_path):
    assert (
        SnapshotStore(tmp_path).add(fetched(datetime(2024, 11, 7, 7, 45, 1, tzinfo=UTC))).name == "20241107T074501Z-0"
    )


def test_a_time_that_went_back_or_came_twice_counts_on_from_the_newest_name(tmp_path):
    store = SnapshotStore(tmp_path)
    times = [NOON, NOON, NOON - timedelta(hours=1), NOON + timedelta(seconds=1)]
    names = [store.add(fetched(time)).name for time in times]
    assert names == ["20241107T120000Z-0", "20241107T120000Z-1", "20241107T120000Z-2", "20241107T120001Z-0"]
    assert store.times() == {NOON: 2, NOON - timedelta(hours=1): 1, NOON + timedelta(seconds=1): 1}


def test_the_same_poll_gives_the_same_bytes(tmp_path):
    paths = []
    for folder in ("a", "b"):
        SnapshotStore(tmp_path / folder).add(fetched())
        paths.append(tmp_path / folder / "2024-11-07" / "20241107T120000Z-0.answer.gz")
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert gzip.decompress(paths[0].read_bytes()) == b"[]"


def add_many(root, second, count):
    for number in range(count):
        SnapshotStore(root).add(fetched(NOON + timedelta(seconds=second), str(number).encode()))


def test_two_processes_that_add_at_once_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=add_many, args=(tmp_path, second, 30)) for second in (0, 0, 1)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    store = SnapshotStore(tmp_path)
    names = store.names_after(None)
    assert len(names) == len(set(names)) == 90
    assert {store.read(name).answers[0].body for name in names} == {str(number).encode() for number in range(30)}


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-6]),
        lambda path: path.write_bytes(path.read_bytes()[:30] + b"\x00\xff" + path.read_bytes()[32:]),
        lambda path: path.write_bytes(gzip.compress(b"[1, 2]")),
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".answer.gz"])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, damage, suffix):
    store = SnapshotStore(tmp_path)
    store.add(fetched(body=bytes(range(256))))
    path = tmp_path / "2024-11-07" / f"20241107T120000Z-0{suffix}"
    damage(path)
    with pytest.raises(CorruptSnapshotError, match="restore it from a copy, or move") as error:
        store.read("20241107T120000Z-0")
    assert str(path) in str(error.value)


def test_what_a_crash_left_is_no_snapshot(tmp_path):
    store = SnapshotStore(tmp_path)
    store.add(fetched())
    day = tmp_path / "2024-11-07"
    (day / ".20241107T130000Z-0.json.a1b2c3").write_bytes(b"{")
    (day / "20241107T130000Z-0.answer.gz").write_bytes(b"x")
    assert store.names_after(None) == ["20241107T120000Z-0"]
    assert store.add(fetched(NOON + timedelta(hours=1))).name == "20241107T130000Z-0"
    assert store.read("20241107T130000Z-0").answers[0].body == b"[]"


def add_with_little_room(root, told):
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    small, large = (
        Answer(role=role, url="", status=200, headers={}, body=body)
        for role, body in (("station_status", b"[]"), ("station_information", os.urandom(9000)))
    )
    try:
        SnapshotStore(root).add(Fetched(poll_time=NOON, fetched_at=NOON, answers=(small, large)))
    except SnapshotError as error:
        told.put(str(error))


def test_a_file_that_finds_no_room_is_told_and_leaves_nothing_half_written(tmp_path):
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    child = context.Process(target=add_with_little_room, args=(tmp_path, told))
    child.start()
    assert "free space there" in told.get(timeout=30)
    child.join(30)
    assert list((tmp_path / "2024-11-07").iterdir()) == []
    assert SnapshotStore(tmp_path).add(fetched()).name == "20241107T120000Z-0"


def add_as_an_ordinary_user(root, told):
    if os.geteuid() == 0:  # root may write everywhere
        os.setuid(65534)
    try:
        SnapshotStore(root).add(fetched())
    except SnapshotError as error:
        told.put(str(error))


def test_a_folder_without_write_permission_is_told(tmp_path):
    tmp_path.chmod(0o500)
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    child = context.Process(target=add_as_an_ordinary_user, args=(tmp_path / "raw", told))
    child.start()
    message = told.get(timeout=30)
    child.join(30)
    tmp_path.chmod(0o700)
    assert "Permission denied" in message
    assert "make it writable" in message


def test_a_root_that_is_a_file_is_told(tmp_path):
    (tmp_path / "raw").write_text("")
    store = SnapshotStore(tmp_path / "raw")
    with pytest.raises(SnapshotError, match="can't be kept"):
        store.add(fetched())
    with pytest.raises(SnapshotError, match="can't be listed"):
        store.newest()


def test_days_of_minutes_are_listed_fast_from_any_name(tmp_path):
    for day in range(8):
        folder = tmp_path / f"2024-11-{day + 1:02}"
        folder.mkdir()
        for minute in range(1440):
            (folder / f"{name_of(datetime(2024, 11, day + 1, tzinfo=UTC) + timedelta(minutes=minute), 0)}.json").touch()
    store = SnapshotStore(tmp_path)
    started = time.process_time()
    assert len(store.names_after("20241108T235000Z-0")) == 9
    assert store.newest() == "20241108T235900Z-0"
    assert time.process_time() - started < 0.5
    assert len(store.names_after(None)) == 8 * 1440


def test_old_days_are_removed_but_never_the_newest_snapshots_day(tmp_path):
    store = SnapshotStore(tmp_path)
    for days in range(4):
        store.add(fetched(NOON + timedelta(days=days)))
    assert store.remove_before(date(2024, 11, 9)) == 2
    assert store.names_after(None) == ["20241109T120000Z-0", "20241110T120000Z-0"]
    assert store.remove_before(date(2025, 1, 1)) == 1
    assert store.newest() == "20241110T120000Z-0"


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "20241107T120000Z", "20241107T120000Z-x"])
def test_what_is_no_name_is_refused(tmp_path, name):
    with pytest.raises(SnapshotError, match="no snapshot's name"):
        SnapshotStore(tmp_path).read(name)


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=3652)])
def test_a_time_that_is_not_confirmed_gives_no_name(tmp_path, jump):
    machine = Machine.keeping(tmp_path)
    machine.poll(date=None)
    machine.wait(minutes=1)
    machine.restart()
    machine.poll(date=None, local=jump)
    machine.wait(minutes=1)
    machine.poll()
    assert [one.poll_time for one in machine.kept] == [EIGHT, EIGHT, EIGHT + timedelta(minutes=2)]
    assert machine.kept[1].told.time == EIGHT + timedelta(minutes=1) + jump
    names = [one.name for one in machine.kept]
    assert names == ["20261120T080000Z-0", "20261120T080000Z-1", "20261120T080200Z-0"]
    assert [path.name for path in sorted(tmp_path.glob("*-*"))] == ["2026-11-20"]


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=3652)])
def test_names_do_not_stay_ahead_once_the_clock_is_known_to_have_been(tmp_path, jump):
    store = SnapshotStore(tmp_path)
    old = [store.add(fetched(EIGHT - timedelta(minutes=2))).name, store.add(fetched(EIGHT + jump)).name]
    machine = Machine.keeping(tmp_path)
    for _ in range(3):
        machine.poll()
        machine.wait(minutes=1)
    new = [one.name for one in machine.kept]
    assert new == ["a20261120T080000Z-0", "a20261120T080100Z-0", "a20261120T080200Z-0"]
    assert [*old, *new] == sorted([*old, *new]) == store.names_after(None)
    assert store.names_after(old[-1]) == new
    assert store.newest() == new[-1]
    assert store.newest_names(4) == [old[-1], *new]
    assert store.read(new[0]).poll_time == EIGHT


def test_days_that_never_were_go_once_their_own_time_to_be_kept_is_over(tmp_path):
    store = SnapshotStore(tmp_path)
    store.add(fetched(EIGHT - timedelta(days=3)))
    store.add(fetched(EIGHT + timedelta(days=3652)))
    machine = Machine.keeping(tmp_path)
    machine.poll()
    assert store.remove_before(EIGHT.date()) == 1
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["2036-11-19", "a2026-11-20"]
    machine.wait(days=1)
    machine.poll()
    assert store.remove_before(machine.time.date()) == 2
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["a2026-11-21"]


@given(st.integers(0, 120))
def test_eras_sort_in_their_order(count):
    eras = [""]
    for _ in range(count):
        eras.append(next_era(eras[-1]))
    names = [name_of(NOON - timedelta(days=number), 0, era) for number, era in enumerate(eras)]
    assert names == sorted(set(names))
    assert [time_and_number(name)[0] for name in names] == [NOON - timedelta(days=n) for n in range(count + 1)]


def test_a_poll_of_a_client_that_knows_no_earlier_one_is_judged_by_those_that_are_kept(tmp_path):
    machine = Machine.keeping(tmp_path)
    machine.poll()
    machine.wait(minutes=1)
    alone = Machine(time=machine.time, started=machine.started)
    alone.poll(date=None, local=timedelta(days=1))
    assert alone.told[0].poll_time == machine.time + timedelta(days=1)
    kept = machine.store.add(alone.told[0])
    assert (kept.poll_time, kept.name) == (machine.time, "20261120T080100Z-0")

"""Which time a poll has, by clocks that jump: pure, a machine's clocks and a feed's Date set by hand."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from velib_dagster.feed.held import HELD_POLLS, settled
from velib_dagster.feed.poll_time import EARLIEST, LATEST, TimeSource
from velib_dagster_tests.feed.machine import EIGHT, Machine, http

DAY, TEN_YEARS, NOTHING = timedelta(days=1), timedelta(days=3652), timedelta(0)
JUMPS = [DAY, -DAY, TEN_YEARS, -TEN_YEARS, timedelta(hours=1), -timedelta(minutes=10)]
MINUTE = timedelta(minutes=1)
CLOSE = timedelta(seconds=2)


def published(machine: Machine) -> list[datetime | None]:
    """Times with which the producer publishes the machine's polls, in order, as far as it can."""
    times = []
    for number, one in enumerate(machine.told):
        found = settled(one.dated, [later.dated for later in machine.told[number + 1 :]])
        if found is None:
            break
        times.append(found.time)
    return times


def all_true(machine: Machine, minutes: int) -> bool:
    """Whether all the polls of a machine that polled each minute are published at the time when they were made."""
    times = published(machine)
    return len(times) == minutes and all(
        time is not None and abs(time - EIGHT - number * MINUTE) <= CLOSE for number, time in enumerate(times)
    )


@pytest.mark.parametrize("date", [True, False])
@pytest.mark.parametrize("polls", [1, 3, 12, 60])
@pytest.mark.parametrize("jump", JUMPS)
def test_a_local_clock_that_jumps_changes_no_poll_time(jump: timedelta, polls: int, date: bool) -> None:
    machine = Machine()
    for minute in range(80):
        wrong = 5 <= minute < 5 + polls
        machine.poll(local=jump if wrong else NOTHING, date=NOTHING if date else None)
        machine.wait(minutes=1)
    assert all_true(machine, 80)
    assert all(one.told.confirmed for one in machine.told)
    assert ("clock" in machine.told[5].told.note) == (abs(jump) > timedelta(minutes=2))


@pytest.mark.parametrize("jump", JUMPS)
def test_a_local_clock_that_is_wrong_for_ever_never_replaces_a_right_date(jump: timedelta) -> None:
    machine = Machine()
    for _ in range(12):
        machine.poll(local=jump)
        machine.wait(minutes=1)
    assert all_true(machine, 12)
    assert {one.told.source for one in machine.told} == {TimeSource.DATE}


@pytest.mark.parametrize("first", [0, 5])
@pytest.mark.parametrize("polls", [1, 3, 80])
@pytest.mark.parametrize("jump", JUMPS)
def test_a_date_that_disagrees_with_the_polls_before_is_not_believed(jump: timedelta, polls: int, first: int) -> None:
    if first == 0 and polls == 80:
        pytest.skip("a Date that was never right and a local clock that was never wrong: nothing before them decides")
    machine = Machine()
    for minute in range(40):
        machine.poll(date=jump if first <= minute < first + polls else NOTHING)
        machine.wait(minutes=1)
    times = published(machine)
    assert len(times) == 40
    assert all(time is not None and abs(time - EIGHT - n * MINUTE) <= CLOSE for n, time in enumerate(times) if n >= 3)
    if polls <= 2 or first:
        assert all_true(machine, 40)


@pytest.mark.parametrize(
    "date",
    [
        None,
        "soon",
        "",
        "Mon, 01 Jan 1900 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2300",
        f"{http(EIGHT)}, {http(EIGHT + DAY)}",
        "Fri, 20 Nov 12026 08:00:00 GMT",
    ],
)
def test_a_date_that_says_nothing_leaves_the_local_clock(date: str | None) -> None:
    machine = Machine()
    for _ in range(12):
        machine.poll(date=date)
        machine.wait(minutes=1)
    assert all_true(machine, 12)
    assert {one.told.source for one in machine.told} == {TimeSource.LOCAL}


def test_a_date_that_stands_still_does_not_stop_time() -> None:
    machine = Machine()
    for _ in range(30):
        machine.poll(date=http(EIGHT))
        machine.wait(minutes=1)
    times = published(machine)
    assert times[-1] == EIGHT + 29 * MINUTE
    assert times == sorted(times)


@pytest.mark.parametrize("date", [True, False])
def test_a_laptop_that_slept_goes_on_at_once(date: bool) -> None:
    machine = Machine()
    machine.poll(date=NOTHING if date else None)
    machine.wait(days=3)
    told = machine.poll(date=NOTHING if date else None).told
    assert (told.time, told.confirmed, told.note) == (EIGHT + 3 * DAY, True, "")


@pytest.mark.parametrize("pause", [timedelta(minutes=2), timedelta(days=30)])
@pytest.mark.parametrize("boot_id", ["second", None])
def test_after_a_restart_two_clocks_that_agree_are_believed(boot_id: str | None, pause: timedelta) -> None:
    machine = Machine()
    machine.poll()
    machine.time += pause
    machine.restart(boot_id)
    told = machine.poll().told
    assert (told.time, told.confirmed) == (machine.time, True)


@pytest.mark.parametrize("jump", JUMPS)
def test_after_a_restart_with_a_wrong_local_clock_the_date_is_believed_within_three_polls(jump: timedelta) -> None:
    machine = Machine()
    machine.poll()
    machine.wait(hours=6)
    machine.restart()
    for _ in range(5):
        machine.poll(local=jump)
        machine.wait(minutes=1)
    assert published(machine) == [EIGHT] + [EIGHT + timedelta(hours=6) + n * MINUTE for n in range(5)]


@pytest.mark.parametrize("jump", JUMPS)
def test_after_a_restart_a_wrong_date_is_told_by_the_document(jump: timedelta) -> None:
    machine = Machine()
    machine.poll()
    machine.wait(hours=6)
    machine.restart()
    stamp = int(machine.time.timestamp()) - 30
    told = machine.poll(date=jump, body=b'{"last_updated": %d, "data": {}}' % stamp).told
    if abs(jump) > timedelta(hours=2):
        assert (told.time, told.source, told.confirmed) == (machine.time, TimeSource.LOCAL, True)


@pytest.mark.parametrize("jump", [DAY, TEN_YEARS])
def test_a_time_ahead_waits_for_the_polls_after_it_and_is_then_told_right(jump: timedelta) -> None:
    machine = Machine()
    machine.poll(date=None)
    machine.wait(minutes=30)
    machine.restart()
    machine.poll(date=None, local=jump)
    assert published(machine) == [EIGHT]
    machine.wait(minutes=1)
    machine.poll(date=None)
    machine.wait(minutes=1)
    machine.poll(date=NOTHING)  # two clocks that agree
    assert published(machine) == [EIGHT, *(EIGHT + timedelta(minutes=30 + n) for n in range(3))]


def test_a_poll_whose_time_nobody_can_tell_waits_for_ten_polls_at_most() -> None:
    machine = Machine(boot_id=None)
    machine.poll(date=None)
    for hours in (30, 90, 10, 70, 50, 20, 80, 40, 60, 25, 95, 15):
        machine.wait(minutes=1)
        machine.poll(date=timedelta(hours=hours), local=timedelta(hours=-hours))
    waiting = machine.told[1:]
    after = [one.dated for one in waiting[1 : 1 + HELD_POLLS]]
    assert settled(waiting[0].dated, after[:-1]) is None
    found = settled(waiting[0].dated, after)
    assert found is not None
    assert (found.time, "clock" in found.note) == (None, True)


def test_an_age_tells_how_old_the_date_is() -> None:
    machine = Machine()
    machine.poll()
    machine.wait(minutes=10)
    told = machine.poll(date=-timedelta(minutes=8), headers={"age": "480"}).told
    assert (told.time, told.now, told.source) == (EIGHT + 2 * MINUTE, EIGHT + 10 * MINUTE, TimeSource.DATE)
    told = machine.poll(headers={"age": "2073600"}).told  # an age that its own Date contradicts
    assert (told.time, told.source) == (EIGHT + 10 * MINUTE, TimeSource.DATE)


clock = st.integers(-(10**9), 10**9).map(lambda seconds: timedelta(seconds=seconds)) | st.just(NOTHING)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(clock, clock | st.none(), st.sampled_from(["first", "second", None])), max_size=14))
def test_whatever_clocks_do_ten_minutes_after_they_are_right_polls_are_published_at_the_true_time(chaos) -> None:
    machine = Machine()
    for local, date, boot_id in chaos:
        machine.boot_id = boot_id
        machine.poll(local=local, date=date)
        machine.wait(minutes=1)
    for _ in range(11):
        machine.boot_id = "third"
        machine.poll()
        machine.wait(minutes=1)
    times = published(machine)
    assert len(times) == len(machine.told)
    assert times[-1] == machine.time - MINUTE
    assert all(EARLIEST <= time < LATEST for time in times if time is not None)


def test_utc_has_no_summer_time() -> None:
    machine = Machine(time=datetime(2026, 3, 29, 0, 58, tzinfo=UTC))
    for _ in range(5):
        told = machine.poll().told
        assert (told.time, told.note) == (machine.time, "")
        machine.wait(minutes=1)

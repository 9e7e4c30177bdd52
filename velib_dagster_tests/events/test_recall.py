"""What the topics hold is just what the producer knew, whatever was absent, left, set aside or told by old records."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from velib_dagster.events.advance import advance, cut, unusable
from velib_dagster.events.known import Memory, Step, recall
from velib_dagster.events.messages import MOST_BYTES, messages_of
from velib_dagster.events.records import Absence, PollRecord, StateRecord, decode_poll, decode_state
from velib_dagster.feed.reports import PollKind
from velib_dagster_tests.events.test_advance import RULES, as_polls, at, history, poll, report, told

OTHERS = [report(str(9000 + number)) for number in range(10)]


class Topics:
    """The compacted states and the newest poll, as bytes that were sent and read."""

    def __init__(self) -> None:
        self.states: dict[str, StateRecord] = {}
        self.last_poll: PollRecord | None = None
        self.sent: list[str] = []

    def take(self, step: Step) -> None:
        for message in messages_of(step):
            assert len(message.value or b"") <= MOST_BYTES
            self.sent.append(message.topic)
            if message.topic == "polls":
                self.last_poll = decode_poll(message.value)
            elif message.topic == "states" and message.value is None:
                del self.states[message.key]
            elif message.topic == "states":
                self.states[message.key] = decode_state(message.value)

    def memory(self) -> Memory:
        read = recall(self.states, self.last_poll)
        return Memory(dict(read.stations), read.last_poll)


def held(memory: Memory) -> Memory:
    return Memory(dict(memory.stations), memory.last_poll)


def as_old_programs_wrote(memory: Memory) -> tuple[dict[str, StateRecord], PollRecord]:
    """Topics in which the poll's record tells the absences, as before they moved to the states."""
    states = {code: StateRecord(**msgspec.structs.asdict(station.state)) for code, station in memory.stations.items()}
    absent = {
        code: Absence(last_report=station.last_report, since=station.absent_since)
        for code, station in memory.stations.items()
        if station.absent_since is not None
    }
    assert memory.last_poll is not None
    return states, msgspec.structs.replace(memory.last_poll, absent=absent)


@settings(max_examples=50, deadline=None)
@given(history, st.sets(st.integers(0, 24), max_size=6), st.sets(st.integers(0, 24), max_size=3))
def test_the_memory_read_back_after_any_poll_is_the_memory_that_was_held(moves, aside, stops) -> None:
    memory, topics = Memory(), Topics()
    for number, each in enumerate(as_polls(moves)):
        aside_now = number in aside
        step = unusable(memory, each, PollKind.SET_ASIDE, "odd") if aside_now else advance(memory, each, RULES)
        topics.take(step)
        memory = step.memory
        if number in stops and (end := cut(memory, RULES)):
            topics.take(end)
            memory = end.memory
        assert topics.memory() == held(memory)


@settings(max_examples=50, deadline=None)
@given(history, st.integers(1, 24))
def test_absences_that_an_old_record_tells_are_not_lost(moves, stop) -> None:
    polls = as_polls(moves)
    memory = Memory()
    for each in polls[:stop]:
        memory = advance(memory, each, RULES).memory
    topics = Topics()
    topics.states, topics.last_poll = as_old_programs_wrote(memory)
    upgraded = topics.memory()
    assert dict(upgraded.stations) == dict(memory.stations)
    for each in polls[stop:]:
        expected, step = advance(memory, each, RULES), advance(upgraded, each, RULES)
        topics.take(step)
        memory, upgraded = expected.memory, step.memory
        assert (step.states, step.spells, step.left, step.record) == (
            expected.states, expected.spells, expected.left, expected.record
        )  # fmt: skip
        assert topics.memory() == held(memory)


def test_an_absence_is_told_at_its_beginning_and_at_its_end_alone() -> None:
    polls = [poll(0, report(), *OTHERS)]
    polls += [poll(minutes, *OTHERS) for minutes in (2, 4, 6)]
    polls += [poll(minutes, report(), *OTHERS) for minutes in (8, 9)]
    memory, absences = Memory(), []
    for each in polls:
        step = advance(memory, each, RULES)
        memory = step.memory
        assert (each.time == at(0)) == bool(step.states), "an absence is no change of a state"
        absences.append([(s.absent_since, s.absent_until, s.last_report) for s in step.absences])
    assert absences == [[], [(at(2), None, at(0))], [], [], [(at(2), at(8), None)], []]
    assert memory.stations["16107"].state.since == at(0), "it came back within the hold, as it was"


def test_a_station_that_comes_back_changed_sends_one_record() -> None:
    first = advance(Memory(), poll(0, report(), *OTHERS), RULES)
    away = advance(first.memory, poll(2, *OTHERS), RULES)
    back = advance(away.memory, poll(4, report(bikes=9), *OTHERS), RULES)
    assert [(s.bikes, s.since, s.absent_since) for s in told(back)] == [(9, at(4), None)]


def test_a_state_without_an_absence_is_sent_as_before() -> None:
    step = advance(Memory(), poll(0, report()), RULES)
    sent = msgspec.json.decode(messages_of(step)[0].value)
    assert set(sent) == set(StateRecord.__struct_fields__) - {"absent_since", "absent_until", "last_report"}


@pytest.mark.parametrize("stations", [10_000, pytest.param(30_000, marks=pytest.mark.long)])
def test_a_poll_record_is_of_bounded_size_whatever_is_absent(stations: int) -> None:
    before = [report(f"aaaaaaaa-0000-4000-8000-{number:012}") for number in range(stations)]
    after = [report(f"bbbbbbbb-0000-4000-8000-{number:012}") for number in range(stations)]
    memory, topics = Memory(), Topics()
    for each in (poll(0, *before), poll(1, *after)):
        step = advance(memory, each, RULES)
        topics.take(step)
        memory = step.memory
    assert len(messages_of(step)[-1].value) < 2000
    assert step.record.absent_stations == stations
    assert topics.memory() == held(memory)
    much_later = replace(poll(2, *after), time=at(2) + timedelta(hours=24))
    assert len(advance(memory, much_later, RULES).left) == stations


def test_a_large_old_record_is_left_behind_by_whatever_poll_comes_next() -> None:
    stations = [report(f"s{number:06}") for number in range(8000)]
    first = advance(Memory(), poll(0, *stations, *OTHERS), RULES)
    absent = {s.station_code: Absence(last_report=at(0), since=at(1)) for s in stations}
    old = replace(first.memory, last_poll=msgspec.structs.replace(first.record, absent=absent))
    memory = recall({s.station_code: s for s in told(first)}, old.last_poll)
    for step in (
        unusable(memory, poll(2), PollKind.SET_ASIDE, "odd"),
        advance(memory, poll(2, failure=PollKind.NO_ANSWER), RULES),
        advance(memory, poll(2, *OTHERS, total_count=10), RULES),
    ):
        assert len(messages_of(step)[-1].value) < 2000
        topics = Topics()
        topics.states = {s.station_code: s for s in told(first)}
        topics.take(step)
        assert topics.memory() == held(step.memory)
        assert sum(s.absent_since == at(1) for s in topics.memory().stations.values()) == 8000

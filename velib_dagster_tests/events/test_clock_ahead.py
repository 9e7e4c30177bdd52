"""Polls whose clock was ahead, and what the first one after them does: nothing is doubled, nothing waits for years."""

import pytest

from velib_dagster.events.advance import advance
from velib_dagster.events.known import Memory, recall
from velib_dagster.events.records import decode_poll, encode
from velib_dagster.feed.reports import PollKind
from velib_dagster_tests.events.test_advance import RULES, at, poll, report, run, spans

JUMPS = [1440, 1440 * 3652]


def known(minutes: float, *reports, **how):
    """A poll that tells what time it was."""
    found = poll(minutes, *reports, **how)
    return type(found)(found.snapshot, found.time, found.decoded, now=found.time, spells_sent=7)


@pytest.mark.parametrize("jump", JUMPS)
def test_a_poll_after_one_that_was_ahead_is_usable_at_once_and_says_what_is_void(jump: int) -> None:
    memory, states, spells, records, _ = run(
        poll(0, report(bikes=3)),
        poll(jump, report(bikes=3)),
        known(2, report(bikes=5)),
        known(13, report(bikes=5)),
        known(24, report(bikes=6)),
    )
    assert [record.kind for record in records] == [PollKind.USABLE] * 5
    assert records[2].last_usable.time == at(2)
    assert "clock" in records[2].reason
    (void,) = records[4].voids
    assert (void.after, void.until, void.spells_below) == (at(2), at(jump), 7)
    assert [(state.since, state.bikes) for state in states[-2:]] == [(at(2), 5), (at(24), 6)]
    assert memory.stations["16107"].state.bikes == 6
    # The first state was held for eleven minutes; what begins within them is not told twice.
    assert spans(spells) == [(0, 10, 3), (10, 11, 3), (13, 20, 5), (20, 24, 5)]


@pytest.mark.parametrize("jump", JUMPS)
def test_the_states_on_record_are_taken_back_with_their_own_time(jump: int) -> None:
    everyone = [report(str(code)) for code in range(1, 7)]
    memory, *_ = run(poll(0, *everyone), poll(jump, *everyone))
    step = advance(memory, known(2, *everyone[:5]), RULES)
    assert step.voided == ("1", "2", "3", "4", "5", "6")
    assert step.left == ("6",)
    assert (step.void.after, step.void.until) == (at(2), at(jump))
    assert [state.since for state in step.states] == [at(2)] * 5
    assert step.memory.last_poll == step.record
    states = {state.station_code: state for state in step.states}
    assert recall(states, decode_poll(encode(step.record))) == step.memory


def test_an_unusable_poll_heals_nothing_and_loses_nothing() -> None:
    memory, *_ = run(poll(0, report()), poll(1440, report()))
    step = advance(memory, known(2, failure=PollKind.NO_ANSWER), RULES)
    assert (step.record.kind, step.memory.stations) == (PollKind.NO_ANSWER, memory.stations)
    assert advance(step.memory, known(3, report()), RULES).record.kind is PollKind.USABLE


def test_what_a_station_was_called_stays_known() -> None:
    memory, *_ = run(poll(0, report()), poll(1440, report()))
    step = advance(memory, known(2, report(name=None, lat=None, lon=None)), RULES)
    assert step.record.kind is PollKind.REPAIRED
    assert step.states[0].name == "Station 16107"


def test_a_recording_that_is_late_stays_repeated() -> None:
    memory, *_ = run(poll(0, report()), poll(1440, report()))
    assert advance(memory, poll(2, report()), RULES).record.kind is PollKind.REPEATED


def test_a_time_that_is_behind_by_less_than_clocks_agree_on_is_repeated_as_ever() -> None:
    memory, *_ = run(known(0, report()), known(1.5, report()))
    step = advance(memory, known(0.5, report()), RULES)
    assert (step.record.kind, step.void) == (PollKind.REPEATED, None)


def test_a_first_poll_is_not_ahead_of_anything() -> None:
    assert advance(Memory(), known(0, report()), RULES).void is None

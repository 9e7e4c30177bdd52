"""The pure core: rules of design that must hold for any history of polls."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from velib_dagster.events.advance import advance, cut
from velib_dagster.events.known import Memory, Poll, Rules, Step, recall
from velib_dagster.events.messages import messages_of
from velib_dagster.events.records import StateRecord, decode_poll, decode_spell, decode_state, encode
from velib_dagster.feed.reports import DecodedPoll, PollKind, Refusal, Report

START = datetime(2024, 11, 7, 8, 0, tzinfo=UTC)
RULES = Rules()


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def report(code: str = "16107", bikes: int = 3, **changes) -> Report:
    fields = {
        "station_code": code,
        "name": f"Station {code}",
        "commune": "Paris",
        "lat": 48.865983,
        "lon": 2.275725,
        "capacity": 35,
        "bikes": bikes,
        "mechanical": bikes,
        "ebike": 0,
        "docks": 35 - bikes,
        "is_installed": True,
        "is_renting": True,
        "is_returning": True,
        "last_reported": START,
    }
    return Report(**(fields | changes))


def poll(minutes: float, *reports: Report, failure: PollKind | None = None, **changes) -> Poll:
    decoded = DecodedPoll(
        **(
            {
                "failure": failure,
                "reason": str(failure or ""),
                "reports": reports,
                "refused": {},
                "rows": len(reports),
                "total_count": None,
            }
            | changes
        )
    )
    return Poll(f"{at(minutes):%Y%m%dT%H%M%SZ}-0", at(minutes), decoded)


def told(step: Step) -> list[StateRecord]:
    """The states as the topic gets them."""
    return [decode_state(m.value) for m in messages_of(step) if m.topic == "states" and m.value is not None]


def run(*polls: Poll, rules: Rules = RULES):
    memory, states, spells, records, left = Memory(), [], [], [], []
    for each in polls:
        step = advance(memory, each, rules)
        memory = step.memory
        states += told(step)
        spells += step.spells
        records.append(step.record)
        left += step.left
    return memory, states, spells, records, left


def spans(spells) -> list[tuple[float, float, int]]:
    minutes = timedelta(minutes=1)
    return [((s.since - START) / minutes, (s.until - START) / minutes, s.bikes) for s in spells]


def test_an_unchanged_station_sends_nothing() -> None:
    _, states, spells, records, _ = run(poll(0, report()), poll(1, report()), poll(2, report()))
    assert [s.since for s in states] == [at(0)]
    assert spells == []
    assert [(r.changed, r.unchanged) for r in records] == [(1, 0), (0, 1), (0, 1)]


def test_a_heartbeat_alone_is_no_change_and_a_regressing_one_is_counted_as_stale() -> None:
    later, earlier = START + timedelta(hours=1), START - timedelta(hours=1)
    _, states, _, records, _ = run(
        poll(0, report()), poll(1, report(last_reported=later)), poll(2, report(last_reported=earlier))
    )
    assert len(states) == 1
    assert [r.stale for r in records] == [0, 0, 1]


def test_a_change_ends_the_spell_and_starts_the_next_one_at_the_poll() -> None:
    _, states, spells, _, _ = run(poll(0, report()), poll(5, report(bikes=4)))
    assert spans(spells) == [(0, 5, 3)]
    assert [(s.since, s.bikes) for s in states] == [(at(0), 3), (at(5), 4)]


def test_spells_are_cut_at_ten_minute_marks_without_a_new_state() -> None:
    _, states, spells, _, _ = run(*(poll(m, report()) for m in (4, 9, 14, 19, 24)))
    assert spans(spells) == [(4, 10, 3), (10, 20, 3)]
    assert len(states) == 1


def test_a_hold_that_ran_out_while_the_station_is_absent_closes_its_spell_at_the_first_usable_poll() -> None:
    other = report("9020")
    polls = [poll(0, report(), *(report(str(9020 + n)) for n in range(10)))]
    polls += [poll(m, *(report(str(9020 + n)) for n in range(10))) for m in (5, 10, 15)]
    memory, _, spells, records, _ = run(*polls)
    assert spans(s for s in spells if s.station_code == "16107") == [(0, 10, 3), (10, 11, 3)]
    assert [record.absent_stations for record in records] == [0, 1, 1, 1]
    assert (memory.stations["16107"].last_report, memory.stations["16107"].absent_since) == (at(0), at(5))
    assert memory.stations[other.station_code].absent_since is None


def test_a_gap_longer_than_the_hold_invents_nothing_and_the_same_counts_start_a_new_state() -> None:
    _, states, spells, _, _ = run(poll(0, report()), poll(60, report()), poll(65, report(bikes=1)))
    assert spans(spells) == [(0, 10, 3), (10, 11, 3), (60, 65, 3)]
    assert [s.since for s in states] == [at(0), at(60), at(65)]


def test_a_gap_of_exactly_the_hold_goes_on() -> None:
    _, states, spells, _, _ = run(poll(0, report()), poll(11, report()), poll(20, report()))
    assert spans(spells) == [(0, 10, 3), (10, 20, 3)]
    assert len(states) == 1


def test_a_station_absent_for_a_day_has_left_and_may_come_back() -> None:
    others = [report(str(9000 + n)) for n in range(10)]
    polls = [poll(0, report(), *others)]
    polls += [poll(m, *others) for m in range(10, 24 * 60 + 21, 10)]
    memory, _, _, _, left = run(*polls)
    assert left == ["16107"]
    assert "16107" not in memory.stations
    step = advance(memory, poll(24 * 60 + 30, report(), *others), RULES)
    assert [s.station_code for s in step.states] == ["16107"]


def test_a_station_missing_from_one_poll_after_a_pause_of_days_has_not_left() -> None:
    others = [report(str(9000 + n)) for n in range(10)]
    _, _, _, _, left = run(poll(0, report(), *others), poll(3 * 24 * 60, *others))
    assert left == []


def test_an_unusable_poll_changes_nothing_but_is_recorded() -> None:
    memory, _, _, _, _ = run(poll(0, report()))
    step = advance(memory, poll(1, failure=PollKind.NULL_STATIONCODE), RULES)
    assert step.memory.stations == memory.stations
    assert (step.states, step.spells) == ((), ())
    assert step.record.kind == PollKind.NULL_STATIONCODE
    assert step.record.last_usable == memory.last_usable


def test_a_null_referential_is_completed_from_what_was_known() -> None:
    null = report(bikes=5, name=None, lat=None, lon=None, capacity=None, commune=None)
    _, states, _, records, _ = run(poll(0, report()), poll(1, null))
    assert records[-1].kind == PollKind.REPAIRED
    assert records[-1].repaired == 1
    assert (states[-1].name, states[-1].capacity, states[-1].zone) == ("Station 16107", 35, "Paris 16e")


def test_a_null_referential_before_any_good_poll_is_short_and_says_why() -> None:
    null = report(name=None, lat=None, lon=None, capacity=None)
    _, _, _, records, _ = run(poll(0, null))
    assert records[0].kind == PollKind.SHORT
    assert records[0].refused == {Refusal.UNKNOWN_PLACE: 1}


def test_a_capacity_outage_keeps_the_last_good_capacity_and_a_station_always_at_zero_stays_so() -> None:
    _, states, _, records, _ = run(
        poll(0, report(), report("8013", capacity=0)), poll(1, report(capacity=0), report("8013", capacity=0))
    )
    assert records[-1].kind == PollKind.REPAIRED
    assert records[-1].changed == 0
    assert {s.station_code: s.capacity for s in states} == {"16107": 35, "8013": 0}


def test_a_capacity_that_changes_is_a_change_of_state() -> None:
    _, states, spells, records, _ = run(poll(0, report()), poll(5, report(capacity=40)))
    assert records[-1].kind == PollKind.USABLE
    assert [s.capacity for s in states] == [35, 40]
    assert spans(spells) == [(0, 5, 3)]


@pytest.mark.parametrize("second", [0, -1])
def test_the_same_date_twice_or_a_date_that_goes_back_is_repeated(second: float) -> None:
    _, _, _, records, _ = run(poll(0, report()), poll(second, report(bikes=9)))
    assert records[-1].kind == PollKind.REPEATED


def test_an_answer_well_below_the_last_good_one_is_short_until_a_day_has_passed() -> None:
    many = [report(str(9000 + n)) for n in range(10)]
    memory, _, _, records, _ = run(poll(0, *many), poll(1, *many[:5]), poll(24 * 60, *many[:5]))
    assert [r.kind for r in records] == [PollKind.USABLE, PollKind.SHORT, PollKind.USABLE]
    assert memory.last_usable is not None


def test_one_page_of_records_is_short_by_its_total_count() -> None:
    _, _, _, records, _ = run(poll(0, report(), total_count=1474))
    assert records[0].kind == PollKind.SHORT


def test_a_new_name_is_sent_but_ends_no_spell() -> None:
    _, states, spells, records, _ = run(
        poll(0, report()), poll(5, report(name="Fontenoy")), poll(10, report(name="Fontenoy"))
    )
    assert [(s.name, s.since) for s in states] == [("Station 16107", at(0)), ("Fontenoy", at(0))]
    assert spans(spells) == [(0, 10, 3)]
    assert [r.changed for r in records] == [1, 1, 0]


def test_the_end_of_a_recording_cuts_running_spells_once() -> None:
    memory, *_ = run(poll(0, report()), poll(5, report()))
    step = cut(memory, RULES)
    assert step is not None
    assert spans(step.spells) == [(0, 5, 3)]
    assert step.record.snapshot == memory.last_poll.snapshot
    assert cut(step.memory, RULES) is None
    on = advance(step.memory, poll(8, report(bikes=1)), RULES)
    assert spans(on.spells) == [(5, 8, 3)]


def test_records_survive_json() -> None:
    memory, states, spells, records, _ = run(poll(0, report()), poll(5, report(bikes=4)))
    assert decode_state(encode(states[0])) == states[0]
    assert decode_spell(encode(spells[0])) == spells[0]
    assert decode_poll(encode(records[-1])) == records[-1]
    assert memory.last_poll == records[-1]


history = st.lists(
    st.tuples(
        st.integers(30, 2400),  # seconds since the poll before
        st.lists(
            st.one_of(st.none(), st.integers(0, 2)), min_size=5, max_size=5
        ),  # bikes of five stations; None: absent
        st.sampled_from([None, None, None, PollKind.NO_ANSWER]),
    ),
    min_size=2,
    max_size=25,
)


def as_polls(moves) -> list[Poll]:
    now, polls = 0.0, []
    for seconds, bikes, failure in moves:
        now += seconds / 60
        present = [report(str(9000 + n), b) for n, b in enumerate(bikes) if b is not None]
        # stations that never go absent, so that no poll is short
        present += [report(str(8000 + n), 1) for n in range(30)]
        polls.append(poll(now, *present, failure=failure) if failure is None else poll(now, failure=failure))
    return polls


@given(history, st.sets(st.integers(0, 24), max_size=5))
def test_known_seconds_are_the_gaps_between_reports_up_to_the_hold(moves, stops) -> None:
    polls = as_polls(moves)
    memory, spells = Memory(), []
    for number, each in enumerate(polls):
        step = advance(memory, each, RULES)
        memory = step.memory
        spells += step.spells
        # the platform is stopped cleanly after some polls, and at the end
        if (number in stops or each is polls[-1]) and (end := cut(memory, RULES)):
            memory = end.memory
            spells += end.spells
    usable = [p for p in polls if p.decoded.failure is None]
    for code in {r.station_code for p in usable for r in p.decoded.reports}:
        mine = [s for s in spells if s.station_code == code]
        assert all(a.until <= b.since for a, b in pairwise(mine)), "spells overlap"
        assert all(0 < s.seconds == (s.until - s.since).total_seconds() for s in mine)
        assert all(int(s.since.timestamp()) // 600 == (int(s.until.timestamp()) - 1) // 600 for s in mine)
        seen = [p.time for p in usable if any(r.station_code == code for r in p.decoded.reports)]
        # the last report holds until the last usable poll
        held = [min(b - a, RULES.max_hold) for a, b in pairwise([*seen, usable[-1].time])]
        assert sum(s.seconds for s in mine) == sum(h.total_seconds() for h in held)


@given(history, st.integers(1, 24))
def test_a_producer_that_starts_again_from_kafka_goes_on_as_if_it_had_never_stopped(moves, stop) -> None:
    polls = as_polls(moves)
    whole = run(*polls)
    memory, states, spells, records, left = run(*polls[:stop])
    compacted = {s.station_code: s for s in states if s.station_code in memory.stations}
    read = recall(compacted, records[-1])
    assert (dict(read.stations), read.last_poll) == (dict(memory.stations), memory.last_poll)
    memory = read
    for each in polls[stop:]:
        step = advance(memory, each, RULES)
        memory = step.memory
        states += told(step)
        spells += step.spells
        records.append(step.record)
        left += step.left
    assert (states, spells, records, left) == whole[1:]


def test_rules_of_a_feed_polled_more_rarely_hold_longer() -> None:
    rules = replace(RULES, max_hold=timedelta(minutes=70))
    _, states, spells, _, _ = run(poll(0, report()), poll(60, report()), rules=rules)
    assert len(states) == 1
    assert sum(s.seconds for s in spells) == 3600


def test_the_poll_record_names_its_fields_once() -> None:
    _, _, _, records, _ = run(poll(0, report()))
    assert set(msgspec.to_builtins(records[0])) == set(records[0].__struct_fields__)

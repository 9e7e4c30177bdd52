"""Records in Kafka that can't be read: passed over, told, never many in a row, never those of a newer program."""

import msgspec
import pytest
from confluent_kafka import Producer

from velib_dagster.events.accepted import Accepted, write_accepted
from velib_dagster.events.known import Memory
from velib_dagster.events.memory import newest_poll, read_memory, reading_at, unreadable_records
from velib_dagster.events.producer import publish
from velib_dagster.events.readable import MOST_IN_A_ROW, NewerVersionError, Reading, Told, UnreadableError, told_by
from velib_dagster.events.records import decode_spell, encode
from velib_dagster.events.state_events import Left, state_event
from velib_dagster.events.topics import client_config
from velib_dagster.settings import Settings
from velib_dagster_tests.archive.parts import START, spell
from velib_dagster_tests.events.test_producer import feed, keep_history, topic  # noqa: F401 - a fixture
from velib_dagster_tests.streaming.make import state

GOOD = encode(spell())


def changed(**values: object) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(GOOD) | values)


UNREADABLE = {
    "no JSON": b"\x00\xffnot json",
    "cut": GOOD[:50],
    "no UTF-8": GOOD.replace(b"Ivry", b"Iv\xff\xfey"),
    "another type": changed(bikes="three"),
    "a field missing": b'{"station_code": "21310"}',
    "beyond 32 bits": changed(bikes=2**31),
    "beyond 64 bits": GOOD.replace(b'"bikes":3', b'"bikes":' + b"9" * 40),
    "no zone": changed(since="2024-11-07T08:00:00"),
    "seconds that are not those between": changed(seconds=61),
    "a NUL character": changed(name="a\x00b"),
    "an array": b"[]",
    "empty": b"",
}


@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_record_that_cannot_be_read_is_passed_over_and_kept_with_its_reason(value: bytes) -> None:
    reading = Reading("feed.spells")
    assert reading.read(7, value, Told(), lambda: decode_spell(value)) is None
    (passed,) = reading.passed_over
    assert (passed.topic, passed.offset, passed.value) == ("feed.spells", 7, value)
    assert 0 < len(passed.reason) <= 500
    assert reading.read(8, GOOD, Told(), lambda: decode_spell(GOOD)) == spell()
    assert reading.in_a_row == 0


def bad(reading: Reading, offset: int) -> None:
    assert reading.read(offset, b"?", Told(), lambda: decode_spell(b"?")) is None


def test_more_than_three_in_a_row_stop_and_a_readable_one_between_them_does_not() -> None:
    reading = Reading("feed.spells")
    for offset in range(MOST_IN_A_ROW):
        bad(reading, offset)
    assert reading.read(3, GOOD, Told(), lambda: decode_spell(GOOD)) is not None
    for offset in range(4, 4 + MOST_IN_A_ROW):
        bad(reading, offset)
    with pytest.raises(UnreadableError, match=r"offset 7 of feed\.spells .*nor could the 3 before it.*--accept"):
        bad(reading, 7)
    with pytest.raises(UnreadableError):
        bad(reading, 7)
    assert [passed.offset for passed in reading.passed_over] == [0, 1, 2, 4, 5, 6]


def test_a_marker_between_two_is_no_readable_record_and_a_gap_of_compaction_may_be_one() -> None:
    marked, gaps = Reading("t"), Reading("t")
    for offset in (0, 2, 4):
        bad(marked, offset)
    with pytest.raises(UnreadableError):
        bad(marked, 6)
    for offset in range(0, 50, 5):
        bad(gaps, offset)


def test_what_was_accepted_may_be_more_in_a_row_and_no_record_behind_it() -> None:
    reading = Reading("t", accepted=10)
    for offset in range(10):
        bad(reading, offset)
    with pytest.raises(UnreadableError):
        bad(reading, 10)


@pytest.mark.parametrize("version", [b"2", b"17", b"\xff"])
def test_a_record_of_a_newer_version_stops_at_once_though_accepted_and_readable(version: bytes) -> None:
    reading = Reading("t", accepted=10)
    told = told_by([("poll", b"20241107T080000Z-0"), ("version", version)])
    with pytest.raises(NewerVersionError, match="offset 5 of t is of version"):
        reading.read(5, GOOD, told, lambda: decode_spell(GOOD))
    assert reading.passed_over == []


def test_a_poll_header_that_is_no_text_makes_a_record_unreadable() -> None:
    reading = Reading("t")
    assert reading.read(1, GOOD, told_by([("poll", b"\xff\xfe")]), lambda: decode_spell(GOOD)) is None
    assert "header 'poll'" in reading.passed_over[0].reason


def test_a_record_of_states_is_of_the_station_of_its_key_and_a_tombstone_says_when() -> None:
    value = encode(state("16107", START))
    assert state_event(b"16107", value, None).event == state_event("16107", value, None).event
    assert state_event(b"16107", None, "p", b"2024-11-07T08:00:00Z").event == Left("16107", START)
    for key, content, at in [(b"1", value, None), (b"\xff", value, None), (b"1", None, None), (b"1", None, b"noon")]:
        with pytest.raises(ValueError, match=r"station|utf-8|header 'at'|noon"):
            state_event(key, content, None, at)


def write(
    settings: Settings, name: str, *values: bytes | None, key: bytes = b"?", headers: dict[str, bytes] | None = None
) -> None:
    """Something else than the producer writes to a topic."""
    client = Producer({**client_config(settings), "acks": "all"})
    for value in values:
        client.produce(settings.topic(name), value, key, headers=headers or {})
    assert client.flush(20) == 0


def as_known(memory: Memory) -> dict[str, object]:
    return {code: station.state for code, station in memory.stations.items()}


@pytest.mark.kafka
def test_the_producer_passes_over_what_it_cannot_read_and_sends_what_it_would_have_sent(
    feed: Settings,  # noqa: F811
) -> None:
    keep_history(feed, 6)
    publish(feed)
    before = read_memory(feed)
    write(feed, "states", b"{}", encode(state("16003", START)))
    write(feed, "states", None, key=b"16001")
    write(feed, "polls", b"not json", headers={"poll": b"29991231T000000Z-0"})
    write(feed, "polls", GOOD, b"\xff\xff")
    assert as_known(read_memory(feed)) == as_known(before)
    assert newest_poll(feed) == before.last_poll
    told = unreadable_records(feed, "states")
    assert [passed.value for passed in told] == [b"{}", encode(state("16003", START)), b""]
    keep_history(feed, 9)
    assert publish(feed).polls == 9
    polls = [value for _, value in topic(feed, "polls")]
    assert len(polls) == len(set(polls)) == 6 + 3 + 9


@pytest.mark.kafka
def test_the_producer_stops_at_many_in_a_row_until_they_are_accepted(feed: Settings) -> None:  # noqa: F811
    keep_history(feed, 3)
    publish(feed)
    write(feed, "states", *[b"?"] * 4)
    keep_history(feed, 4)
    with pytest.raises(UnreadableError, match=f"{feed.topic('states')} can't be read"):
        publish(feed)
    (first, *_) = unreadable_records(feed, "states")
    assert reading_at(feed, "states", first.offset + 3).in_a_row == MOST_IN_A_ROW
    write_accepted(feed, Accepted(offsets={"states": first.offset + 4}))
    assert publish(feed).polls == 4


@pytest.mark.kafka
def test_the_producer_sends_nothing_on_top_of_records_of_a_newer_program(feed: Settings) -> None:  # noqa: F811
    keep_history(feed, 3)
    publish(feed)
    write(feed, "polls", b"{}", headers={"version": b"2"})
    sent = topic(feed, "spells")
    keep_history(feed, 4)
    with pytest.raises(NewerVersionError, match="version 2"):
        publish(feed)
    assert topic(feed, "spells") == sent

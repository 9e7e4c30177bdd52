"""Reading the producer's memory back from Kafka: the compacted states and the newest poll.

Nothing is sent here. Called by `producer.py` after it has fenced older producers, and by `velib status`.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Final, Literal, NamedTuple

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka import KafkaError as ClientError

from velib_dagster.events.accepted import read_accepted
from velib_dagster.events.known import Memory, recall
from velib_dagster.events.poll_name import counts_of, cut_name
from velib_dagster.events.readable import (
    MOST_IN_A_ROW,
    NewerVersionError,
    PassedOver,
    Reading,
    UnreadableError,
    told_by,
)
from velib_dagster.events.records import PollRecord, StateRecord, decode_poll
from velib_dagster.events.state_events import StateEvent, state_event
from velib_dagster.events.topics import KafkaError, client_config
from velib_dagster.settings import Settings

_SECONDS: Final = 10.0
_BATCH: Final = 5000
_LOOK_BACK: Final = 64
"""Offsets of the topic `polls`: more than a transaction that came again takes."""
_JUST_BEFORE: Final = 4 * MOST_IN_A_ROW
"""Offsets that hold the last few records of a topic, markers included."""
_NO_LEADER_YET: Final = (ClientError.NOT_LEADER_FOR_PARTITION, ClientError.LEADER_NOT_AVAILABLE)


class _SentPoll(NamedTuple):
    """A record of the topic `polls`: its name, and how many states and spells were sent with it, where that is told."""

    name: str
    record: PollRecord
    counts: tuple[int, int] | None


def read_memory(settings: Settings) -> Memory:
    """What the topics hold, committed records only, up to the newest poll that they hold whole.

    A poll whose states or spells are missing belongs to a transaction that was ended in one topic and lost in another:
    it is to be sent again. States of a later poll than that are passed over, and so is a state of an older poll than
    the station's own on record.

    A record that can't be read is passed over.

    Raises:
        KafkaError: Kafka can't be reached, a topic is missing, or no poll can be found that is there whole.
        UnreadableError, NewerVersionError: records can't be read, too many in a row or by a newer program.
    """
    with committed_reader(settings) as consumer:
        polls, from_start = _newest_polls(consumer, settings)
        changes = list(_state_events(consumer, settings))
        newest = _newest_whole(consumer, settings, polls, changes, from_start=from_start)
    last_name = cut_name(newest.record.snapshot) if newest else ""
    states: dict[str, StateRecord] = {}
    told: dict[str, str] = {}
    for change in changes:
        code, poll = change.station_code, change.poll
        if poll is not None and not told.get(code, "") <= poll <= last_name:
            continue
        told[code] = poll or ""
        if isinstance(change.event, StateRecord):
            states[code] = change.event
        else:
            states.pop(code, None)
    return recall(states, newest.record if newest else None)


def _state_events(consumer: Consumer, settings: Settings) -> Iterator[StateEvent]:
    reading = reading_of(settings, "states")
    for message in committed_messages(consumer, settings, settings.topic("states"), 0):
        event = _state_event(message, reading)
        if event is not None:
            yield event


def _state_event(message: Message, reading: Reading) -> StateEvent | None:
    key, value, headers = message.key(), message.value(), dict(message.headers() or ())
    if not key:
        return None  # it only closes a transaction
    told = told_by(headers)
    decode = partial(state_event, key, value, told.poll, headers.get("at"), headers.get("after"))
    return reading.read(message.offset() or 0, value, told, decode)


def reading_of(settings: Settings, topic: str) -> Reading:
    """A reader's way through a topic (by its short name), with what the operator has accepted.

    Raises:
        VelibError: what was accepted can't be read.
    """
    return Reading(settings.topic(topic), accepted=read_accepted(settings).offsets.get(topic, 0))


def reading_at(settings: Settings, topic: Literal["states", "polls"], offset: int) -> Reading:
    """The same, going on at an offset: it knows how many records just before that can't be read.

    Raises:
        KafkaError: Kafka can't be reached or the topic is missing.
    """
    reading = reading_of(settings, topic)
    read = {"states": _state_event, "polls": _sent_poll}[topic]
    with committed_reader(settings) as consumer, suppress(UnreadableError, NewerVersionError):
        for message in committed_messages(consumer, settings, settings.topic(topic), offset - _JUST_BEFORE):
            if (message.offset() or 0) >= offset:
                break
            read(message, reading)
    reading.passed_over.clear()
    return reading


def unreadable_records(settings: Settings, topic: Literal["states", "polls"]) -> list[PassedOver]:
    """The records of a topic that can't be read, as far as Kafka still has them.

    Raises:
        KafkaError: Kafka can't be reached or the topic is missing.
        NewerVersionError: a newer program wrote one.
    """
    reading = Reading(settings.topic(topic), accepted=sys.maxsize)
    read = {"states": _state_event, "polls": _sent_poll}[topic]
    with committed_reader(settings) as consumer:
        for message in committed_messages(consumer, settings, settings.topic(topic), 0):
            read(message, reading)
    return reading.passed_over


def newest_poll(settings: Settings) -> PollRecord | None:
    """The committed record of the newest poll of the topic `polls`, None where there is none yet.

    Transaction markers take offsets too, so it is looked for from the end backwards in growing steps; and a poll that
    came again may stand behind a newer one.

    Raises:
        KafkaError: Kafka can't be reached or the topic is missing.
    """
    with committed_reader(settings) as consumer:
        polls, _ = _newest_polls(consumer, settings)
    return polls[-1].record if polls else None


def _newest_polls(consumer: Consumer, settings: Settings) -> tuple[list[_SentPoll], bool]:
    """The newest records of the topic `polls` by name, at least one if there is any; and whether these are all."""
    topic = settings.topic("polls")
    low, high = stable_offsets(consumer, settings, topic)
    step = _LOOK_BACK
    while high > low:
        start = max(low, high - step)
        reading = reading_of(settings, "polls")
        found: dict[str, _SentPoll] = {}
        for message in committed_messages(consumer, settings, topic, start):
            poll = _sent_poll(message, reading)
            if poll is not None:
                found[poll.name] = poll
        if found:
            return [found[name] for name in sorted(found)], start == 0
        if start == low:
            break
        step *= 8
    return [], low == 0


def _sent_poll(message: Message, reading: Reading) -> _SentPoll | None:
    value, headers = message.value(), message.headers()
    if value is None:
        return None  # it only closes a transaction
    told = told_by(headers)

    def decode() -> _SentPoll:
        record = decode_poll(value)
        return _SentPoll(told.poll or record.snapshot, record, counts_of(headers))

    return reading.read(message.offset() or 0, value, told, decode)


def _newest_whole(
    consumer: Consumer,
    settings: Settings,
    polls: Sequence[_SentPoll],
    states: Iterable[StateEvent],
    *,
    from_start: bool,
) -> _SentPoll | None:
    """The newest poll that is there whole, and all before it; None where nothing was sent yet.

    A transaction is visible whole in a topic or not at all, so the newest poll that brought anything tells. Of the
    newest poll's states compaction takes none away.
    """
    stations: defaultdict[str, set[str]] = defaultdict(set)
    for state in states:
        if isinstance(state.event, StateRecord) and state.poll is not None:
            stations[state.poll].add(state.station_code)
    chosen: _SentPoll | None = None
    for poll in reversed(polls):
        chosen = chosen or poll
        if poll.counts == (0, 0):
            continue
        if poll.counts is None or (
            len(stations[poll.name]) >= poll.counts[0] and _has_spells(consumer, settings, poll.name, poll.counts[1])
        ):
            return chosen
        chosen = None
    if chosen is None and not from_start and polls:
        msg = (
            f"of the newest {len(polls)} polls in {settings.topic('polls')} none has all its records in "
            f"{settings.topic('states')} and {settings.topic('spells')}: Kafka at {settings.kafka} has lost records. "
            "Restore it from a backup, or start a new home with --home"
        )
        raise KafkaError(msg)
    return chosen


def _has_spells(consumer: Consumer, settings: Settings, poll: str, expected: int) -> bool:
    """Whether the topic `spells` holds as many of the poll, or can no longer tell since retention took its records."""
    topic = settings.topic("spells")
    low, high = stable_offsets(consumer, settings, topic)
    step = expected + _LOOK_BACK
    while expected:
        start = max(low, high - step)
        found, older = 0, False
        for message in committed_messages(consumer, settings, topic, start):
            of = told_by(message.headers()).poll
            found += of == poll
            older = older or of is None or of < poll
        if found >= expected or start == low > 0:
            return True
        if older or start == low:
            return False
        step *= 8
    return True


@contextmanager
def reader(settings: Settings, isolation: Literal["read_committed", "read_uncommitted"]) -> Iterator[Consumer]:
    """A consumer that belongs to no group: positions are the caller's own."""
    consumer = Consumer(
        {
            **client_config(settings),
            "group.id": "none",
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
            "auto.offset.reset": "error",
            "log_level": 0,
        }
    )
    try:
        yield consumer
    finally:
        consumer.close()


def committed_reader(settings: Settings) -> AbstractContextManager[Consumer]:
    """A consumer of committed records that belongs to no group."""
    return reader(settings, "read_committed")


def stable_offsets(consumer: Consumer, settings: Settings, topic: str) -> tuple[int, int]:
    """First offset kept, and the last stable offset (the end of what is committed), of the topic's one partition."""
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=_SECONDS)
        except KafkaException as error:
            # a topic made a moment ago has no leader yet
            if error.args[0].code() in _NO_LEADER_YET and time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            msg = f"topic {topic} can't be read from Kafka at {settings.kafka}: {error.args[0].str()}"
            raise KafkaError(msg) from error
        return low, high


def committed_messages(consumer: Consumer, settings: Settings, topic: str, offset: int) -> Iterator[Message]:
    """The messages from an offset up to the end of the partition, committed ones where the consumer reads no others."""
    low, high = stable_offsets(consumer, settings, topic)
    if low >= high:
        return
    consumer.assign([TopicPartition(topic, 0, max(low, offset))])
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        # consume() waits for a full batch or the time-out, the end of the partition notwithstanding: keep it short
        for message in consumer.consume(_BATCH, timeout=0.02):
            error = message.error()
            if error is None:
                deadline = time.monotonic() + _SECONDS
                yield message
            elif error.code() == ClientError._PARTITION_EOF:
                return
            else:
                msg = f"topic {topic} can't be read from Kafka at {settings.kafka}: {error.str()}"
                raise KafkaError(msg)
    msg = f"topic {topic} gave nothing for {_SECONDS:.0f} s: is Kafka at {settings.kafka} up?"
    raise KafkaError(msg)

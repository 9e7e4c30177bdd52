"""Reading the producer's memory back from Kafka: the compacted states and the newest poll.

Nothing is sent here. Called by `producer.py` after it has fenced older producers, and by `velib status`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka import KafkaError as ClientError

from velib_dagster.events.advance import Memory, recall
from velib_dagster.events.poll_name import cut_name, poll_of
from velib_dagster.events.records import PollRecord, StationState, decode_poll, decode_state
from velib_dagster.events.topics import KafkaError, client_config
from velib_dagster.settings import Settings

_SECONDS: Final = 10.0
_BATCH: Final = 5000
_LOOK_BACK: Final = 64
"""Offsets of the topic `polls`: more than a transaction that came again takes."""
CLOSING_KEY: Final = ""
"""Key of a record without a value that closes a transaction (`hanging.py`); no station has it."""
_NO_LEADER_YET: Final = (ClientError.NOT_LEADER_FOR_PARTITION, ClientError.LEADER_NOT_AVAILABLE)


def read_memory(settings: Settings) -> Memory:
    """What the topics hold, committed records only.

    A state of a poll that the topic `polls` lacks belongs to a transaction that did not become whole: it is passed
    over, and so is one of an older poll than the station's own on record.

    Raises:
        KafkaError: Kafka can't be reached or a topic is missing.
    """
    last_poll = newest_poll(settings)
    last_name = cut_name(last_poll.snapshot) if last_poll else ""
    states: dict[str, StationState] = {}
    told_by: dict[str, str] = {}
    with committed_reader(settings) as consumer:
        for message in committed_messages(consumer, settings, settings.topic("states"), 0):
            key, value, poll = message.key(), message.value(), poll_of(message.headers())
            code = key.decode() if key is not None else CLOSING_KEY
            if code == CLOSING_KEY or (poll is not None and not told_by.get(code, "") <= poll <= last_name):
                continue
            told_by[code] = poll or ""
            if value is None:
                states.pop(code, None)
            else:
                states[code] = decode_state(value)
    return recall(states, last_poll)


def newest_poll(settings: Settings) -> PollRecord | None:
    """The committed record of the newest poll of the topic `polls`, None where there is none yet.

    Transaction markers take offsets too, so it is looked for from the end backwards in growing steps; and a poll that
    came again may stand behind a newer one.

    Raises:
        KafkaError: Kafka can't be reached or the topic is missing.
    """
    topic = settings.topic("polls")
    with committed_reader(settings) as consumer:
        low, high = stable_offsets(consumer, settings, topic)
        step = _LOOK_BACK
        while high > low:
            start = max(low, high - step)
            values = (message.value() for message in committed_messages(consumer, settings, topic, start))
            polls = [decode_poll(value) for value in values if value is not None]
            if polls:
                return max(reversed(polls), key=_order)
            if start == low:
                break
            step *= 8
    return None


def _order(poll: PollRecord) -> tuple[str, float]:
    return poll.snapshot, poll.last_cut.timestamp() if poll.last_cut else 0.0


@contextmanager
def committed_reader(settings: Settings) -> Iterator[Consumer]:
    """A consumer of committed records that belongs to no group: positions are the caller's own."""
    consumer = Consumer(
        {
            **client_config(settings),
            "group.id": "none",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
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
    """The committed messages from an offset up to the end of the partition."""
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

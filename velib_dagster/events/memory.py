"""Reading the producer's memory back from Kafka: the compacted states and the newest poll.

Nothing is sent here. Called by `producer.py` after it has fenced older producers, and by `velib status`.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka import KafkaError as ClientError

from velib_dagster.events.advance import Memory, recall
from velib_dagster.events.records import PollRecord, StationState, decode_poll, decode_state
from velib_dagster.events.topics import KafkaError, client_config
from velib_dagster.settings import Settings

_SECONDS: Final = 10.0
_BATCH: Final = 5000
_NO_LEADER_YET: Final = (ClientError.NOT_LEADER_FOR_PARTITION, ClientError.LEADER_NOT_AVAILABLE)


def read_memory(settings: Settings) -> Memory:
    """What the topics hold, committed records only.

    Raises:
        KafkaError: Kafka can't be reached or a topic is missing.
    """
    last_poll = newest_poll(settings)
    states: dict[str, StationState] = {}
    with committed_reader(settings) as consumer:
        for message in committed_messages(consumer, settings, settings.topic("states"), 0):
            code, value = message.key(), message.value()
            if code is None:
                continue
            if value is None:
                states.pop(code.decode(), None)
            else:
                states[code.decode()] = decode_state(value)
    return recall(states, last_poll)


def newest_poll(settings: Settings) -> PollRecord | None:
    """The newest committed record of the topic `polls`, None where there is none yet.

    Transaction markers take offsets too, so it is looked for from the end backwards in growing steps.

    Raises:
        KafkaError: Kafka can't be reached or the topic is missing.
    """
    topic = settings.topic("polls")
    with committed_reader(settings) as consumer:
        low, high = stable_offsets(consumer, settings, topic)
        step = 4
        while high > low:
            start = max(low, high - step)
            newest = deque(committed_messages(consumer, settings, topic, start), maxlen=1)
            if newest and (value := newest[0].value()) is not None:
                return decode_poll(value)
            if start == low:
                break
            step *= 8
    return None


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

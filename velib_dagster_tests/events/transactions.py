"""Kafka's own record of a transaction's state, rewritten: what a broker finds that was killed inside a commit.

The coordinator keeps each transaction's state in `__transaction_state` and takes it up from there when it starts: a
record that names fewer topics than the transaction has leaves the others without their marker, as was seen after kills.
"""

import struct
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from unittest.mock import patch

from confluent_kafka import Consumer, Producer, TopicPartition

from velib_dagster.events.producer import EventProducer
from velib_dagster.events.topics import client_config
from velib_dagster.settings import Settings

TOPIC: Final = "__transaction_state"
ONGOING, PREPARE_COMMIT, PREPARE_ABORT, COMPLETE_COMMIT, COMPLETE_ABORT = 1, 2, 3, 4, 5


class KilledError(Exception):
    """Stands for the end of the producer's process, just before it asks for the commit."""


class _DiesAtCommit:
    def __init__(self, client: Producer) -> None:
        self._client = client

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)

    def commit_transaction(self, _seconds: float) -> None:
        self._client.flush(20)
        raise KilledError


def send_and_die(settings: Settings) -> None:
    """Send what waits in one transaction, whose commit is never asked for, and which the broker does not end soon."""
    patient = {**client_config(settings), "transaction.timeout.ms": 15 * 60 * 1000}
    with patch("velib_dagster.events.producer.client_config", lambda _: patient):
        producer = EventProducer(settings)
    producer._client = _DiesAtCommit(producer._client)  # type: ignore[assignment]
    try:
        producer.publish_waiting(polls_per_transaction=100)
    except KilledError:
        return
    raise AssertionError("nothing was waiting")


@dataclass(frozen=True)
class _State:
    partition: int
    key: bytes
    value: bytes


def _newest(settings: Settings, transactional_id: str) -> _State:
    consumer = Consumer({**client_config(settings), "group.id": "none", "enable.partition.eof": True})
    try:
        partitions = consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        consumer.assign([TopicPartition(TOPIC, number, 0) for number in partitions])
        found, ended, until = None, 0, time.monotonic() + 20
        while ended < len(partitions):
            assert time.monotonic() < until
            message = consumer.poll(1)
            if message is None:
                continue
            if message.error():
                ended += 1
            elif message.key().endswith(transactional_id.encode()) and message.value():
                found = _State(message.partition(), message.key(), message.value())
        assert found is not None
        return found
    finally:
        consumer.close()


def rewrite(settings: Settings, status: int, topics: Collection[str]) -> None:
    """Make the coordinator find the feed's open transaction in this state, with these topics still to be marked."""
    state = _newest(settings, f"velib-dagster.{settings.feed.name}.producer")
    head, rest = state.value[:17], state.value[17:]
    (version,) = struct.unpack(">h", head[:2])
    assert version == 1, "the flexible version of the record"
    assert head[16] == ONGOING
    times = rest[_length_of_partitions(rest) :]
    value = head[:16] + bytes([status]) + _partitions(settings, topics) + times
    # the broker lets nobody else write there
    producer = Producer({**client_config(settings), "client.id": "__admin_client", "acks": "all"})
    failed: list[object] = []
    producer.produce(
        TOPIC, value, state.key, state.partition, on_delivery=lambda error, _: failed.append(error) if error else None
    )
    assert producer.flush(10) == 0
    assert not failed


def _partitions(settings: Settings, topics: Collection[str]) -> bytes:
    """Kafka's compact array of {topic, partitions: [0]}, lengths counted from 1."""
    found = bytes([len(topics) + 1])
    for topic in topics:
        name = settings.topic(topic).encode()
        found += bytes([len(name) + 1]) + name + bytes([2]) + struct.pack(">i", 0) + bytes([0])
    return found


def _length_of_partitions(rest: bytes) -> int:
    at = 1
    for _ in range(rest[0] - 1):
        at += 1 + rest[at] - 1
        at += 1 + 4 * (rest[at] - 1) + 1
    return at

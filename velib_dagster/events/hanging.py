"""Transactions that Kafka counts as ended and whose end it did not mark on every topic: found, and closed.

A broker that is killed while it marks a commit may start again without the marks that were still missing (seen on
Kafka 4.4). The last stable offset then stands before records that may count, and whoever reads up to there goes on from
an old memory. Called by `producer.py` behind the fence, before anything is read.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, Producer

from velib_dagster.events.memory import (
    committed_messages,
    committed_reader,
    newest_poll,
    reader,
    stable_offsets,
)
from velib_dagster.events.readable import told_by
from velib_dagster.events.state_events import CLOSING_KEY
from velib_dagster.events.topics import TOPICS, KafkaError
from velib_dagster.settings import Settings

SETTLE_SECONDS: Final = 5.0
"""The marks of a transaction that has just been committed come a moment later."""
_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Hanging:
    """A topic with records behind its last stable offset."""

    topic: str
    stable: int
    end: int


def end_hanging(settings: Settings, client: Producer) -> None:
    """Return once everything in the feed's topics is committed or aborted, closing what nobody else will.

    `client` has just fenced its predecessor: it has the same producer id and a newer epoch, so the end of a transaction
    of its own on a topic ends what hangs there, too. It commits where the topic `polls` shows the polls as committed,
    and aborts otherwise; they are then sent again, and readers pass over what they have of them.

    Raises:
        KafkaError: something else's transaction hangs there; says how it is ended. Or Kafka can't be reached.
        KafkaException: from the client.
    """
    hanging = _after_a_while(settings)
    if not hanging:
        return
    commits = _were_committed(settings, hanging)
    client.begin_transaction()
    for topic in hanging:
        client.produce(topic.topic, None, CLOSING_KEY)
    client.flush(_SECONDS)
    if commits:
        client.commit_transaction(_SECONDS)
    else:
        client.abort_transaction(_SECONDS)
    left = _after_a_while(settings)
    if left:
        raise KafkaError(_remedy(settings, left))


def hanging_topics(settings: Settings) -> list[Hanging]:
    """The feed's topics that hold records of which it is open whether they count.

    Raises:
        KafkaError: Kafka can't be reached or a topic is missing.
    """
    with committed_reader(settings) as committed, reader(settings, "read_uncommitted") as all_records:
        names = [settings.topic(name) for name in TOPICS]
        stable = [stable_offsets(committed, settings, name)[1] for name in names]
        ends = [stable_offsets(all_records, settings, name)[1] for name in names]
    return [Hanging(*found) for found in zip(names, stable, ends, strict=True) if found[1] < found[2]]


def _after_a_while(settings: Settings) -> list[Hanging]:
    until = time.monotonic() + SETTLE_SECONDS
    while (found := hanging_topics(settings)) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def _were_committed(settings: Settings, hanging: list[Hanging]) -> bool:
    """Whether `polls` shows, committed, the first of the polls whose records hang elsewhere."""
    polls = settings.topic("polls")
    newest = newest_poll(settings)
    if newest is None or any(topic.topic == polls for topic in hanging):
        return False
    with reader(settings, "read_uncommitted") as consumer:
        first = min(_polls_of(consumer, settings, hanging), default=None)
    return first is not None and first <= newest.snapshot


def _polls_of(consumer: Consumer, settings: Settings, hanging: list[Hanging]) -> Iterator[str]:
    for topic in hanging:
        for message in committed_messages(consumer, settings, topic.topic, topic.stable):
            if (poll := told_by(message.headers()).poll) is not None:
                yield poll


def _remedy(settings: Settings, left: list[Hanging]) -> str:
    where = ", ".join(f"{topic.topic} (from offset {topic.stable} of {topic.end})" for topic in left)
    commands = "; ".join(
        f"kafka-transactions.sh --bootstrap-server {settings.kafka} abort --topic {topic.topic} --partition 0 "
        f"--start-offset {topic.stable}"
        for topic in left
    )
    return (
        f"a transaction of another program is open in {where}: nothing is sent, since what it holds may count. Wait a "
        f"minute, after which Kafka ends those whose program is gone. If it stays, end it: {commands}"
    )

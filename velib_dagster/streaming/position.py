"""How far Kafka's topics go and how far the streaming job is, as next offsets by topic.

No Spark here: `velib backfill` and the status ask it too, to see whether a running job has caught up.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from confluent_kafka import Consumer

from velib_dagster.events.memory import stable_offsets
from velib_dagster.events.topics import client_config
from velib_dagster.settings import Settings
from velib_dagster.store.reads import QueryProgress

QUERIES: Final = {"windows": "spells", "states": "states", "polls": "polls"}
"""Query of the streaming job → the topic that it reads."""

_decode_position: Final = msgspec.json.Decoder(dict[str, dict[str, int]]).decode


def ends(settings: Settings) -> dict[str, int]:
    """Query → the end of its topic now, transactions that are still open included.

    A transaction counts as committed before its end is marked in each topic, so the last stable offset of one topic
    may lag behind a record already visible in another; the end may not. A position reaches the end once the
    transactions below it are committed or aborted.

    Raises:
        KafkaError: Kafka can't be reached or a topic is missing.
    """
    consumer = Consumer(
        {**client_config(settings), "group.id": "none", "isolation.level": "read_uncommitted", "log_level": 0}
    )
    try:
        return {query: stable_offsets(consumer, settings, settings.topic(topic))[1] for query, topic in QUERIES.items()}
    finally:
        consumer.close()


def spark_position(offsets: str | None) -> dict[str, dict[str, int]]:
    """The position that a source of Spark reports; empty before its first batch."""
    return _decode_position(offsets) if offsets else {}


def next_offset(position: dict[str, dict[str, int]]) -> int:
    """The next offset of the one topic and partition that a query reads; 0 before its first batch."""
    return max((offset for partitions in position.values() for offset in partitions.values()), default=0)


def caught_up(progress: Iterable[QueryProgress], to_reach: dict[str, int]) -> bool:
    """Whether each query has written all that was committed when `to_reach` was read (see `ends`)."""
    reached = {row.query: next_offset(row.position) for row in progress}
    return all(reached.get(query, 0) >= end for query, end in to_reach.items())

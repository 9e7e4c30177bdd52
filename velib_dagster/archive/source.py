"""Reading a topic from an offset to its last stable one: finished spells for the archive, polls for the export.

Nothing is written here, and no offset is kept in Kafka: the archive's own commit file is the position, so the
consumer is assigned, never subscribed. The writer and the export call it.
"""

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Protocol, Self

import msgspec
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from velib_dagster.archive.commit import Source
from velib_dagster.archive.errors import ArchiveError, KafkaAwayError
from velib_dagster.events import topics
from velib_dagster.events.readable import Told, told_by
from velib_dagster.settings import Settings

ANSWER_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 60.0
"""No record and not the end either for so long: Kafka is away."""
SETTLE_SECONDS: Final = 3.0
_BATCH: Final = 5000
_BATCH_SECONDS: Final = 0.1
_NOT_THERE: Final = frozenset({KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET})


class Record(msgspec.Struct, frozen=True):
    """One record of a topic: its offset, its value (None where it only closes a transaction), what its headers say."""

    offset: int
    value: bytes | None
    told: Told = Told()


class Topic(Protocol):
    """What the writer needs of a topic; `KafkaTopic` is the real one."""

    @property
    def source(self) -> Source:
        """Which topic of which Kafka this is."""

    def bounds(self) -> tuple[int, int]:
        """First offset still there, and the last stable one (the first that can't be read yet)."""

    def written(self) -> int:
        """The offset behind the newest record, committed or not."""

    def read(self, first: int, end: int) -> Iterator[list[Record]]:
        """All committed records with first <= offset < end, in order, in batches of bounded size."""


class KafkaTopic:
    """A feed's topic in Kafka, read by one consumer; close it, or use it in a `with`.

    Raises (all methods):
        KafkaAwayError: Kafka does not answer.
        ArchiveError: records that were to be read are gone.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self.name = settings.topic(name)
        self._settings = settings
        self._partition = TopicPartition(self.name, 0)
        self._consumer = Consumer(
            {
                **topics.client_config(settings),
                "group.id": f"velib-archive-{settings.feed.name}",  # the client wants one; nothing is kept in it
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
                "queued.max.messages.kbytes": 32_768,
                "fetch.queue.backoff.ms": 10,  # with a full queue the default waits a whole second
                "log_level": 0,  # an absent broker is said once, in words, by the caller
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the consumer."""
        self._consumer.close()

    def exists(self) -> bool:
        """Whether the topic was made yet."""
        try:
            return self.name in self._consumer.list_topics(timeout=ANSWER_SECONDS).topics
        except KafkaException as error:
            raise self._away(error.args[0].str()) from error

    @property
    def source(self) -> Source:
        """Which topic of which Kafka this is."""
        try:
            identity = topics.identity(self._settings)
        except topics.KafkaError as error:
            raise KafkaAwayError(str(error)) from error
        return Source(topic=self.name, cluster_id=identity.cluster_id, topic_id=identity.topic_ids[self.name])

    def bounds(self) -> tuple[int, int]:
        """First offset still there, and the last stable one: under read_committed that is the high watermark."""
        try:
            found = self._consumer.get_watermark_offsets(self._partition, timeout=ANSWER_SECONDS)
        except KafkaException as error:
            raise self._away(error.args[0].str()) from error
        if found is None:
            raise self._away("timed out")
        return int(found[0]), int(found[1])

    def written(self) -> int:
        """The offset behind the newest record, committed or not."""
        # A new client each time: one that has seen the broker restart asks with the old leader epoch, and fails.
        client = topics.admin(self._settings)
        newest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        try:
            asked = client.list_offsets(
                {self._partition: newest},
                isolation_level=IsolationLevel.READ_UNCOMMITTED,
                request_timeout=ANSWER_SECONDS,
            )
            return int(asked[self._partition].result().offset)
        except KafkaException as error:
            raise self._away(error.args[0].str()) from error

    def settle(self) -> None:
        """Give transactions that were just committed a moment to become readable.

        The broker confirms a commit before it writes the marker that moves the last stable offset; a run right
        behind a producer would else miss its last transaction. One that stays open is not waited for.
        """
        written = self.written()
        until = time.monotonic() + SETTLE_SECONDS
        while self.bounds()[1] < written and time.monotonic() < until:
            time.sleep(0.02)

    def read(self, first: int, end: int) -> Iterator[list[Record]]:
        """All committed records with first <= offset < end, in order, in batches of bounded size.

        The end of the partition ends it too: transaction markers take offsets and are never handed out.
        """
        if first >= end:
            return
        self._consumer.assign([TopicPartition(self.name, 0, first)])
        heard = time.monotonic()
        done = False
        while not done:
            messages = self._consumer.consume(_BATCH, _BATCH_SECONDS)
            batch: list[Record] = []
            for message in messages:
                offset = message.offset() or 0
                if (error := message.error()) is not None:
                    done = self._is_end(error, offset, end) or done
                elif offset < end:
                    batch.append(Record(offset, message.value(), told_by(message.headers())))
                else:
                    done = True
            done = done or bool(batch and batch[-1].offset == end - 1)
            if batch:
                heard = time.monotonic()
                yield batch
            elif time.monotonic() - heard > SILENCE_SECONDS:
                raise self._away(f"no record for {SILENCE_SECONDS:.0f} s")
        self._consumer.unassign()

    def _is_end(self, error: KafkaError, offset: int, end: int) -> bool:
        """Whether this event says that all is read; errors that pass by themselves are waited out."""
        if error.code() == KafkaError._PARTITION_EOF:
            return offset >= end
        if error.code() in _NOT_THERE:
            msg = f"records of {self.name} were deleted while they were read ({error.str()}): run it again"
            raise ArchiveError(msg)
        if error.retriable():
            return False
        raise self._away(error.str())

    def _away(self, why: str) -> KafkaAwayError:
        return KafkaAwayError(
            f"Kafka at {self._settings.kafka} does not answer ({why}): start it (velib up), or set VELIB_KAFKA; "
            "what is not archived yet waits there"
        )

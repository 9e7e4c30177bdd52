"""Raw snapshots → Kafka, each poll once: fence older producers, read the memory back, send what is new, in order.

What a poll changes is decided in `advance.py`. Called by the asset `station_events`, `velib produce` and
`velib backfill`.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaError as ClientError
from confluent_kafka import KafkaException, Producer

from velib_dagster.events.accepted import read_accepted
from velib_dagster.events.advance import cut, memory_is_ahead
from velib_dagster.events.hanging import end_hanging
from velib_dagster.events.known import Memory, Poll, Rules, Step
from velib_dagster.events.memory import committed_reader, read_memory, stable_offsets
from velib_dagster.events.messages import Message, messages_of
from velib_dagster.events.ownership import demand_own_topics, home_headers
from velib_dagster.events.poll_name import cut_name
from velib_dagster.events.records import PollRecord, StationState
from velib_dagster.events.set_aside import Prepared, TooManySetAsideError, prepare
from velib_dagster.events.topics import KafkaError, client_config, ensure_topics
from velib_dagster.events.zones import zone_of, zones_followed, zones_from_geojson
from velib_dagster.feed.answers import Snapshot
from velib_dagster.feed.document_age import document_age_of
from velib_dagster.feed.errors import SnapshotError
from velib_dagster.feed.held import settled
from velib_dagster.feed.poll_time import HISTORY
from velib_dagster.feed.reports import NOTHING
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.settings import Settings, VelibError

_SECONDS: Final = 30.0
_COMMIT_SECONDS: Final = 10.0
"""Whoever waits is told in time that Kafka is away; what became of the transaction shows at the next opening."""
_FULL_SECONDS: Final = 0.1
HEAD: Final = 10
"""States shown as a preview of what was sent."""


class FencedError(Exception):
    """A newer producer of the same feed has taken over; what it finds unsent, it sends."""


@dataclass
class Published:
    """What one call sent, over all its polls; `held` polls wait until later ones confirm the time of the first."""

    polls: int = 0
    states: int = 0
    left: int = 0
    spells: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    last: PollRecord | None = None
    head: tuple[StationState, ...] = ()
    held: int = 0
    fenced: bool = False
    seconds: float = 0.0

    def add(self, step: Step) -> None:
        """Count one poll's step."""
        self.polls += 1
        self.states += len(step.states)
        self.left += len(step.left)
        self.spells += len(step.spells)
        self.kinds[step.record.kind] += 1
        self.last = step.record
        if step.states:
            self.head = step.states[:HEAD]


class EventProducer:
    """The one producer of a feed, from its opening on; an older one is fenced off and ends.

    It keeps no state of its own: on opening, its memory is read back from Kafka, after the fence, so that nothing an
    older producer still committed is missed. Topics that another home writes are refused before the fence, unless this
    home is to `adopt` them.
    """

    def __init__(self, settings: Settings, *, adopt: bool = False, buffer_messages: int = 1_000_000) -> None:
        self._settings = settings
        self._buffer_messages = buffer_messages
        self._home = home_headers(settings)
        self._store = SnapshotStore(settings.raw)
        self._accepted = read_accepted(settings)
        self._rules = Rules(
            max_hold=timedelta(seconds=settings.feed.max_hold_seconds),
            zone=zones_from_geojson(settings.zones_file) if settings.zones_file else zone_of,
            zones=zones_followed(settings.zones_file),
        )
        ensure_topics(settings)
        if not adopt:
            demand_own_topics(settings)
        self._open()

    def _open(self) -> None:
        """Fence whoever sent before, have every transaction ended on every topic, then read what the topics hold."""
        self._client = Producer(
            {
                **client_config(self._settings),
                "transactional.id": f"velib-dagster.{self._settings.feed.name}.producer",
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 5,
                "queue.buffering.max.messages": self._buffer_messages,
                "log_level": 0,
            }
        )
        try:
            self._client.init_transactions(_SECONDS)
            end_hanging(self._settings, self._client)
        except KafkaException as error:
            raise _in_words(self._settings, error) from error
        self.memory: Memory = read_memory(self._settings)
        self._in_doubt = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.purge()

    @property
    def waiting(self) -> list[str]:
        """Names of the raw snapshots newer than the last published poll, in order."""
        last = self.memory.last_poll
        return self._store.names_after(last.snapshot if last else None)

    def publish_waiting(
        self, *, polls_per_transaction: int = 1, on_poll: Callable[[PollRecord], None] | None = None
    ) -> Published:
        """Send all waiting snapshots in order, one transaction for each `polls_per_transaction` of them.

        Raises:
            FencedError: a newer producer took over.
            KafkaError: Kafka can't be reached; the next call looks what became of the open transaction, and goes on.
            TooManySetAsideError: more snapshots in a row can't be processed than may be set aside; what comes
                before is sent, nothing behind it.
            SnapshotError: the disk doesn't give a raw file now; nothing behind it was sent.
        """
        published = Published()
        started = time.monotonic()
        if self._in_doubt:
            self._open()
        names = self.waiting
        for first in range(0, len(names), polls_per_transaction):
            chunk = names[first : first + polls_per_transaction]
            prepared, stopped = self._prepared(chunk)
            if prepared:
                self._send([message for one in prepared for message in one.messages])
                self.memory = prepared[-1].step.memory
            for one in prepared:
                published.add(one.step)
                if on_poll is not None:
                    on_poll(one.step.record)
            if stopped is not None:
                raise stopped
            if len(prepared) < len(chunk):
                published.held = len(names) - first - len(prepared)
                break
        published.seconds = time.monotonic() - started
        return published

    def _prepared(self, names: Iterable[str]) -> tuple[list[Prepared], VelibError | None]:
        """What is to be sent of some snapshots, fewer where one is held, and the error that stops the chain there."""
        memory = self.memory
        prepared: list[Prepared] = []
        try:
            for name in names:
                one = prepare(
                    memory,
                    name,
                    self._store,
                    self._rules,
                    self._timed,
                    feed_url=self._settings.feed.url,
                    accepted=self._accepted.snapshot,
                )
                if one is None:
                    break
                prepared.append(one)
                memory = one.step.memory
        except (SnapshotError, TooManySetAsideError) as error:
            return prepared, error
        return prepared, None

    def _timed(self, snapshot: Snapshot, memory: Memory) -> Poll | None:
        """The poll, not yet decoded, with the time that it is published with; None while later polls must still confirm
        that time."""
        doubtful = snapshot.told is not None and not snapshot.told.confirmed
        later = self._store.dated(self._store.names_after(snapshot.name)[:HISTORY]) if doubtful else []
        settles = settled(snapshot.dated, later)
        if settles is None:
            return None
        last = memory.last_poll
        # A poll whose time nobody knows is put at the last one's: no later than anything that is known.
        time_known = settles.time or (last.time if last else snapshot.poll_time)
        ahead = memory_is_ahead(memory, settles.now)
        return Poll(
            snapshot.name,
            time_known,
            NOTHING,
            snapshot.clock_offset_seconds,
            now=settles.now,
            clock_note=settles.note,
            document=document_age_of(snapshot.answers),
            spells_sent=self._spells_sent() if ahead else 0,
        )

    def _spells_sent(self) -> int:
        with committed_reader(self._settings) as consumer:
            return stable_offsets(consumer, self._settings, self._settings.topic("spells"))[1]

    def adopt(self) -> bool:
        """Send the last poll's record again as this home's; False where there is none yet, and nothing to adopt."""
        last = self.memory.last_poll
        if last is None:
            return False
        self._send(messages_of(Step(self.memory, (), (), (), (), last)))
        return True

    def cut(self) -> int:
        """End the running spells at the last usable poll; returns how many were sent, 0 where the last cut did so.

        Raises:
            FencedError, KafkaError: as `publish_waiting`.
        """
        if self._in_doubt:
            self._open()
        step = cut(self.memory, self._rules)
        if step is None:
            return 0
        self._send(messages_of(step, cut_name(step.record.snapshot)))
        self.memory = step.memory
        return len(step.spells)

    def _send(self, messages: Iterable[Message]) -> None:
        """One transaction: all of it is seen by readers of committed records, or nothing."""
        client = self._client
        try:
            client.begin_transaction()
            for message in messages:
                self._produce(message)
            client.commit_transaction(_COMMIT_SECONDS)
        except KafkaException as error:
            # What became of it, only the topics can tell: a later transaction's end would close one that hangs, too.
            self._in_doubt = True
            raise _in_words(self._settings, error) from error

    def _produce(self, message: Message) -> None:
        """Hand a record to the client; while its buffer is full, wait until Kafka took some of it."""
        deadline = time.monotonic() + _SECONDS
        topic = self._settings.topic(message.topic)
        headers = [*message.headers, *(self._home if message.topic == "polls" else ())]
        while True:
            try:
                self._client.produce(topic, message.value, message.key, headers=headers)
            except BufferError as error:
                if time.monotonic() > deadline:
                    msg = f"Kafka at {self._settings.kafka} has taken nothing for {_SECONDS:.0f} s: is it up?"
                    raise KafkaError(msg) from error
                self._client.poll(_FULL_SECONDS)
            else:
                self._client.poll(0)
                return


def publish(settings: Settings, *, on_poll: Callable[[PollRecord], None] | None = None) -> Published:
    """Send every waiting snapshot once. A newer producer taking over is a quiet end: `fenced` says so.

    Raises:
        KafkaError: Kafka can't be reached.
        TooManySetAsideError, SnapshotError: as `publish_waiting`.
    """
    published = Published()
    try:
        with EventProducer(settings) as producer:
            published = producer.publish_waiting(on_poll=on_poll)
    except FencedError:
        published.fenced = True
    return published


def cut_running_spells(settings: Settings) -> int:
    """Send what waits, then end the running spells, as when the platform stops; returns the number of spells cut.

    Raises:
        KafkaError: Kafka can't be reached.
    """
    try:
        with EventProducer(settings) as producer:
            producer.publish_waiting()
            return producer.cut()
    except FencedError:
        return 0


def _in_words(settings: Settings, error: KafkaException) -> KafkaError | FencedError:
    cause = error.args[0]
    if cause.code() in {ClientError._FENCED, ClientError.INVALID_PRODUCER_EPOCH, ClientError.PRODUCER_FENCED}:
        return FencedError("a newer producer of this feed has taken over")
    return KafkaError(f"Kafka at {settings.kafka} can't be used: {cause.str()}")

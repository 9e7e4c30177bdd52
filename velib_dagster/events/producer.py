"""Raw snapshots → Kafka, each poll once: fence older producers, read the memory back, send what is new, in order.

What a poll changes is decided in `advance.py`. Called by the asset `station_events`, `velib produce` and
`velib backfill`.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaError as ClientError
from confluent_kafka import KafkaException, Producer

from velib_dagster.events.advance import Memory, Poll, Rules, Step, advance, cut, memory_is_ahead
from velib_dagster.events.hanging import end_hanging
from velib_dagster.events.memory import committed_reader, read_memory, stable_offsets
from velib_dagster.events.ownership import demand_own_topics, home_headers
from velib_dagster.events.poll_name import counted_headers_of, cut_name, headers_of
from velib_dagster.events.records import PollRecord, StationState, Void, encode
from velib_dagster.events.topics import KafkaError, client_config, ensure_topics
from velib_dagster.events.zones import zone_of, zones_followed, zones_from_geojson
from velib_dagster.feed.answers import Snapshot
from velib_dagster.feed.decode import decode_snapshot
from velib_dagster.feed.document_age import document_age_of
from velib_dagster.feed.held import settled
from velib_dagster.feed.poll_time import HISTORY
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.settings import Settings

_SECONDS: Final = 30.0
_COMMIT_SECONDS: Final = 10.0
"""Whoever waits is told in time that Kafka is away; what became of the transaction shows at the next opening."""
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

    def __init__(self, settings: Settings, *, adopt: bool = False) -> None:
        self._settings = settings
        self._home = home_headers(settings)
        self._store = SnapshotStore(settings.raw)
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
                "queue.buffering.max.messages": 1_000_000,
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
            CorruptSnapshotError: a raw file can't be read; nothing after it was sent.
        """
        published = Published()
        started = time.monotonic()
        if self._in_doubt:
            self._open()
        names = self.waiting
        for first in range(0, len(names), polls_per_transaction):
            memory = self.memory
            steps: list[Step] = []
            for name in names[first : first + polls_per_transaction]:
                snapshot = self._store.read(name)
                poll = self._poll(snapshot, memory)
                if poll is None:
                    published.held = len(names) - first - len(steps)
                    break
                step = advance(memory, poll, self._rules)
                memory = step.memory
                steps.append(step)
            if steps:
                self._send((step.record.snapshot, step) for step in steps)
            self.memory = memory
            for step in steps:
                published.add(step)
                if on_poll is not None:
                    on_poll(step.record)
            if published.held:
                break
        published.seconds = time.monotonic() - started
        return published

    def _poll(self, snapshot: Snapshot, memory: Memory) -> Poll | None:
        """The poll with the time that it is published with, None while later polls must still confirm that time."""
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
            decode_snapshot(snapshot, self._settings.feed.url),
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
        self._send([(last.snapshot, Step(self.memory, (), (), (), last))])
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
        self._send([(cut_name(step.record.snapshot), step)])
        self.memory = step.memory
        return len(step.spells)

    def _send(self, steps: Iterable[tuple[str, Step]]) -> None:
        """One transaction: all of it is seen by readers of committed records, or nothing. Each step has its name."""
        states, spells, polls = (self._settings.topic(name) for name in ("states", "spells", "polls"))
        client = self._client
        try:
            client.begin_transaction()
            for name, step in steps:
                poll = headers_of(name)
                for spell in step.spells:
                    client.produce(spells, encode(spell), spell.station_code, headers=poll)
                at = _text(step.record.time)
                if step.void is not None:
                    for code in step.voided:
                        client.produce(states, None, code, headers=[*_void_headers(step.void), *poll])
                for state in step.states:
                    client.produce(states, encode(state), state.station_code, headers=poll)
                for code in step.left:
                    client.produce(states, None, code, headers=[("at", at), *poll])
                counted = counted_headers_of(name, len(step.states), len(step.spells))
                client.produce(polls, encode(step.record), step.record.snapshot, headers=[*counted, *self._home])
                client.poll(0)
            client.commit_transaction(_COMMIT_SECONDS)
        except KafkaException as error:
            # What became of it, only the topics can tell: a later transaction's end would close one that hangs, too.
            self._in_doubt = True
            raise _in_words(self._settings, error) from error


def publish(settings: Settings, *, on_poll: Callable[[PollRecord], None] | None = None) -> Published:
    """Send every waiting snapshot once. A newer producer taking over is a quiet end: `fenced` says so.

    Raises:
        KafkaError: Kafka can't be reached.
        CorruptSnapshotError: a raw file can't be read; nothing after it was sent.
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


def _void_headers(void: Void) -> list[tuple[str, str | bytes | None]]:
    """Headers of a tombstone that takes away only what a clock that was ahead has brought."""
    return [("at", _text(void.until + timedelta(seconds=1))), ("after", _text(void.after))]


def _text(time: datetime) -> bytes:
    return time.isoformat().replace("+00:00", "Z").encode()


def _in_words(settings: Settings, error: KafkaException) -> KafkaError | FencedError:
    cause = error.args[0]
    if cause.code() in {ClientError._FENCED, ClientError.INVALID_PRODUCER_EPOCH, ClientError.PRODUCER_FENCED}:
        return FencedError("a newer producer of this feed has taken over")
    return KafkaError(f"Kafka at {settings.kafka} can't be used: {cause.str()}")

"""What is known of the network between two polls, and what a poll is and brings: the shapes that `advance.py` works on.

Nothing is decided here. The producer reads a `Memory` back from Kafka (`memory.py`) and sends a `Step` (`messages.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from velib_dagster.events.records import LastUsable, PollRecord, Spell, StateRecord, StationState, Void
from velib_dagster.events.zones import RULE, ZoneOf, zone_of
from velib_dagster.feed.document_age import UNKNOWN as UNKNOWN_DOCUMENT
from velib_dagster.feed.document_age import DocumentAge
from velib_dagster.feed.reports import DecodedPoll

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Poll:
    """One poll as `advance` takes it: its snapshot's name, its time, and what the answer brought.

    `now` is what time it was when the poll was made, None where nobody knows (a recording); `clock_note` says in words
    which clock was wrong. `spells_sent` is the offset behind the spells sent before, where memory is ahead of `now`.
    """

    snapshot: str
    time: datetime
    decoded: DecodedPoll
    clock_offset_seconds: int | None = None
    now: datetime | None = None
    clock_note: str = ""
    document: DocumentAge = UNKNOWN_DOCUMENT
    spells_sent: int = 0


@dataclass(frozen=True)
class Station:
    """What is known of one station: its state on record, its last valid report, and since when polls lack it."""

    state: StationState
    last_report: datetime
    absent_since: datetime | None = None


@dataclass(frozen=True)
class Memory:
    """All that the next poll needs; the compacted topic `states` and the last record of `polls` hold the same."""

    stations: Mapping[str, Station] = field(default_factory=dict)
    last_poll: PollRecord | None = None

    @property
    def last_cut(self) -> datetime:
        """Newest time at which all running spells were cut."""
        return (self.last_poll and self.last_poll.last_cut) or EPOCH

    @property
    def zones(self) -> str:
        """Which rule and file the zones on record follow."""
        return self.last_poll.zones if self.last_poll else ""

    @property
    def set_aside(self) -> int:
        """Newest polls in a row that could not be processed."""
        return self.last_poll.set_aside if self.last_poll else 0

    @property
    def last_usable(self) -> LastUsable | None:
        """Newest poll whose reports counted."""
        return self.last_poll.last_usable if self.last_poll else None


@dataclass(frozen=True)
class Step:
    """What one poll brings: the new memory, and the records to send.

    `states` has one record per station whose state, name or place changed; `absences` one per station whose absence
    began, or ended without another change; `left` the codes of the stations that left the network; `spells` are
    ordered by station code, then time. `void` is what turned out to be void, and `voided` the codes of the stations
    whose states on record are: a tombstone goes before what they are now.
    """

    memory: Memory
    states: tuple[StationState, ...]
    absences: tuple[StateRecord, ...]
    left: tuple[str, ...]
    spells: tuple[Spell, ...]
    record: PollRecord
    void: Void | None = None
    voided: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rules:
    """What differs from feed to feed: how long a state holds, and how a place is named."""

    max_hold: timedelta = timedelta(seconds=660)
    zone: ZoneOf = zone_of
    zones: str = RULE
    """Which rule and file `zone` follows: where it is not that of the poll before, every station is looked up anew."""


def recall(states: Mapping[str, StationState], last_poll: PollRecord | None) -> Memory:
    """The memory that Kafka holds: the newest state of each station, and the last poll's record."""
    usable = last_poll.last_usable if last_poll else None
    if last_poll is None or usable is None:
        return Memory({}, last_poll)
    stations: dict[str, Station] = {}
    for code, record in states.items():
        state = StationState(**{name: getattr(record, name) for name in StationState.__struct_fields__})
        if isinstance(record, StateRecord) and record.absent_since is not None and record.absent_until is None:
            stations[code] = Station(state, record.last_report or usable.time, record.absent_since)
        elif (absence := last_poll.absent.get(code)) is not None:
            stations[code] = Station(state, absence.last_report, absence.since)
        else:
            stations[code] = Station(state, usable.time)
    return Memory(stations, last_poll)


def record_of(state: StationState, station: Station | None, back_at: datetime | None = None) -> StateRecord:
    """The state as it is sent, with the station's absence: one that goes on, or one that ended at `back_at`."""
    fields = {name: getattr(state, name) for name in StationState.__struct_fields__}
    if station is None or station.absent_since is None:
        return StateRecord(**fields)
    if back_at is not None:
        return StateRecord(**fields, absent_since=station.absent_since, absent_until=back_at)
    return StateRecord(**fields, absent_since=station.absent_since, last_report=station.last_report)

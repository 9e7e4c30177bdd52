"""What a poll's step puts on the wire: its records as messages of the feed's topics, in the order of sending.

Pure: bytes and keys, no client. Called before a transaction begins, so that a record that can't be written stops none.
"""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from velib_dagster.events.known import Step, record_of
from velib_dagster.events.poll_name import counted_headers_of, headers_of
from velib_dagster.events.records import PollRecord, Spell, StateRecord, StationState, Void, encode

MOST_BYTES: Final = 900_000
"""A record's value at most; Kafka refuses batches of more than about a million bytes unless told otherwise."""


class Message(NamedTuple):
    """One record to send: `topic` is its name behind the feed's, a value of None is a tombstone."""

    topic: str
    key: str
    value: bytes | None
    headers: tuple[tuple[str, str | bytes | None], ...]


def messages_of(step: Step, poll: str | None = None) -> tuple[Message, ...]:
    """All that one poll sends; `poll` names it where that is not the name of its snapshot.

    Raises:
        ValueError: a record is larger than `MOST_BYTES`, or holds what JSON can't.
    """
    name = poll or step.record.snapshot
    of = tuple(headers_of(name))
    void = _void_headers(step.void) if step.void is not None else ()
    # a station is told once: what its absence tells holds all that it is
    told = {record.station_code: record for record in step.absences}
    states = [
        told.pop(state.station_code) if state.station_code in told else _with_absence(step, state)
        for state in step.states
    ]
    at = ("at", _text(step.record.time))
    counted = tuple(counted_headers_of(name, len(states) + len(told), len(step.spells)))
    return (
        *(Message("spells", spell.station_code, _value(spell), of) for spell in step.spells),
        *(Message("states", code, None, (*void, *of)) for code in step.voided),
        *(Message("states", state.station_code, _value(state), of) for state in (*states, *told.values())),
        *(Message("states", code, None, (at, *of)) for code in step.left),
        Message("polls", step.record.snapshot, _value(step.record), counted),
    )


def _with_absence(step: Step, state: StationState) -> StateRecord:
    return record_of(state, step.memory.stations.get(state.station_code))


def _void_headers(void: Void) -> tuple[tuple[str, str | bytes | None], ...]:
    """Headers of a tombstone that takes away only what a clock that was ahead has brought."""
    return ("at", _text(void.until + timedelta(seconds=1))), ("after", _text(void.after))


def _text(time: datetime) -> bytes:
    return time.isoformat().replace("+00:00", "Z").encode()


def _value(record: StationState | Spell | PollRecord) -> bytes:
    value = encode(record)
    if len(value) > MOST_BYTES:
        msg = f"a record of {len(value):,} bytes, and {MOST_BYTES:,} is the most"
        raise ValueError(msg)
    return value

"""What a record of the topic `states` tells of its station: how it is, or that it left the network.

Pure. Read by the producer's memory and by the streaming job, which so agree on what a record is.
"""

from datetime import datetime
from typing import Final

import msgspec

from velib_dagster.events.records import StateRecord, decode_state

CLOSING_KEY: Final = ""
"""Key of a record without a value that closes a transaction (`hanging.py`); no station has it."""


class Left(msgspec.Struct, frozen=True):
    """A tombstone: the station left the network, at this poll time.

    With `after`, only what began later than that goes: a clock was ahead, and what it brought up to `at` is void.
    """

    station_code: str
    at: datetime
    after: datetime | None = None


class StateEvent(msgspec.Struct, frozen=True):
    """A record of the topic `states`, and the poll that it is of; None where an older version wrote it."""

    event: StateRecord | Left
    poll: str | None = None

    @property
    def station_code(self) -> str:
        """The station that it tells of."""
        return self.event.station_code


def state_event(
    key: str | bytes,
    value: bytes | None,
    poll: str | None,
    at: str | bytes | None = None,
    after: str | bytes | None = None,
) -> StateEvent:
    """What a record tells; `at` and `after` are the headers of a tombstone.

    Raises:
        msgspec.DecodeError, ValueError: it is no record of this topic.
    """
    code = _text(key)
    if value is not None:
        record = decode_state(value)
        if record.station_code != code:
            msg = f"its key is {code!r}, and it tells of the station {record.station_code!r}"
            raise ValueError(msg)
        return StateEvent(record, poll)
    if at is None:
        msg = f"the tombstone of {code!r} has no header 'at'"
        raise ValueError(msg)
    void = None if after is None else datetime.fromisoformat(_text(after))
    return StateEvent(Left(code, datetime.fromisoformat(_text(at)), void), poll)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value

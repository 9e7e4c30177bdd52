"""Which poll a record in Kafka belongs to: the header `poll`, by which every reader passes over what it already has.

Kafka can lose the marker that commits a transaction on some of its topics, so that a poll is sent again and then
stands there twice. Names sort in the order of the polls. Written by `producer.py`; read by the archive, the streaming
job and the producer's memory.
"""

from typing import Final, TypeAlias

POLL_HEADER: Final = "poll"
"""The header's key; its value is the name as UTF-8. Records of versions before this one have none."""

_CUT: Final = "+cut"
"""Sorts behind the poll's own name and before the next poll's: names end in a number, whose letters tell its length."""

Headers: TypeAlias = dict[str, str | bytes | None] | list[tuple[str, str | bytes | None]]


def cut_name(snapshot: str) -> str:
    """The name of what a cut of running spells sends, which comes behind the poll whose record it sends again."""
    return snapshot + _CUT


def headers_of(poll: str) -> list[tuple[str, str | bytes | None]]:
    """The headers of a record that belongs to the poll."""
    return [(POLL_HEADER, poll.encode())]


def counted_headers_of(poll: str, states: int, spells: int) -> list[tuple[str, str | bytes | None]]:
    """The headers of the poll's own record: how many records of states and spells were sent with it."""
    return [*headers_of(poll), ("states", str(states).encode()), ("spells", str(spells).encode())]


def counts_of(headers: Headers | None) -> tuple[int, int] | None:
    """How many states and spells were sent with a poll's record, None where an older version wrote it."""
    found = dict(headers) if headers else {}
    states, spells = found.get("states"), found.get("spells")
    return None if states is None or spells is None else (int(states), int(spells))

"""What becomes of a record in Kafka that can't be read: every reader passes over it and tells, but not over many in a
row, and never over one that a newer program wrote.

Pure. Used by the archive, the streaming job and the producer's memory, each with one `Reading` a topic.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import msgspec

from velib_dagster.events.poll_name import POLL_HEADER, Headers
from velib_dagster.events.records import reason_of
from velib_dagster.settings import VelibError

MOST_IN_A_ROW: Final = 3
"""Records, and snapshots (`set_aside.py`): one bad value is an accident; more in a row are a fault of this program, of
the disk or of Kafka, and skipping on would lose the data of hours."""
VERSION: Final = 1
"""Of the records that this program reads and writes. It goes up with a change that an older program would misread;
a new field is none."""
VERSION_HEADER: Final = "version"
"""Left out by records of version 1."""

_MARKER: Final = 2
"""Offsets from one record to the next of another transaction: its marker takes one."""

T = TypeVar("T")


class UnreadableError(VelibError):
    """More records in a row can't be read than may be passed over: the reader stops until someone looked."""


class NewerVersionError(VelibError):
    """A record was written by a newer program, which this one might misread."""

    def __init__(self, topic: str, offset: int, version: str) -> None:
        super().__init__(
            f"the record at offset {offset} of {topic} is of version {version}, and this program reads version "
            f"{VERSION}: a newer one wrote it. Nothing from it on is read, and nothing is lost: install that one again"
        )


class Told(NamedTuple):
    """What a record's headers say: the poll that it belongs to, and its version. None: they don't."""

    poll: str | None = None
    version: str | None = None


class PassedOver(msgspec.Struct, frozen=True):
    """A record that could not be read: where it stands, why, and its bytes (base64 in JSON)."""

    topic: str
    offset: int
    reason: str
    value: bytes


def told_by(headers: Headers | None) -> Told:
    """What a record's headers say; bytes that are no text are replaced."""
    found = dict(headers) if headers else {}
    return Told(_text(found.get(POLL_HEADER)), _text(found.get(VERSION_HEADER)))


class Reading:
    """One reader's way through a topic, in order.

    Records below the offset `accepted` may be passed over however many there are in a row. `in_a_row` were passed over
    just before.
    """

    def __init__(self, topic: str, *, accepted: int = 0, in_a_row: int = 0) -> None:
        self.topic = topic
        self.in_a_row = in_a_row
        self.passed_over: list[PassedOver] = []
        self._accepted = accepted
        self._last: int | None = None

    def read(self, offset: int, value: bytes | None, told: Told, decode: Callable[[], T]) -> T | None:
        """What `decode` makes of a record; None where it can't, and the record is passed over.

        Raises:
            NewerVersionError: the record is of a newer version.
            UnreadableError: it can't be read, nor could the `MOST_IN_A_ROW` before it.
        """
        if told.version is not None and told.version != str(VERSION):
            raise NewerVersionError(self.topic, offset, reason_of(told.version))
        try:
            if told.poll is not None and "\N{REPLACEMENT CHARACTER}" in told.poll:
                raise ValueError("its header 'poll' is no text")  # noqa: TRY301 - one place words all
            if value is not None and b"\\u0000" in value:
                raise ValueError("it holds a NUL character, which no store takes")  # noqa: TRY301
            record = decode()
        except (msgspec.DecodeError, ValueError) as error:
            self._pass_over(PassedOver(self.topic, offset, reason_of(str(error)), value or b""))
            return None
        self.in_a_row = 0
        return record

    def _pass_over(self, record: PassedOver) -> None:
        # Compaction takes records away; what stood between these two may have been readable.
        if self._last is not None and record.offset - self._last > _MARKER:
            self.in_a_row = 0
        self._last = record.offset
        if self.in_a_row >= MOST_IN_A_ROW and record.offset >= self._accepted:
            msg = (
                f"the record at offset {record.offset} of {self.topic} can't be read ({record.reason}), nor could the "
                f"{MOST_IN_A_ROW} before it: something else writes there, or another version of this program. Nothing "
                "from it on is read, and nothing is lost. With a program that reads it, the next run goes on; to go on "
                "without what can't be read: velib set-aside --accept"
            )
            raise UnreadableError(msg)
        self.in_a_row += 1
        self.passed_over.append(record)


def _text(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value

"""What becomes of a batch: its rows go to PostgreSQL, and the query waits as long as PostgreSQL is away.

One sink serves all queries of a job; each query writes through a connection of its own. What is written how is
`store/upsert.py`'s affair, and which rows, the queries'.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

import psycopg
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation

from velib_dagster.events.poll_name import POLL_HEADER
from velib_dagster.events.readable import VERSION_HEADER, Reading, told_by
from velib_dagster.events.records import PollRecord, Void, decode_poll
from velib_dagster.events.state_events import StateEvent, state_event
from velib_dagster.settings import Settings
from velib_dagster.store.connect import StoreUnreachableError, connect
from velib_dagster.store.upsert import Connection, upsert_polls, upsert_states, upsert_windows
from velib_dagster.streaming.errors import StoppedError, StreamError
from velib_dagster.streaming.voids import has_unknown_void

log: Final = logging.getLogger(__name__)
Result = TypeVar("Result")
T = TypeVar("T")

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 15.0


class Writer:
    """A connection that is opened when needed and again after PostgreSQL was away; for one thread at a time."""

    def __init__(self, settings: Settings, stop: threading.Event, name: str) -> None:
        self._settings = settings
        self._stop = stop
        self._name = name
        self._connection: Connection | None = None

    def write(self, action: Callable[[Connection], Result]) -> Result:
        """Do something that may safely be done twice, as often as needed until PostgreSQL has done it.

        Raises:
            StoppedError: the job is to stop, and PostgreSQL is still away.
        """
        return self.patiently(lambda: self._once(action))

    def patiently(self, action: Callable[[], Result]) -> Result:
        """Repeat an action that makes its own connection until PostgreSQL has done it.

        Raises:
            StoppedError: the job is to stop, and PostgreSQL is still away.
        """
        pause = FIRST_PAUSE_SECONDS
        away_since: datetime | None = None
        while True:
            try:
                result = action()
            except (psycopg.OperationalError, psycopg.InterfaceError, StoreUnreachableError) as error:
                self.close()
                if isinstance(error, psycopg.errors.ProgramLimitExceeded):
                    raise  # PostgreSQL is there, and would refuse the same rows for ever
                if away_since is None:
                    away_since = datetime.now(UTC)
                    log.warning("%s: PostgreSQL is away, waiting for it (%s)", self._name, _first_line(error))
                if self._stop.wait(pause):
                    msg = f"{self._name}: stopped while PostgreSQL was away; the rest is written at the next start"
                    raise StoppedError(msg) from error
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                if away_since is not None:
                    seconds = (datetime.now(UTC) - away_since).total_seconds()
                    log.warning("%s: PostgreSQL is back after %.0f s", self._name, seconds)
                return result

    def try_once(self, action: Callable[[Connection], None]) -> None:
        """Do something that can be left out while PostgreSQL is away."""
        try:
            self._once(action)
        except (psycopg.OperationalError, psycopg.InterfaceError, StoreUnreachableError):
            self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _once(self, action: Callable[[Connection], Result]) -> Result:
        if self._connection is None:
            self._connection = connect(self._settings)
        return action(self._connection)


def write_windows(rows: DataFrame, writer: Writer) -> int:
    """Upsert a batch of window sums (columns of `WINDOW_COLUMNS`); returns how many rows changed."""
    table = rows.toArrow()
    values = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return writer.write(lambda connection: upsert_windows(connection, values))


def write_states(kafka: DataFrame, writer: Writer, reading: Reading) -> int:
    """Upsert a batch of states and tombstones (Kafka's columns with headers); returns how many rows changed.

    Raises:
        UnreadableError, NewerVersionError: records can't be read, too many in a row or by a newer program.
    """
    events = list(_told(_state_events(kafka, reading), reading))
    return writer.write(lambda connection: upsert_states(connection, events))


def write_polls(
    kafka: DataFrame, writer: Writer, reading: Reading, barrier: Callable[[], None], voids: Sequence[Void] = ()
) -> int:
    """Upsert a batch of poll records once the barrier lets them pass; returns how many rows changed.

    The barrier makes `complete` true, and what is read as of a poll: it is in the table only when what it brought is
    in the windows and the states. `voids` is what the job knew to be void when it started.

    Raises:
        StreamError: a poll has found out since that a clock was ahead: the job must start again.
        UnreadableError, NewerVersionError: as `write_states`.
    """
    polls = list(_told(_polls(kafka, reading), reading))
    barrier()
    changed = writer.write(lambda connection: upsert_polls(connection, polls))
    if has_unknown_void(polls, voids):
        msg = "a clock was ahead, and what it brought is void: the job starts again without it"
        raise StreamError(msg)
    return changed


def _state_events(kafka: DataFrame, reading: Reading) -> Iterator[StateEvent | None]:
    headers = (_header("at"), _header("after"), _header(POLL_HEADER), _header(VERSION_HEADER))
    ordered = _in_order(kafka.select("key", "value", *headers, "offset"))
    columns = (column.to_pylist() for column in ordered.columns)
    for key, value, at, after, poll, version, offset in zip(*columns, strict=True):
        if key:  # without one, it only closes a transaction
            told = told_by({POLL_HEADER: poll, VERSION_HEADER: version})
            yield reading.read(offset, value, told, partial(state_event, key, value, told.poll, at, after))


def _polls(kafka: DataFrame, reading: Reading) -> Iterator[PollRecord | None]:
    ordered = _in_order(kafka.select("value", _header(POLL_HEADER), _header(VERSION_HEADER), "offset"))
    columns = (column.to_pylist() for column in ordered.columns)
    for value, poll, version, offset in zip(*columns, strict=True):
        if value is not None:
            told = told_by({POLL_HEADER: poll, VERSION_HEADER: version})
            yield reading.read(offset, value, told, partial(decode_poll, value))


def _told(records: Iterable[T | None], reading: Reading) -> Iterator[T]:
    """The records that can be read; the others are logged."""
    before = len(reading.passed_over)
    yield from (record for record in records if record is not None)
    for passed in reading.passed_over[before:]:
        log.warning("%s: the record at offset %d can't be read: %s", passed.topic, passed.offset, passed.reason)
    del reading.passed_over[before:]


def _header(key: str) -> Column:
    return F.expr(f"get(filter(headers, header -> header.key = '{key}'), 0).value").alias(key)


def _in_order(rows: DataFrame) -> pa.Table:
    """The rows by their offsets; sorted here, since Spark would read Kafka once more to learn how to sort."""
    return rows.toArrow().sort_by("offset")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]

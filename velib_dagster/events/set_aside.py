"""From one raw snapshot to the messages that are sent of it; one that can't be processed is set aside.

Its place is then taken by a poll record of the kind `set_aside`, so that order and exactly-once hold and what waits
behind it is sent. Only for what would fail the same way again; reads the raw store, sends nothing. Called by
`producer.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from confluent_kafka import KafkaException

from velib_dagster.events.advance import advance, unusable
from velib_dagster.events.known import Memory, Poll, Rules, Step
from velib_dagster.events.messages import Message, messages_of
from velib_dagster.events.readable import MOST_IN_A_ROW
from velib_dagster.events.records import reason_of
from velib_dagster.feed.answers import Snapshot
from velib_dagster.feed.decode import decode_snapshot
from velib_dagster.feed.errors import CorruptSnapshotError
from velib_dagster.feed.reports import NOTHING, PollKind
from velib_dagster.feed.snapshots import SnapshotStore, time_and_number
from velib_dagster.settings import VelibError


class TooManySetAsideError(VelibError):
    """More snapshots in a row can't be processed than may be set aside: the chain stops until someone looked."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"the snapshot {name} can't be processed ({reason}), nor could the {MOST_IN_A_ROW} before it: nothing from "
            "it on is sent, and nothing is lost. With a program that reads it, the next run goes on; to go on without "
            "what can't be processed: velib set-aside --accept"
        )


@dataclass(frozen=True)
class Prepared:
    """What one snapshot changes, and the messages that say so."""

    step: Step
    messages: tuple[Message, ...]


def prepare(
    memory: Memory,
    name: str,
    store: SnapshotStore,
    rules: Rules,
    timed: Callable[[Snapshot, Memory], Poll | None],
    *,
    feed_url: str = "",
    accepted: str = "",
) -> Prepared | None:
    """What is to be sent of a snapshot: its events, or the record that it was set aside; None while it is held.

    `timed` gives the poll, not yet decoded, with its time; None where that is still to be confirmed. Snapshots up to
    the name `accepted` may be set aside however many there are in a row.

    Raises:
        TooManySetAsideError: it can't be processed, nor could the `MOST_IN_A_ROW` before it.
        SnapshotError: the disk doesn't give it now.
    """
    poll = Poll(name, time_and_number(name)[0], NOTHING)
    try:
        snapshot = store.read(name)
        found = timed(snapshot, memory)
        if found is None:
            return None
        poll = found
        step = advance(memory, replace(poll, decoded=decode_snapshot(snapshot, feed_url)), rules)
        return Prepared(step, messages_of(step))
    except CorruptSnapshotError as error:
        reason = str(error)
    except (MemoryError, OSError, KafkaException, VelibError):
        raise  # may pass by itself
    except Exception as error:  # noqa: BLE001 - whatever it is, the next run would meet it again
        reason = f"{type(error).__name__}: {error}"
    return _set_aside(memory, poll, reason, accepted)


def _set_aside(memory: Memory, poll: Poll, reason: str, accepted: str) -> Prepared:
    if memory.set_aside >= MOST_IN_A_ROW and poll.snapshot > accepted:
        raise TooManySetAsideError(poll.snapshot, reason_of(reason))
    step = unusable(memory, poll, PollKind.SET_ASIDE, reason)
    return Prepared(step, messages_of(step))

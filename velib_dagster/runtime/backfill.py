"""Recorded days through the very same path as the live feed: HTTP, raw snapshot, Kafka, Spark, CSV.

Only the replay server knows that the answers are old. Called by `velib backfill` and, for its first two days, by a new
simulated home.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from queue import Empty, SimpleQueue
from statistics import median
from typing import Final, TypeVar

import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from velib_dagster.archive.errors import KafkaAwayError
from velib_dagster.archive.writer import Archived, archive_once
from velib_dagster.events.producer import EventProducer, FencedError
from velib_dagster.events.records import PollRecord
from velib_dagster.events.topics import KafkaError
from velib_dagster.feed.poll import poll_recordings
from velib_dagster.feed.recordings import Recording, list_recordings
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.locks import HeldError, hold
from velib_dagster.runtime.logs import last_lines, log_path
from velib_dagster.runtime.status import is_running
from velib_dagster.settings import Settings, VelibError
from velib_dagster.store.connect import StoreUnreachableError, connect
from velib_dagster.store.reads import progress as stream_progress
from velib_dagster.streaming.position import ends, next_offset

_POLLS_PER_TRANSACTION: Final = 5
_STREAM_SECONDS: Final = 300.0
"""A batch may take long on a busy machine."""
_DEATH_SECONDS: Final = 4.0
"""Time for whoever looks after a dead part to start it again; its absence shows after up to ten seconds."""
_SILENT_SECONDS: Final = 12.0
"""The same for the streaming job, whose absence shows at once."""
_LONGEST_TRY_SECONDS: Final = 60.0
"""A try that lasts longer did something: what it ends with is another absence."""
_AWAY_SECONDS: Final = 120.0
"""Time for Kafka or PostgreSQL to be ready once it was started again: a broker that was killed takes a while."""
_AGAIN_SECONDS: Final = 1.0

Result = TypeVar("Result")


class BackfillError(VelibError):
    """A backfill can't go on; the message says why."""


@dataclass
class Backfilled:
    """What a backfill did. `late` counts recordings older than the last published poll and never published."""

    recordings: int = 0
    fetched: int = 0
    late: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    spells: int = 0
    archived: Archived | None = None


@dataclass(frozen=True)
class Plan:
    """Which recordings are new, and which came too late to be put in their place."""

    new: tuple[Recording, ...]
    late: tuple[Recording, ...]


def plan(recordings: Sequence[Recording], stored: Counter[datetime]) -> Plan:
    """Split recordings by what the raw store has: as many of a poll time as it holds are already there.

    A recording older than the newest stored poll can't be published any more, since spells are sent in order.
    """
    left = Counter(stored)
    newest = max(stored, default=None)
    new: list[Recording] = []
    late: list[Recording] = []
    for recording in recordings:
        if left[recording.time]:
            left[recording.time] -= 1
        elif newest is not None and recording.time < newest:
            late.append(recording)
        else:
            new.append(recording)
    return Plan(tuple(new), tuple(late))


def backfill_recordings(settings: Settings, folder: Path, console: Console) -> Backfilled:
    """Send a folder of recordings through the platform of this home, whose Kafka, PostgreSQL and streaming job run.

    Returns when the CSV archive and PostgreSQL hold all of it.

    Raises:
        RecordingError: the folder has no recording, or one can't be read.
        BackfillError: another backfill of this home is going on, or the streaming job doesn't come after; states don't
            hold from one recording to the next.
        KafkaError, CorruptSnapshotError, ArchiveError: from the parts, nothing lost.
    """
    recordings = list_recordings(folder, settings.feed.zone_info)
    check_interval(recordings, settings.feed.max_hold_seconds)
    with _alone(settings), progress_bars(console) as progress:
        planned = plan(recordings, SnapshotStore(settings.raw).times())
        done = Backfilled(recordings=len(recordings), fetched=len(planned.new), late=len(planned.late))
        _publish(settings, planned.new, done, progress)
        with ThreadPoolExecutor(1, "archive") as beside:
            archiving = beside.submit(_archive, settings, progress)
            _await_stream(settings, progress)
        done.archived = archiving.result()
    return done


def check_interval(recordings: Sequence[Recording], max_hold_seconds: int) -> None:
    """Refuse recordings that mostly lie further apart than a state holds: every spell would end too early.

    Raises:
        BackfillError: says what to set.
    """
    gaps = [(later.time - earlier.time).total_seconds() for earlier, later in pairwise(recordings)]
    usual = median(gaps) if gaps else 0
    if usual > max_hold_seconds:
        msg = (
            f"the recordings lie {usual:.0f} s apart, and a state holds for {max_hold_seconds} s at most: set "
            f"VELIB_MAX_HOLD_SECONDS={2 * int(usual) + 60}, for this home's platform too where it runs, and try again"
        )
        raise BackfillError(msg)


def _publish(settings: Settings, new: Sequence[Recording], done: Backfilled, progress: Progress) -> None:
    """Fetch in a thread, publish here, so that neither waits for the other's disk."""
    fetching = progress.add_task("HTTP → raw snapshots", total=len(new))
    publishing = progress.add_task("snapshots → Kafka", total=len(new))
    arrived: SimpleQueue[BaseException | None] = SimpleQueue()

    def fetch() -> None:
        try:
            poll_recordings(settings, new, lambda _: progress.advance(fetching))
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which raises it
            arrived.put(error)
        else:
            arrived.put(None)

    thread = threading.Thread(target=fetch, name="fetch recordings", daemon=True)
    thread.start()
    fetched = False

    def send() -> None:
        nonlocal fetched
        with EventProducer(settings) as producer:
            while not fetched:
                outcome = _wait(arrived)
                if isinstance(outcome, BaseException):
                    raise outcome
                fetched = outcome is None
                _send_waiting(producer, done, progress, publishing)
            _send_waiting(producer, done, progress, publishing)
            done.spells += producer.cut()

    while True:
        try:
            _patiently(settings, "kafka", progress, send)
        except FencedError:
            # the home's own producer job took over for a moment; what it left waiting is sent next
            time.sleep(1)
        else:
            break
    thread.join()
    # a home's own producer may have sent some of them
    progress.update(publishing, completed=len(new))


_GOING_ON: Final = object()


def _wait(arrived: "SimpleQueue[BaseException | None]") -> BaseException | object | None:
    try:
        return arrived.get(timeout=0.5)
    except Empty:
        return _GOING_ON


def _send_waiting(producer: EventProducer, done: Backfilled, progress: Progress, task: TaskID) -> None:
    def sent(record: PollRecord) -> None:
        done.kinds[record.kind] += 1
        progress.advance(task)

    done.spells += producer.publish_waiting(polls_per_transaction=_POLLS_PER_TRANSACTION, on_poll=sent).spells


def _archive(settings: Settings, progress: Progress) -> Archived:
    """Archive all that is committed in Kafka, however many rounds it takes."""
    task = progress.add_task("CSV archive", total=None)
    archived = None

    def once() -> Archived:
        return archive_once(
            settings, on_progress=lambda read, total: progress.update(task, completed=read, total=total)
        )

    while archived is None or archived.lag:
        archived = _patiently(settings, "kafka", progress, once)
    progress.update(task, total=progress.tasks[task].completed)
    return archived


def _await_stream(settings: Settings, progress: Progress) -> None:
    """Wait until the streaming job's tables hold everything that is committed in Kafka now."""
    to_reach = _patiently(settings, "kafka", progress, lambda: ends(settings))
    task = progress.add_task("Spark → PostgreSQL", total=sum(to_reach.values()))
    changed_at, before = time.monotonic(), -1

    def read_positions() -> dict[str, int]:
        with connect(settings) as connection:
            return {row.query: next_offset(row.position) for row in stream_progress(connection)}

    while True:
        positions = _patiently(settings, "postgres", progress, read_positions)
        reached = {query: min(end, positions.get(query, 0)) for query, end in to_reach.items()}
        done = sum(reached.values())
        progress.update(task, completed=done)
        if reached == to_reach:
            return
        if done != before:
            changed_at, before = time.monotonic(), done
        still = time.monotonic() - changed_at
        if still > (_STREAM_SECONDS if is_running(settings, "streaming") else _SILENT_SECONDS):
            log = log_path(settings.home, "streaming")
            msg = (
                f"the streaming job has not come on for {still:.0f} s (at {reached} of {to_reach}); the CSV archive is "
                f"complete, and a second run goes on here. The end of {log}:\n{last_lines(log, 5)}"
            )
            raise BackfillError(msg)
        time.sleep(0.5)


def _patiently(settings: Settings, part: str, progress: Progress, task: Callable[[], Result]) -> Result:
    """Do a task that may safely be done again, while the part that it needs is away and started again.

    Raises:
        KafkaError, KafkaAwayError, StoreUnreachableError: the part did not come back: nobody started it again within
            some seconds, or it was not ready within two minutes.
        BaseException: whatever else the task raises.
    """
    away_since: float | None = None
    while True:
        began = time.monotonic()
        try:
            return task()
        except (KafkaError, KafkaAwayError, StoreUnreachableError, psycopg.OperationalError) as error:
            now = time.monotonic()
            if away_since is None or now - began > _LONGEST_TRY_SECONDS:
                away_since = now
                first_line = str(error).strip().partition("\n")[0]
                progress.console.print(f"waiting until it is back: {first_line}", highlight=False, markup=False)
            while not _is_looked_after(settings, part):
                if time.monotonic() - now > _DEATH_SECONDS:
                    raise
                time.sleep(0.2)
            if now - away_since > _AWAY_SECONDS:
                raise
            time.sleep(_AGAIN_SECONDS)


def _is_looked_after(settings: Settings, part: str) -> bool:
    """Whether the part's process runs, or it runs elsewhere, where its own supervisor starts it."""
    elsewhere = {"kafka": settings.kafka_address, "postgres": settings.postgres_address}
    return bool(elsewhere[part]) or is_running(settings, part)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """One backfill of a home at a time: two would each see the other's recordings as late."""
    try:
        lock = hold(settings.home / "run" / "backfill.lock")
    except HeldError as holder:
        msg = f"another backfill of {settings.home} is going on ({holder}): wait until it ends"
        raise BackfillError(msg) from None
    with lock:
        yield


@contextmanager
def progress_bars(console: Console) -> Iterator[Progress]:
    """One bar for each thing that goes on, until the block ends."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        yield progress

"""What runs and how far the data has come, for `velib status`: asked of the parts themselves, never of a note.

Reads only; every part that can't be asked is a line, not an error.
"""

import json
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import psutil
from psycopg.errors import UndefinedTable
from rich.table import Table
from rich.text import Text

from velib_dagster.archive.errors import ArchiveError
from velib_dagster.archive.reader import archived_through, committed_files
from velib_dagster.events.memory import committed_reader, newest_poll, stable_offsets
from velib_dagster.events.records import PollRecord
from velib_dagster.events.topics import TOPICS
from velib_dagster.feed.document_age import in_words
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.runtime.process import START_TOLERANCE_SECONDS
from velib_dagster.settings import LOOPBACK, Settings, VelibError
from velib_dagster.store.connect import StoreError, connect
from velib_dagster.store.doubts import DayInDoubt, days_in_doubt
from velib_dagster.store.reads import Counts, QueryProgress, counts, progress
from velib_dagster.store.terminal import plain

_PROBE_SECONDS: Final = 2.0
_PROCESSES: Final = {
    "streaming": "streaming job",
    "standby": "standby poller",
    "dagster_daemon": "Dagster daemon",
}
"""Parts that listen nowhere, with their names for people."""


@dataclass(frozen=True)
class PartStatus:
    """One part: whether it is up, and where it is or, listening nowhere, where its log is."""

    name: str
    up: bool
    where: str


@dataclass(frozen=True)
class PlatformStatus:
    """The whole platform; `problems` says in words what is wrong, empty where nothing is."""

    feed: str
    simulated: bool
    home: str
    parts: tuple[PartStatus, ...]
    last_poll: PollRecord | None
    waiting: int
    rows: Counts | None
    queries: tuple[QueryProgress, ...]
    stream_lag: int | None
    archived_through: datetime | None
    archive_bytes: int
    in_doubt: tuple[DayInDoubt, ...]
    problems: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Every part answers and a recent poll was usable."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """For `--json`; times are ISO-8601 UTC."""
        plain = asdict(self) | {"healthy": self.healthy}
        return dict(msgspec.to_builtins(plain))

    def table(self) -> Table:
        """For people."""
        title = f"{self.feed}{' (SIMULATED)' if self.simulated else ''} in {self.home}"
        table = Table(title=plain(title), show_header=False, title_justify="left")
        for part in self.parts:
            table.add_row(part.name, Text("up", "green") if part.up else Text("down", "red"), plain(part.where))
        if self.last_poll is not None:
            poll = self.last_poll
            words = f"{poll.kind}, {poll.reports} stations, {poll.changed} changed"
            table.add_row("last poll", f"{poll.time:%Y-%m-%d %H:%M:%SZ}", plain(f"{words} {poll.reason}".strip()))
            if poll.document_age_seconds is not None:
                age = in_words(timedelta(seconds=poll.document_age_seconds))
                doubt = ", which its stations contradict" if poll.stamp_wrong else ""
                table.add_row("document", age, f"old at the last poll, by its own words{doubt}")
        table.add_row("snapshots waiting", str(self.waiting), "not yet in Kafka")
        for query in self.queries:
            table.add_row(f"query {query.query}", f"batch {query.batch_id}", f"{query.updated_at:%Y-%m-%d %H:%M:%SZ}")
        if self.stream_lag is not None:
            table.add_row("stream lag", str(self.stream_lag), "records in Kafka and not yet in PostgreSQL")
        if self.rows is not None:
            complete = self.rows.newest_complete
            reach = f"complete to {complete:%Y-%m-%d %H:%M:%SZ}" if complete else "none complete"
            table.add_row("station windows", str(self.rows.windows), reach)
        through = f"{self.archived_through:%Y-%m-%d %H:%M:%SZ}" if self.archived_through else "nothing yet"
        table.add_row("CSV archive", through, f"{self.archive_bytes / 1e6:.1f} MB")
        for problem in self.problems:
            table.add_row(Text("problem", "red"), "", plain(problem))
        return table


def platform_status(settings: Settings) -> PlatformStatus:
    """Ask every part of the home's platform; takes some seconds at most where parts are down."""
    parts = tuple(_parts(settings))
    problems = [f"{part.name} is down ({part.where})" for part in parts if not part.up]
    last_poll, ends = _from_kafka(settings, problems)
    rows, queries, doubts = _from_postgres(settings, problems)
    problems += [_doubt(row) for row in doubts]
    problems += _late_schedules(settings, parts)
    lag = None
    if ends is not None and rows is not None:
        reached = {topic: offsets.get("0", 0) for query in queries for topic, offsets in query.position.items()}
        lag = sum(max(0, end - reached.get(topic, 0)) for topic, end in ends.items())
    store = SnapshotStore(settings.raw)
    if last_poll is not None and not last_poll.kind.usable:
        problems.append(f"the last poll was {last_poll.kind}: {last_poll.reason}")
    if last_poll is not None:
        problems += _old_news(last_poll, settings)
    if (
        settings.feed.is_polled
        and last_poll is not None
        and _age(last_poll.time) > timedelta(seconds=5 * settings.feed.every_seconds)
    ):
        problems.append(f"the last poll was at {last_poll.time:%Y-%m-%d %H:%M:%SZ}")
    try:
        through = archived_through(settings.archive)
        size = sum(file.length for file in committed_files(settings.archive))
    except ArchiveError as error:
        through, size = None, 0
        if settings.archive.exists():
            problems.append(str(error))
    return PlatformStatus(
        feed=settings.feed.name,
        simulated=settings.feed.simulated,
        home=str(settings.home),
        parts=parts,
        last_poll=last_poll,
        waiting=len(store.names_after(last_poll.snapshot if last_poll else None)),
        rows=rows,
        queries=queries,
        stream_lag=lag,
        archived_through=through,
        archive_bytes=size,
        in_doubt=doubts,
        problems=tuple(problems),
    )


def _old_news(poll: PollRecord, settings: Settings) -> list[str]:
    """What is wrong with the time of what the feed tells."""
    found: list[str] = []
    if poll.document_age_seconds is not None and poll.old_document(settings.feed.max_hold_seconds):
        age = in_words(timedelta(seconds=poll.document_age_seconds))
        found.append(f"the feed's document was {age} old at the last poll, by its own words")
    if poll.frozen_since is not None:
        found.append(f"no station has changed since {poll.frozen_since:%Y-%m-%d %H:%M:%SZ}: the feed is frozen")
    if settings.feed.is_polled and -_age(poll.time) > timedelta(seconds=5 * settings.feed.every_seconds):
        found.append(
            f"the last poll is of {poll.time:%Y-%m-%d %H:%M:%SZ}, later than this machine's clock: one of the two is "
            "wrong; the first poll whose clocks agree puts it right"
        )
    return found


def _late_schedules(settings: Settings, parts: Iterable[PartStatus]) -> list[str]:
    from velib_dagster.runtime.health import late_schedules  # noqa: PLC0415 - with Dagster, which takes a second

    up = {part.name for part in parts if part.up}
    if settings.dagster_files is not None or not {"PostgreSQL", _PROCESSES["dagster_daemon"]} <= up:
        return []  # told already
    found = late_schedules(settings)
    return [] if found is None else [found]


def _parts(settings: Settings) -> list[PartStatus]:
    def listening(name: str, address: str) -> PartStatus:
        host, _, port = address.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), _PROBE_SECONDS):
                return PartStatus(name, True, address)
        except (OSError, ValueError):
            return PartStatus(name, False, address)

    def at(name: str) -> str:
        return f"{LOOPBACK}:{settings.ports.get(name, 0)}"

    postgres = at("postgres")
    if settings.postgres_address:
        parts = urlsplit(settings.postgres_address)
        postgres = f"{parts.hostname}:{parts.port or 5432}"
    mlflow = urlsplit(settings.mlflow_address).netloc if settings.mlflow_address else at("mlflow")
    kafka = settings.kafka_address.partition(",")[0] if settings.kafka_address else at("kafka")
    found = [listening("Kafka", kafka), listening("PostgreSQL", postgres), listening("MLflow", mlflow)]
    names = [name for name in _PROCESSES if name != "standby" or settings.feed.is_polled]
    if settings.dagster_files is None:
        found.insert(2, listening("Dagster", at("dagster")))
        for name in names:
            found.append(PartStatus(_PROCESSES[name], is_running(settings, name), f"see {settings.logs / name}.log"))
        return found
    # On a server each part has a container of its own: what can be asked from another one is its work.
    from velib_dagster.runtime.health import trouble  # noqa: PLC0415 - with Dagster, which takes a second

    for name in names:
        words = trouble(settings, name)
        found.append(PartStatus(_PROCESSES[name], words is None, words or "at work"))
    return found


def is_running(settings: Settings, name: str) -> bool:
    """Whether a child that the supervisor started lives: the pid that it wrote down, with the same start time."""
    try:
        noted = json.loads((settings.home / "run" / f"{name}.json").read_bytes())
        pid, started = int(noted["pid"]), float(noted["started"])
        process = psutil.Process(pid)
        dead = process.status() == psutil.STATUS_ZOMBIE  # killed, and its parent has not looked yet
        return not dead and abs(process.create_time() - started) < START_TOLERANCE_SECONDS
    except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
        return False


def _from_kafka(settings: Settings, problems: list[str]) -> tuple[PollRecord | None, dict[str, int] | None]:
    if problems and any(problem.startswith("Kafka") for problem in problems):
        return None, None
    try:
        with committed_reader(settings) as consumer:
            topics = [settings.topic(name) for name in TOPICS]
            ends = {topic: stable_offsets(consumer, settings, topic)[1] for topic in topics}
        return newest_poll(settings), ends
    except VelibError as error:  # Kafka is away, or holds what can't be read
        problems.append(str(error))
        return None, None


def _from_postgres(
    settings: Settings, problems: list[str]
) -> tuple[Counts | None, tuple[QueryProgress, ...], tuple[DayInDoubt, ...]]:
    if any(problem.startswith("PostgreSQL") for problem in problems):
        return None, (), ()
    try:
        with connect(settings) as connection:
            return counts(connection), tuple(progress(connection)), tuple(days_in_doubt(connection))
    except StoreError as error:
        problems.append(str(error))
    except UndefinedTable:
        problems.append(f"the schema of {settings.database} is older than this program: start the platform again")
    return None, (), ()


def _doubt(row: DayInDoubt) -> str:
    times = "once" if row.tries == 1 else f"{row.tries} times"
    return (
        f"the statistics of {row.day} are in doubt since {row.since:%Y-%m-%d %H:%M:%SZ}, tried {times}, "
        f"the newest at {row.tried_at:%Y-%m-%d %H:%M:%SZ}: {row.reason}"
    )


def _age(time: datetime) -> timedelta:
    return datetime.now(UTC) - time

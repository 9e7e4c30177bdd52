"""The streaming job: three queries, Kafka → PostgreSQL, started, watched and stopped together.

What the queries compute is in `windows.py`, what becomes of their batches in `sink.py`. Called by `velib stream`,
`velib backfill`, and `spark/streaming.py` under spark-submit.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark import SparkConf, SparkContext
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import StreamingQuery
from pyspark.sql.streaming.listener import StreamingQueryProgress

from velib_dagster.archive.errors import ArchiveError
from velib_dagster.archive.unreadable import records_set_aside
from velib_dagster.events.kafka_security import java_security
from velib_dagster.events.memory import reading_at
from velib_dagster.events.readable import Reading
from velib_dagster.events.records import Spell, Void
from velib_dagster.events.topics import ensure_topics
from velib_dagster.settings import LOOPBACK, Settings
from velib_dagster.stopping import asks_to_stop
from velib_dagster.store.migrate import migrate
from velib_dagster.store.reads import progress
from velib_dagster.store.upsert import Connection, Progress, upsert_progress
from velib_dagster.streaming.binding import bind_checkpoints, current_binding, drop_former, drop_unbegun, only_job
from velib_dagster.streaming.errors import StoppedError, StreamError
from velib_dagster.streaming.position import QUERIES, ends, next_offset, spark_position
from velib_dagster.streaming.sink import Writer, write_polls, write_states, write_windows
from velib_dagster.streaming.voids import set_back, without_voids
from velib_dagster.streaming.windows import NEWER_VERSION, NO_SPELL, parse, readable, window_sums

log: Final = logging.getLogger(__name__)

MOST_OFFSETS: Final = 100_000
"""Offsets a batch: about 1 GB for Spark and a few seconds, and the watermark moves between batches."""
TASK_OFFSETS: Final = MOST_OFFSETS // 2
"""Offsets a task: a topic has one partition, and a large batch is to be read on two cores; a minute is one task."""
CHECKPOINTS: Final = {"windows": "windows_once", "states": "states", "polls": "polls"}
"""Query → its folder of checkpoints. A query whose state changes needs a folder of another name: Spark refuses the old
state, and from the topic's start no window that is right gets worse."""
FORMER_CHECKPOINTS: Final = ("windows", "station_windows")
"""Folders of earlier versions, which go: a query that begins anew needs nothing of them."""
TRIGGER: Final = "2 seconds"
JAVA_OPTIONS: Final = (
    "spark.driver.extraJavaOptions",
    "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC",
)
"""For batches of a minute's changes, and for a backfill that ends: neither earns back what Java's optimising compiler
costs on two cores. Without it Java keeps 48 MB for code, and a Spark that outgrows them hangs or fails at random."""
PROGRESS_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.5


def run(
    settings: Settings,
    *,
    until_idle: bool = False,
    stop: threading.Event | None = None,
    jars: Sequence[Path] = (),
    master: str | None = "local[2]",
) -> None:
    """Run the three queries until asked to stop (`stop`, SIGTERM, SIGINT); with `until_idle`, until all is written
    that was committed to Kafka at the time of the call.

    `jars` are those of Spark's Kafka connector, where the session doesn't have them yet. `master` is None under
    spark-submit, which chooses it. The environment's JAVA_HOME is the Java that Spark runs on.

    Raises:
        StreamError: a query died, another job of the home runs, or the checkpoints belong to another Kafka or database.
        KafkaError: Kafka can't be reached at the start.
    """
    asked = stop or threading.Event()
    with asks_to_stop(asked), only_job(settings):
        start = Writer(settings, asked, "start")
        try:
            start.patiently(lambda: migrate(settings))
            ensure_topics(settings)
            bind_checkpoints(settings, start.write(lambda connection: current_binding(settings, connection)))
            known = start.write(lambda connection: _known(settings, connection))
            drop_unbegun(settings)
            drop_former(settings, FORMER_CHECKPOINTS)
            to_reach = ends(settings) if until_idle else None
        except StoppedError:
            return
        finally:
            start.close()
        spark = session(settings, jars, master)
        with asks_to_stop(asked):  # again: a session takes SIGINT for itself
            try:
                _Job(settings, spark, asked, known).watch(to_reach)
            finally:
                _stop_session(spark, asked)


def session(settings: Settings, jars: Sequence[Path] = (), master: str | None = "local[2]") -> SparkSession:
    """The Spark session of the job: small, on this machine's loopback unless spark-submit decides otherwise."""
    builder = (
        SparkSession.builder.appName(f"velib stream {settings.feed.name}")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        # beyond 128 keys Spark would sort all rows of the window sums instead of hashing them
        .config("spark.sql.objectHashAggregate.sortBased.fallbackThreshold", "1000000")
        .config("spark.sql.streaming.noDataProgressEventInterval", "1000")
        .config("spark.sql.adaptive.enabled", "false")
        .config("spark.sql.streaming.noDataMicroBatches.enabled", "false")
    )
    if master is not None:
        builder = builder.master(master).config("spark.driver.memory", "1g").config(*JAVA_OPTIONS)
    else:
        SparkContext._ensure_initialized()  # before that, SparkConf does not see what spark-submit chose
    if (master or SparkConf().get("spark.master") or "").startswith("local"):
        builder = (
            builder.config("spark.driver.host", LOOPBACK)
            .config("spark.driver.bindAddress", LOOPBACK)
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
        )
    if jars:
        builder = builder.config("spark.jars", ",".join(str(path) for path in jars))
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    return spark


def kafka_options(settings: Settings) -> dict[str, str]:
    """What Spark's Kafka source needs to connect and to log in.

    Raises:
        SettingsError: what is to be read for the login can't be.
    """
    return {
        "kafka.bootstrap.servers": settings.kafka,
        **{f"kafka.{name}": value for name, value in java_security(settings).items()},
    }


@dataclass(frozen=True)
class _Known:
    """What the queries must know when they start: what is void, the offsets of the spells that the archive has set
    aside, and how far states and polls were readable."""

    voids: tuple[Void, ...]
    set_aside: frozenset[int]
    states: Reading
    polls: Reading


def _known(settings: Settings, connection: Connection) -> _Known:
    voids = set_back(settings, connection, CHECKPOINTS["windows"])
    reached = {row.query: next_offset(row.position) for row in progress(connection)}
    return _Known(
        voids,
        _set_aside(settings),
        reading_at(settings, "states", reached.get("states", 0)),
        reading_at(settings, "polls", reached.get("polls", 0)),
    )


def _set_aside(settings: Settings) -> frozenset[int]:
    """Offsets of the spells that the archive has set aside; a damaged archive must not stop what is live."""
    try:
        return frozenset(record.offset for record in records_set_aside(settings.archive))
    except ArchiveError as error:
        log.warning("what the archive has set aside is not known: %s", error)
        return frozenset()


class _Job:
    def __init__(self, settings: Settings, spark: SparkSession, stop: threading.Event, known: _Known) -> None:
        self._settings = settings
        self._spark = spark
        self._stop = stop
        self._written: dict[str, tuple[str, float]] = {}
        self._batches: dict[str, StreamingQueryProgress] = {}
        self._progress = Writer(settings, stop, "progress")
        self._queries: dict[str, StreamingQuery] = {}
        spells = without_voids(readable(self._topic("windows"), known.set_aside), known.voids)
        windows = window_sums(parse(spells, Spell), settings.feed.max_hold_seconds)
        self._start("windows", windows, write_windows)
        states, polls = known.states, known.polls
        self._start("states", self._topic("states"), lambda rows, writer: write_states(rows, writer, states))
        self._start(
            "polls",
            self._topic("polls"),
            lambda rows, writer: write_polls(rows, writer, polls, self._barrier, known.voids),
        )

    def watch(self, to_reach: dict[str, int] | None) -> None:
        """Until stopped, until the ends are reached, or until a query dies."""
        try:
            while not self._stop.wait(LOOK_SECONDS):
                self._fail_if_one_died()
                positions = {name: self._report(name) for name in QUERIES}
                if to_reach is not None and all(positions[name] >= end for name, end in to_reach.items()):
                    break
        except Py4JError as error:
            if self._stop.is_set():  # the same signal ended Spark's own process
                return
            msg = f"Spark's own process is gone: {error}"
            raise StreamError(msg) from error
        finally:
            self._progress.close()

    def _topic(self, query: str) -> DataFrame:
        return (
            self._spark.readStream.format("kafka")
            .options(**kafka_options(self._settings))
            .option("kafka.isolation.level", "read_committed")
            .option("subscribe", self._settings.topic(QUERIES[query]))
            .option("startingOffsets", "earliest")
            .option("failOnDataLoss", "true")
            .option("includeHeaders", "true")
            .option("maxOffsetsPerTrigger", MOST_OFFSETS)
            .option("maxRecordsPerPartition", TASK_OFFSETS)
            .load()
        )

    def _start(self, name: str, rows: DataFrame, write: Callable[[DataFrame, Writer], int]) -> None:
        writer = Writer(self._settings, self._stop, name)

        def write_batch(batch: DataFrame, _number: int) -> None:
            write(batch, writer)

        self._queries[name] = (
            rows.writeStream.queryName(name)
            .outputMode("update" if name == "windows" else "append")
            .option("checkpointLocation", str(self._settings.checkpoints / CHECKPOINTS[name]))
            .trigger(processingTime=TRIGGER)
            .foreachBatch(write_batch)
            .start()
        )

    def _barrier(self) -> None:
        """Wait until all spells and states sent by now are in PostgreSQL, or were never committed."""
        to_reach = ends(self._settings)
        for name in ("windows", "states"):
            query = self._queries[name]
            while _position(query) < to_reach[name]:
                if not query.isActive:
                    msg = f"polls: the query {name} has ended; the polls wait for it"
                    raise StreamError(msg)
                if self._stop.wait(LOOK_SECONDS):
                    msg = f"polls: stopped while waiting for the {name}; the batch runs again at the next start"
                    raise StoppedError(msg)

    def _fail_if_one_died(self) -> None:
        for name, query in self._queries.items():
            if not query.isActive:
                error = query.exception()
                raise StreamError(_death(name, error, self._settings))

    def _report(self, name: str) -> int:
        """Write the query's progress row, after each batch and now and then while it is idle; its next offset."""
        latest = self._queries[name].lastProgress
        if latest is None:
            return 0
        position = spark_position(latest.sources[0].endOffset)
        if latest.numInputRows or name not in self._batches:
            self._batches[name] = latest
        batch = self._batches[name]
        written_batch, written_at = self._written.get(name, ("", 0.0))
        if batch.timestamp != written_batch or time.monotonic() - written_at >= PROGRESS_SECONDS:
            row = Progress(
                query=name,
                batch_id=batch.batchId,
                input_rows=batch.numInputRows,
                rows_per_second=batch.processedRowsPerSecond,
                position=position,
                watermark=_watermark(latest),
                batch_seconds=batch.durationMs.get("triggerExecution", 0) / 1000,
            )
            self._progress.try_once(lambda connection: upsert_progress(connection, row))
            self._written[name] = (batch.timestamp, time.monotonic())
        return next_offset(position)


def _watermark(latest: StreamingQueryProgress) -> datetime | None:
    text = latest.eventTime.get("watermark")
    watermark = datetime.fromisoformat(text) if text else None
    return watermark if watermark and watermark.timestamp() > 0 else None  # Spark says 1970 before it has one


def _position(query: StreamingQuery) -> int:
    latest = query.lastProgress
    return next_offset(spark_position(latest.sources[0].endOffset)) if latest else 0


def _death(name: str, error: StreamingQueryException | None, settings: Settings) -> str:
    reason = str(error) if error else "it ended without a reason"
    # the plan and Python's way to the error help nobody, and quote what the query would say of other errors
    reason = reason.partition("\n=== Streaming Query")[0].rpartition("raise converted from None\n")[2].strip()
    advice = ""
    if NO_SPELL in reason or "MALFORMED_RECORD_IN_PARSING" in reason:
        advice = (
            f". A record of {settings.topic(QUERIES[name])} can't be read: the archive sets it aside (every five "
            "minutes, or velib archive), and the next start passes over it"
        )
    if NEWER_VERSION in reason:
        advice = ". A newer program wrote a record: nothing from it on is read; install that program again"
    if "failOnDataLoss" in reason:
        folder = settings.checkpoints / CHECKPOINTS[name]
        advice = (
            f". Kafka no longer has what the checkpoint stands at: delete the folder {folder}; "
            "the query then begins at the topic's start, and no window that is right gets worse"
        )
    return f"the query {name} died: {reason}{advice}"


def _stop_session(spark: SparkSession, stop: threading.Event) -> None:
    stop.set()  # batches that wait for PostgreSQL or for the windows end
    try:
        for query in spark.streams.active:
            query.stop()
        spark.stop()
    except (Py4JError, ConnectionError) as error:
        log.info("Spark's own process was gone before it could be stopped: %s", error)

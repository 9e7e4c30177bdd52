"""Sensor `new_snapshots`: launches the producer as soon as raw snapshots wait.

What Kafka has already is the producer's to find out; here the last materialization is only a hint for launching.
No Kafka client runs here: one that hangs would stop all sensors.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg
import msgspec

from velib_dagster.clock import local_clock
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.orchestration import jobs
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.shared import (
    PUBLISHED_THROUGH,
    STATION_EVENTS,
    TAKEN_OVER,
    answers_at,
    earlier_run_going,
    failed_before,
    sensor_status,
    text_of,
)
from velib_dagster.settings import Settings

FIRST_PAUSE: Final = timedelta(seconds=20)
LONGEST_PAUSE: Final = timedelta(minutes=5)
"""After failed runs in a row the next one waits 20 s, 40 s, … at most five minutes."""
TAKEN_OVER_PAUSE: Final = timedelta(seconds=60)
"""Launched at once, this producer would fence the one that has just fenced it, and so on."""


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the sensor remembers: since when Kafka has been unreachable while snapshots waited."""

    unreachable_since: datetime | None = None


def new_snapshots_sensor() -> dg.SensorDefinition:
    """A fresh sensor, running or stopped by what the environment says now."""

    @dg.sensor(
        name="new_snapshots",
        job=jobs.producer,
        minimum_interval_seconds=1,
        default_status=sensor_status(),
        description="Launches the producer when raw snapshots wait; says since when Kafka is away and how many wait.",
    )
    def new_snapshots(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult:
        settings = platform.settings()
        cursor = msgspec.json.decode(context.cursor, type=Cursor) if context.cursor else Cursor()
        return _evaluate(settings, context.instance, cursor, datetime.now(UTC))

    return new_snapshots


def _evaluate(settings: Settings, instance: dg.DagsterInstance, cursor: Cursor, now: datetime) -> dg.SensorResult:
    store = SnapshotStore(settings.raw)
    newest = store.newest()
    if newest is None:
        return _skip("no snapshot yet", Cursor())
    event = instance.get_latest_materialization_event(STATION_EVENTS)
    published = text_of(event, PUBLISHED_THROUGH)
    if published is not None and newest <= published:
        return _skip(f"nothing waits: Kafka has all snapshots up to {published}", Cursor())
    going = earlier_run_going(instance, jobs.PRODUCER)
    if going:
        return _skip(going, cursor)
    waiting = len(store.names_after(published))
    words = f"{waiting} snapshot waits" if waiting == 1 else f"{waiting} snapshots wait"
    if not answers_at(settings.kafka):
        since = cursor.unreachable_since or now
        return _skip(
            f"Kafka unreachable since {local_clock(settings, since)}, {words} (at {settings.kafka})", Cursor(since)
        )
    pause = taken_over(settings, event, now) or failed_before(
        settings, instance, jobs.PRODUCER, now, FIRST_PAUSE, LONGEST_PAUSE
    )
    if pause:
        # a broker that hangs still takes connections: only its producer's failed runs tell
        return _skip(f"{pause}; {words}", Cursor())
    # No run key: one that failed would block its key, and the snapshot behind it, for ever.
    return dg.SensorResult(run_requests=[dg.RunRequest()], cursor=_text(Cursor()))


def taken_over(settings: Settings, event: dg.EventLogEntry | None, now: datetime) -> str | None:
    """Words while another producer that took over less than a minute ago is left to its work."""
    materialization = event.asset_materialization if event else None
    if event is None or materialization is None:
        return None
    fenced = materialization.metadata.get(TAKEN_OVER)
    moment = datetime.fromtimestamp(event.timestamp, UTC)
    if fenced is None or fenced.value is not True or now - moment >= TAKEN_OVER_PAUSE:
        return None
    at, then = local_clock(settings, moment), local_clock(settings, moment + TAKEN_OVER_PAUSE)
    return f"another producer of this feed took over at {at}; this one looks again at {then}"


def _skip(words: str, cursor: Cursor) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=words, cursor=_text(cursor))


def _text(cursor: Cursor) -> str:
    return msgspec.json.encode(cursor).decode()

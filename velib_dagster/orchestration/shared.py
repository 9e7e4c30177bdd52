"""What all assets, jobs, schedules and sensors share: names, lanes, the switch for automation, small tables.

Nothing of one asset belongs here, and nothing that touches the feed, Kafka or PostgreSQL.
"""

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg

from velib_dagster.clock import local_clock
from velib_dagster.feed.errors import NotPolledError
from velib_dagster.settings import Settings

Metadata = dict[str, dg.MetadataValue[Any] | str | int | float | bool]
"""What a result tells the UI: plain values or Dagster's own."""

OWNERS: Final = ("team:velib",)
RAW_SNAPSHOTS: Final = dg.AssetKey("raw_snapshots")
STATION_EVENTS: Final = dg.AssetKey("station_events")
CSV_ARCHIVE: Final = dg.AssetKey("csv_archive")
STORAGE: Final = dg.AssetKey("storage")

PUBLISHED_THROUGH: Final = "published_through"
"""Metadata of `station_events`: the newest snapshot that Kafka had after the run; a hint for launching only."""
TAKEN_OVER: Final = "taken_over"
"""Metadata of `station_events`: another producer fenced this one."""

STUCK_AFTER: Final = timedelta(minutes=2)
"""A run older than this no longer holds back the next: a minute job takes seconds, and one that hangs or was
orphaned by a restart would otherwise stop its job until run monitoring ends it."""
IN_DOUBT: Final = "velib/in_doubt"
"""Tag of a run of statistics that failed for days in doubt alone: they are noted, and hold no other day back."""
LOOK_BACK: Final = 12
"""Failed runs in a row that lengthen the pause after them; more make it no longer."""
STATISTICS_POOL: Final = "statistics"
TRAINING_POOL: Final = "training"
POOLS: Final = {STATISTICS_POOL: 1, TRAINING_POOL: 1}
"""Heavy work, by pool: so many runs at a time, launched by whom ever. Together they leave the machine to the polls."""
NICENESS: Final = 10
FIRST_PARTITION: Final = "dagster/asset_partition_range_start"
LAST_PARTITION: Final = "dagster/asset_partition_range_end"
"""Tags of a run over partitions in a row, of one alone too."""
AHEAD: Final = timedelta(minutes=5)
"""A tick may be looked at late: what was materialized so long after it came by a clock that was ahead."""
CONNECT_SECONDS: Final = 1.0
HEAD_ROWS: Final = 5

GOING: Final = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def automation_is_on() -> bool:
    """Whether schedules and sensors start by themselves: only where a platform runs (`VELIB_AUTOMATION=on`)."""
    return os.environ.get("VELIB_AUTOMATION") == "on"


def schedule_status() -> dg.DefaultScheduleStatus:
    """The state of a schedule that nobody has switched by hand."""
    return dg.DefaultScheduleStatus.RUNNING if automation_is_on() else dg.DefaultScheduleStatus.STOPPED


def sensor_status() -> dg.DefaultSensorStatus:
    """The state of a sensor that nobody has switched by hand."""
    return dg.DefaultSensorStatus.RUNNING if automation_is_on() else dg.DefaultSensorStatus.STOPPED


def reports_status() -> dg.DefaultSensorStatus:
    """The state of a sensor that only reports what was done elsewhere: a platform without a feed to poll has it too."""
    runs = os.environ.get("VELIB_AUTOMATION") in {"on", "reports"}
    return dg.DefaultSensorStatus.RUNNING if runs else dg.DefaultSensorStatus.STOPPED


def yield_to_polls() -> None:
    """Let heavy work of a running platform come after polls, producer and stream: this process, and its Java."""
    if automation_is_on():  # there each run has a process of its own; elsewhere it is a command's, or a test's
        os.nice(max(0, NICENESS - os.nice(0)))


def not_polled(settings: Settings) -> str | None:
    """Words where the feed has no address: recordings are in the past, and come by `velib backfill`."""
    if settings.feed.is_polled:
        return None
    return str(NotPolledError(settings.feed.name))


def earlier_run_going(instance: dg.DagsterInstance, job_name: str, stuck_after: timedelta = STUCK_AFTER) -> str | None:
    """Words about an earlier run of the job that is still going, None where none is younger than `stuck_after`."""
    found = instance.get_run_records(
        dg.RunsFilter(job_name=job_name, statuses=list(GOING), created_after=datetime.now(UTC) - stuck_after),
        limit=1,
    )
    if not found:
        return None
    run = found[0]
    age = int((datetime.now(UTC) - run.create_timestamp.astimezone(UTC)).total_seconds())
    status = run.dagster_run.status.value.lower()
    return f"an earlier run of {job_name} is still going: {run.dagster_run.run_id[:8]}, {status}, {age} s old"


def failed_before(
    settings: Settings,
    instance: dg.DagsterInstance,
    job_name: str,
    now: datetime,
    first_pause: timedelta,
    longest_pause: timedelta,
) -> str | None:
    """Words while the pause after failed runs of the job lasts; it doubles with each failure in a row."""
    records = [
        record
        for record in instance.get_run_records(dg.RunsFilter(job_name=job_name), limit=LOOK_BACK)
        if IN_DOUBT not in record.dagster_run.tags
    ]
    failures = 0
    for record in records:
        if record.dagster_run.status is not dg.DagsterRunStatus.FAILURE:
            break
        failures += 1
    if not failures:
        return None
    newest = records[0]
    ended = datetime.fromtimestamp(newest.end_time, UTC) if newest.end_time else newest.create_timestamp
    then = ended.astimezone(UTC) + min(first_pause * 2 ** (failures - 1), longest_pause)
    # One that ended in the future is of a clock that was wrong: it holds nothing up.
    if now >= then or ended.astimezone(UTC) > now + first_pause:
        return None
    runs = "run" if failures == 1 else "runs"
    return (
        f"{failures} failed {runs} of {job_name} in a row, the newest ({newest.dagster_run.run_id[:8]}) at "
        f"{local_clock(settings, ended)}; the next try is due in {(then - now).total_seconds():.0f} s"
    )


def materialized_ago(instance: dg.DagsterInstance, asset: dg.AssetKey, now: datetime) -> timedelta | None:
    """How long ago the asset was last materialized; None where it never was, or by a clock that was ahead."""
    event = instance.get_latest_materialization_event(asset)
    if event is None:
        return None
    age = now - datetime.fromtimestamp(event.timestamp, UTC)
    return None if age < -AHEAD else max(age, timedelta(0))


def answers_at(addresses: str) -> bool:
    """Whether one of the addresses `host:port[,host:port]` takes a connection within a second each.

    A plain connection, since a Kafka client in a sensor can hang the whole daemon.
    """
    for address in addresses.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS):
                return True
        except OSError:
            continue
    return False


def text_of(event: dg.EventLogEntry | None, name: str) -> str | None:
    """The text that a materialization carries under a name, None without the event or the name."""
    materialization = event.asset_materialization if event else None
    value = materialization.metadata.get(name) if materialization else None
    return value.value if isinstance(value, dg.TextMetadataValue) and value.value else None


def simulated_note(settings: Settings) -> dict[str, str]:
    """The mark that each result of a simulated feed carries; nothing for any other feed."""
    return {"feed": f"SIMULATED ({settings.feed.name})" if settings.feed.simulated else settings.feed.name}


def table(rows: Iterable[Mapping[str, str | int | float | bool | None]]) -> dg.TableMetadataValue | None:
    """A small table for the UI, None without rows. Each one is kept in Dagster's event log: pass a head only."""
    records = [dg.TableRecord(dict(row)) for row in rows]
    if not records:
        return None
    # Only the first row is looked at for types, and a value may be null there.
    names: Sequence[str] = list(records[0].data)
    schema = dg.TableSchema([dg.TableColumn(name) for name in names])
    return dg.MetadataValue.table(records, schema)

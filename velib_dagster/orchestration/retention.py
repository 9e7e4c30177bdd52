"""Asset `storage` and its knobs: what the job `retention` deletes each hour, so that months of minutes fit the disk.

How each thing is deleted belongs to `upkeep.py`, `store/old_rows.py` and the raw store. Kafka deletes by the policies
of its topics, Spark its checkpoints, Dagster its ticks (`dagster.yaml`). The archive is never touched: only it grows.
"""

import csv
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import dagster as dg
from pydantic import Field

from velib_dagster.archive.commit import Commit, day_path, read_commit
from velib_dagster.events.records import CSV_HEADER
from velib_dagster.feed.poll import now_by_polls
from velib_dagster.feed.snapshots import SnapshotStore, time_and_number
from velib_dagster.orchestration.jobs import FREQUENT_JOBS
from velib_dagster.orchestration.resources import Platform
from velib_dagster.orchestration.shared import OWNERS, STORAGE, Metadata, simulated_note
from velib_dagster.settings import Settings

MEGABYTE: Final = 1_000_000
GROWTH_DAYS: Final = 8


class Retention(dg.Config):
    """Days to keep of each thing."""

    run_days: float = Field(2, gt=0, description="Runs of the frequent jobs (poll, producer, archive, retention)")
    snapshot_days: int = Field(
        14, ge=1, description="Raw snapshots, back from the newest; only what is published and archived goes"
    )
    state_days: float = Field(7, gt=0, description="Station states in PostgreSQL; the newest of each stays")
    window_days: float = Field(30, gt=0, description="10-minute windows in PostgreSQL")
    poll_days: float = Field(90, gt=0, description="Poll records in PostgreSQL; the newest stays")
    forecast_days: float = Field(
        3, gt=1, description="Forecasts in PostgreSQL, half a million a day; their scores by day stay"
    )
    log_days: float = Field(14, gt=0, description="Log files that nobody writes to any more")


@dg.asset(key=STORAGE, group_name="platform", kinds={"python"}, owners=list(OWNERS))
def storage(context: dg.AssetExecutionContext, config: Retention, platform: Platform) -> dg.MaterializeResult[None]:
    """One figure per kind of stored thing: what was past its days and deleted; how fast the archive grows.

    Never deletes from the CSV archive, nor runs of partitioned assets, nor a snapshot that is not archived.
    """
    # Not at the top: the run of each minute loads this module too, and psycopg takes a third of a second.
    from velib_dagster.orchestration.upkeep import delete_logs, delete_runs  # noqa: PLC0415
    from velib_dagster.store.connect import StoreError  # noqa: PLC0415
    from velib_dagster.store.old_rows import delete_old_rows  # noqa: PLC0415

    settings = platform.settings()
    # A clock that has jumped must delete nothing: what the polls and the boot clock tell counts.
    now = now_by_polls(SnapshotStore(settings.raw))
    commit = read_commit(settings.archive)
    metadata: Metadata = {
        "runs_deleted": delete_runs(context.instance, FREQUENT_JOBS, now - timedelta(days=config.run_days)),
        "snapshots_deleted": delete_snapshots(settings, commit, config.snapshot_days),
        "logs_deleted": delete_logs(
            settings.logs,
            now - timedelta(days=config.log_days),
            kept=[path.stem for path in (settings.home / "run").glob("*.json")],
        ),
        **growth(settings, commit),
        **simulated_note(settings),
    }
    tables = {
        "station_states": config.state_days,
        "absences": config.state_days,
        "windows": config.window_days,
        "polls": config.poll_days,
        "station_forecasts": config.forecast_days,
        "forecast_models": config.forecast_days,
    }
    try:
        deleted = delete_old_rows(settings, tables, now)
    except StoreError as error:
        raise dg.Failure(str(error), metadata=metadata) from error
    metadata |= {f"{table}_deleted": rows for table, rows in deleted.items()}
    return dg.MaterializeResult(metadata=metadata)


def delete_snapshots(settings: Settings, commit: Commit | None, keep_days: int) -> int:
    """Delete whole days of raw snapshots; returns how many snapshots."""
    store = SnapshotStore(settings.raw)
    day = first_day_to_keep(store.newest(), commit, keep_days)
    return store.remove_before(day) if day else 0


def first_day_to_keep(newest: str | None, commit: Commit | None, keep_days: int) -> date | None:
    """The first day (UTC) whose snapshots stay, None where none may go yet.

    Days count back from the newest snapshot: a stopped platform, or recorded days, lose nothing with time. And no
    day goes before a spell that ended on a later one is archived: polls are published and archived in order.
    """
    if newest is None or commit is None or commit.through is None:
        return None
    newest_day = time_and_number(newest)[0].date()
    return min(newest_day - timedelta(days=keep_days), commit.through.astimezone(UTC).date())


def growth(settings: Settings, commit: Commit | None) -> Metadata:
    """Size of the archive, and how fast it grows, in megabytes of 10⁶ bytes."""
    size = sum(length.bytes for length in commit.files.values()) if commit else 0
    rate = archive_bytes_a_day(settings.archive, commit)
    metadata: Metadata = {"archive_mb": round(size / MEGABYTE, 3)}
    if rate is not None:
        metadata["archive_mb_per_day"] = round(rate / MEGABYTE, 3)
    return metadata


def archive_bytes_a_day(folder: Path, commit: Commit | None) -> float | None:
    """How fast the archive grew over its newest days, bytes a day; None without an hour of spells to tell from."""
    if commit is None or not commit.files or commit.through is None:
        return None
    days = sorted(commit.files)[-GROWTH_DAYS:]
    with day_path(folder, days[0]).open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        next(rows, None)
        first = next(rows, None)
    if first is None:
        return None
    since = datetime.fromisoformat(first[CSV_HEADER.index("since")])
    span = commit.through - since
    if span < timedelta(hours=1):
        return None
    return sum(commit.files[day].bytes for day in days) / (span / timedelta(days=1))

"""Deleting what is past its days: Dagster's runs, rows of PostgreSQL, logs.

Each function returns how much it deleted. The archive is never touched. Called by `retention.py`.
"""

import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, LiteralString

import dagster as dg
import psycopg

from velib_dagster.settings import Settings
from velib_dagster.store.connect import StoreError, connect

ENDED: Final = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
PARTITION_TAG: Final = "dagster/partition"

# Days are counted back from the newest row, not from now: recorded days of another year would be gone at once. A row
# later than now is not believed.
_TABLES: Final[dict[str, LiteralString]] = {
    "station_states": """
        DELETE FROM station_states AS old
        WHERE since < least((SELECT max(since) FROM station_states), %s) - %s * interval '1 day'
        AND EXISTS (SELECT FROM station_states AS new
                    WHERE new.station_code = old.station_code AND new.since > old.since)
    """,
    "absences": """
        DELETE FROM absences
        WHERE until < least((SELECT max(since) FROM station_states), %s) - %s * interval '1 day'
    """,
    "windows": """
        DELETE FROM windows
        WHERE window_start < least((SELECT max(window_start) FROM windows), %s) - %s * interval '1 day'
    """,
    "polls": """
        DELETE FROM polls WHERE time < least((SELECT max(time) FROM polls), %s) - %s * interval '1 day'
        AND snapshot <> (SELECT max(snapshot) FROM polls)
    """,
    "forecast_models": """
        DELETE FROM forecast_models
        WHERE made_at < least((SELECT max(made_at) FROM station_forecasts), %s) - %s * interval '1 day'
    """,
    "station_forecasts": """
        DELETE FROM station_forecasts
        WHERE made_at < least((SELECT max(made_at) FROM station_forecasts), %s) - %s * interval '1 day'
    """,
}


def delete_runs(
    instance: dg.DagsterInstance,
    jobs: Sequence[str],
    before: datetime,
    *,
    batch: int = 200,
    within_seconds: float = 120,
) -> int:
    """Delete the ended runs of the jobs that began before a time, with the files that they leave; returns how many.

    Only runs without a partition: deleting one takes its materializations along, and a partition would count as
    missing. What is not done in time is left for the next call.
    """
    deadline = time.monotonic() + within_seconds
    deleted = 0
    for job in jobs:
        while time.monotonic() < deadline:
            records = instance.get_run_records(
                dg.RunsFilter(job_name=job, statuses=list(ENDED), created_before=before),
                limit=batch,
                ascending=True,
            )
            runs = [record.dagster_run for record in records if PARTITION_TAG not in record.dagster_run.tags]
            for run in runs:
                instance.delete_run(run.run_id)
                _delete_run_files(instance, run.run_id)
            deleted += len(runs)
            if len(records) < batch or not runs:
                break
    return deleted


def _delete_run_files(instance: dg.DagsterInstance, run_id: str) -> None:
    # delete_run leaves both on disk: logs of the run's process and, where events are in SQLite, its database.
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    for path in (Path(instance.root_directory) / "history" / "runs").glob(f"{run_id}.db*"):
        path.unlink(missing_ok=True)


def delete_rows(settings: Settings, days: dict[str, float], now: datetime) -> dict[str, int]:
    """Delete rows older than so many days before the newest row, by table; the newest of each station and poll stay.

    A newest row later than `now` comes from a clock that was ahead: days are then counted back from `now`.

    Raises:
        StoreError: PostgreSQL is away, or lacks a table.
    """
    deleted: dict[str, int] = {}
    try:
        with connect(settings) as connection:
            for table, keep in days.items():
                deleted[table] = connection.execute(_TABLES[table], (now, keep)).rowcount
    except psycopg.Error as error:
        msg = f"old rows of {settings.database} can't be deleted: {error}"
        raise StoreError(msg) from error
    return deleted


def delete_logs(folder: Path, before: datetime, kept: Collection[str] = ()) -> int:
    """Delete log files that nobody has written to since a time; returns how many.

    `kept` names parts that were started: they hold their files open, and what they say later would go nowhere.
    """
    deleted = 0
    for path in folder.rglob("*") if folder.is_dir() else ():
        if (
            path.is_file()
            and path.name not in {f"{name}.log" for name in kept}
            and datetime.fromtimestamp(path.stat().st_mtime, UTC) < before
        ):
            path.unlink()
            deleted += 1
    return deleted

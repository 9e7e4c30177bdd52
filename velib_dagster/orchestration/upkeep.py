"""Deleting what is past its days on the side of Dagster: its runs, and logs.

Each function returns how much it deleted. Rows of PostgreSQL are `store/old_rows.py`'s. Called by `retention.py`.
"""

import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import dagster as dg

ENDED: Final = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
PARTITION_TAG: Final = "dagster/partition"


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

"""The statistics of due days, computed here and now with a Spark of this process: what `velib backfill` ends with.

What a refresh of days does belongs to `statistics/`. Dagster is not started; its sensor `computed_elsewhere` shows the
days once a platform runs.
"""

import os
from datetime import UTC, datetime
from typing import Final

from pyspark.sql import SparkSession
from rich.console import Console

from velib_dagster.runtime.backfill import progress_bars
from velib_dagster.runtime.java import java_home
from velib_dagster.runtime.lock import running_platform
from velib_dagster.runtime.logs import log_path, standard_error_in
from velib_dagster.settings import Settings
from velib_dagster.statistics.due_days import due_now
from velib_dagster.statistics.errors import DaysInDoubtError
from velib_dagster.statistics.outcome import ASSETS, doubts_in_words
from velib_dagster.statistics.refresh import refresh
from velib_dagster.statistics.session import local_session
from velib_dagster.statistics.turns import turn
from velib_dagster.store.connect import connect
from velib_dagster.store.days import settle

NICENESS: Final = 10
"""Beside a running platform Spark comes after its polls."""
PATIENCE_SECONDS: Final = 3600
"""A run of Dagster ends within half an hour, another backfill of a year later than this."""


def compute_statistics(settings: Settings, console: Console) -> int:
    """Compute the days whose archive has grown since their statistics, oldest first; returns how many.

    Raises:
        DaysInDoubtError: numbers of some days are in doubt; the others are written.
        StatisticsBusyError: another process computes statistics of this home, for over an hour.
        ArchiveError, StoreError: the archive is damaged, or PostgreSQL is away; days done before are written.
    """

    def waiting(words: str) -> None:
        console.print(words, highlight=False, markup=False)

    with turn(settings, PATIENCE_SECONDS, waiting) as ours:
        # Only now: what another process computed meanwhile is no longer due.
        due = due_now(settings, ASSETS, datetime.now(UTC))
        if not due:
            return 0
        outcomes = []
        with progress_bars(console) as progress, standard_error_in(log_path(settings.home, "spark")):
            task = progress.add_task("statistics of days", total=len(due))
            for outcome in refresh(ours, due, lambda: _session(settings), lambda _: None):
                outcomes.append(outcome)
                progress.advance(task)
    with connect(settings) as connection:
        settle(connection)
    if doubts := doubts_in_words(settings, ASSETS, outcomes):
        days = ", ".join(str(outcome.day) for outcome in outcomes if not outcome.is_written)
        msg = f"the statistics of {days} failed; {doubts}"
        raise DaysInDoubtError(msg)
    return len(due)


def _session(settings: Settings) -> SparkSession:
    if running_platform(settings) not in {None, os.getpid()}:
        os.nice(max(0, NICENESS - os.nice(0)))
    os.environ["JAVA_HOME"] = str(java_home())
    return local_session()

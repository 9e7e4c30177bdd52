"""Dagster as three parts of the supervisor: code server, webserver, daemon; and the instance they share.

`dagster dev` is not used: it leaves its children behind when it is killed. Assets and jobs are `orchestration/`'s.
"""

import os
import sys
from pathlib import Path
from typing import Final

from velib_dagster.files import write_atomically
from velib_dagster.runtime.java import java_home
from velib_dagster.runtime.mlflow import sqlalchemy_url
from velib_dagster.runtime.ports import answers
from velib_dagster.runtime.postgres import ensure_database
from velib_dagster.runtime.process import Part
from velib_dagster.runtime.web import answers_ok
from velib_dagster.settings import LOOPBACK, Settings

LOCATION: Final = "velib_dagster"
"""Also in workspace.yaml and pyproject.toml: schedules and sensors remember their state under this name."""

_INSTANCE: Final = """telemetry: {enabled: false}
nux: {enabled: false}
storage:
  postgres:
    postgres_url: {env: VELIB_DAGSTER_STORAGE}
compute_logs:
  module: dagster._core.storage.local_compute_log_manager
  class: LocalComputeLogManager
  config: {base_dir: {env: VELIB_DAGSTER_LOGS}}
# A minute's run should wait for no slow look at the queue, nor for the start of another run's process.
run_queue: {dequeue_interval_seconds: 1, dequeue_use_threads: true, dequeue_num_workers: 4}
concurrency:
  runs:
    # Heavy work is held by pools of one run each: polls and the producer always find a place.
    max_concurrent_runs: 8
    tag_concurrency_limits:
      - {key: velib/lane, value: {applyLimitPerUniqueValue: true}, limit: 1}
  pools: {granularity: run, default_limit: 1}
# Runs have no health check of their own: the longest time frees what a killed run held.
run_monitoring:
  enabled: true
  start_timeout_seconds: 120
  cancel_timeout_seconds: 60
  max_runtime_seconds: 7200
  poll_interval_seconds: 30
  free_slots_after_run_end_seconds: 300
# The next minute is the retry.
run_retries: {enabled: false}
schedules: {use_threads: true, num_workers: 4}
sensors: {use_threads: true, num_workers: 4}
retention:
  schedule: {purge_after_days: {skipped: 1, success: 7, failure: 30, started: 1}}
  sensor: {purge_after_days: {skipped: 1, success: 7, failure: 30, started: 1}}
  auto_materialize: {purge_after_days: 3}
"""

_WORKSPACE: Final = """load_from:
  - grpc_server: {{host: {host}, port: {port}, location_name: {location}}}
"""


def database(settings: Settings) -> str:
    """Name of the instance's database: with the feed's name, so that platforms may share a PostgreSQL server."""
    return f"{settings.database}_dagster"


def instance_home(settings: Settings) -> Path:
    """DAGSTER_HOME of this platform."""
    return settings.home / "dagster"


def environment(settings: Settings) -> dict[str, str]:
    """What every Dagster process of this platform needs in its environment, passwords among it."""
    return {
        "DAGSTER_HOME": str(instance_home(settings)),
        "VELIB_DAGSTER_STORAGE": sqlalchemy_url(settings, database(settings)),
        "VELIB_DAGSTER_LOGS": str(instance_home(settings) / "compute_logs"),
        # A feed without address (recordings) has nothing to poll, and days that a command computed to report.
        "VELIB_AUTOMATION": "on" if settings.feed.is_polled else "reports",
        "JAVA_HOME": str(java_home()),
        "PATH": _path(),
    }


def _path() -> str:
    return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))


def prepare(settings: Settings) -> None:
    """Write the instance's files (those of `VELIB_DAGSTER_FILES` where given) and make its database.

    PostgreSQL must run.

    Raises:
        OSError: a file of `VELIB_DAGSTER_FILES` is missing.
    """
    home = instance_home(settings)
    home.mkdir(parents=True, exist_ok=True)
    workspace = _WORKSPACE.format(host=LOOPBACK, port=settings.port("dagster_code"), location=LOCATION)
    for name, usual in (("dagster.yaml", _INSTANCE), ("workspace.yaml", workspace)):
        given = settings.dagster_files
        write_atomically(home / name, (given / name).read_bytes() if given else usual.encode())
    ensure_database(settings, database(settings), formerly="dagster")


def code_server(settings: Settings) -> Part:
    """The process that knows the assets and runs the jobs."""
    port = settings.port("dagster_code")
    return Part(
        name="dagster_code",
        title="Dagster's code server",
        argv=[
            *(sys.executable, "-m", "dagster", "api", "grpc", "--module-name", "velib_dagster.definitions"),
            *("--host", settings.host, "--port", str(port), "--location-name", LOCATION),
            *("--use-python-environment-entry-point", "--inject-env-vars-from-instance"),
        ],
        env=environment(settings),
        # It listens only once the definitions are loaded.
        ready=lambda: answers(port),
        ports=(port,),
        prepare=lambda: prepare(settings),
        stop_seconds=3,
    )


def webserver(settings: Settings) -> Part:
    """Dagster's pages, behind the guard of `orchestration/page_guard.py`."""
    port = settings.port("dagster")
    workspace = instance_home(settings) / "workspace.yaml"
    return Part(
        name="dagster_web",
        title="Dagster",
        argv=[
            *(sys.executable, "-m", "velib_dagster.orchestration.webserver", "--host", settings.host),
            *("--port", str(port), "--workspace", str(workspace)),
            *(word for address in settings.dagster_public for word in ("--public", address)),
        ],
        env=environment(settings),
        ready=lambda: answers_ok(f"http://{LOOPBACK}:{port}/server_info"),
        ports=(port,),
        prepare=lambda: prepare(settings),
        stop_seconds=3,
        url=f"http://{LOOPBACK}:{port}",
    )


def daemon(settings: Settings) -> Part:
    """Schedules, sensors and the queue of runs."""
    workspace = instance_home(settings) / "workspace.yaml"
    return Part(
        name="dagster_daemon",
        title="Dagster's daemon",
        argv=[
            *(sys.executable, "-m", "velib_dagster.orchestration.daemon", "run", "--workspace", str(workspace)),
            # A sensor that is looked at every few seconds would fill the log.
            *("--log-level", "warning"),
        ],
        env=environment(settings),
        ready=lambda: True,
        prepare=lambda: prepare(settings),
        stop_seconds=3,
    )

"""`velib up` on given addresses; with parts of its own it is tested in `end_to_end`."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from velib_dagster.runtime import mlflow
from velib_dagster.runtime.process import running
from velib_dagster.settings import Settings, cache_root

pytestmark = pytest.mark.platform

START_SECONDS = 240
"""Far more than an idle machine needs: other tests may be running beside."""


@contextmanager
def up(home: Path, *words: str, **environment: str) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """`velib up` in a home, with the file of what it says."""
    said = home.parent / f"{home.name}.txt"
    with said.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "velib_dagster.cli", "up", "--home", str(home), *words],
            env={**os.environ, **environment, "XDG_CACHE_HOME": str(cache_root().parent)},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process, said
    finally:
        process.terminate()
        process.wait(60)


def await_words(process: "subprocess.Popen[bytes]", said: Path, pattern: str) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = re.search(pattern, said.read_text())
        if found:
            return found[1] if found.groups() else found[0]
        assert process.poll() is None, said.read_text()
        time.sleep(0.2)
    raise AssertionError(f"{pattern} did not come within {START_SECONDS} s:\n{said.read_text()}")


def processes_of(home: Path) -> list[list[str]]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("VELIB_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.cmdline())
        except psutil.Error:
            continue
    return found


@pytest.mark.kafka
@pytest.mark.postgres
def test_on_given_addresses_none_of_the_parts_is_started(
    services: Settings, fresh_feed: Callable[..., Settings], kafka_login: Path
) -> None:
    fresh = fresh_feed(services, simulated=True)
    with (
        running(mlflow.server(services), services.home),
        up(
            fresh.home,
            VELIB_KAFKA=services.kafka,
            VELIB_KAFKA_SECURITY=str(kafka_login),
            VELIB_POSTGRES=f"postgresql://platform@127.0.0.1:{services.port('postgres')}",
            VELIB_POSTGRES_PASSWORD=services.secret("postgres"),
            VELIB_MLFLOW=services.mlflow,
        ) as (process, said),
    ):
        # The services' ports stand in this home too, so a second broker there would fail to start.
        await_words(process, said, "everything is up")
        started = {path.stem for path in (fresh.home / "run").glob("*.json")}
        assert started == {"simulator", "dagster_web", "dagster_code", "streaming", "dagster_daemon", "standby"}
        for words in ("Kafka at", "PostgreSQL at", "MLflow at"):
            assert re.search(f"{words} .* is used; none is started here", said.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert processes_of(fresh.home) == []
    assert services.secret("postgres") not in said.read_text()

"""Whole runs of the notebook over one small archive: on classic Spark, and through Spark Connect."""

import os
import pickle
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from velib_dagster.events.records import Spell
from velib_dagster_tests.notebooks.make import csv, spells

REPOSITORY = Path(__file__).parents[2]
NOTEBOOK = REPOSITORY / "spark" / "notebooks" / "part3_statistics.py"
RUNNER = "velib_dagster_tests.notebooks.run_notebook"
SECONDS = 600


@dataclass(frozen=True)
class Run:
    """What one run of the notebook left."""

    session: str
    tables: dict[str, pd.DataFrame]
    findings: dict[str, float]
    plans: dict[str, str]
    partitions: list[int]
    failed: dict[str, str]


@pytest.fixture(scope="session")
def archived() -> list[Spell]:
    """The spells in the notebook's CSV."""
    return spells()


@pytest.fixture(scope="session")
def runs(archived: list[Spell], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The notebook's results by API: classic, connect."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("notebook")

    def start(api: str) -> subprocess.Popen[bytes]:
        own = folder / api
        own.mkdir()
        (own / "velib.csv").write_bytes(csv(archived))
        with (folder / f"{api}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", RUNNER, api, str(port), str(NOTEBOOK), str(folder / f"{api}.pickle")],
                cwd=own,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def wait(found: Path, api: str, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + SECONDS
        while not found.is_file():
            words = (folder / f"{api}.log").read_text(encoding="utf-8", errors="replace")[-6000:]
            assert process.poll() is None, words
            assert time.monotonic() < deadline, words
            time.sleep(0.1)

    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        started["classic"] = start("classic")
        wait(folder / "classic.ready", "classic", started["classic"])
        started["connect"] = start("connect")
        found = {}
        for api, process in reversed(started.items()):
            wait(folder / f"{api}.pickle", api, process)
            values: dict[str, Any] = pickle.loads((folder / f"{api}.pickle").read_bytes())  # noqa: S301 - the child's
            found[api] = Run(**values)
        return found
    finally:
        for process in reversed(started.values()):
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
